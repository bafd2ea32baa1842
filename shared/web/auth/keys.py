"""The public keys of an identity provider, by their `kid`, as a JSON Web Key Set (RFC 7517).

They are fetched when the first token arrives (with `WARM_UP`, when the worker starts), and at most once in
`PAUSE` seconds, whatever tokens arrive. Old keys stay in use while a refresh fails; without any keys, nobody
may call.
"""

import base64
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ...connect import connect
from ...errors import SignInUnavailable

Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

PAUSE = 60.0
"""Seconds between two fetches, so that tokens with random `kid`s cannot flood the provider."""
SECONDS = 3.0
"""How long a connection, or a read, may take."""
LARGEST = 1_000_000
"""Bytes of a key set: real ones have a few thousand."""


class Keys:
    """The keys of one provider. Any number of threads may use it; one of them fetches, the others wait."""

    def __init__(self, find: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        """`find` returns the URL of the key set, perhaps from the provider; `clock` counts seconds."""
        self._find = find
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}
        self._stale = float("-inf")
        self._next = float("-inf")

    def get(self, kid: str) -> Key | None:
        """Return the key with this `kid`; None if the provider does not have it.

        Raises:
            SignInUnavailable: no keys can be fetched.
        """
        key = self._keys.get(kid)
        # A thread that has a key, even a stale one, does not wait for the fetch of another.
        if (key is None or self._clock() >= self._stale) and self._lock.acquire(blocking=key is None):
            try:
                if kid not in self._keys or self._clock() >= self._stale:
                    self._refresh()
            finally:
                self._lock.release()
            key = self._keys.get(kid)
        if not self._keys:
            wait = max(self._next - self._clock(), 1.0)
            raise SignInUnavailable("the identity provider's keys cannot be fetched", wait)
        return key

    def fetch(self) -> None:
        """Fetch the keys before the first token arrives. If that fails, the first token tries again."""
        with self._lock:
            if not self._keys:
                self._refresh()
                self._next = self._next if self._keys else float("-inf")

    def _refresh(self) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + PAUSE
        try:
            body, seconds = fetch(self._find())
            keys = parse(body)
        except (OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError):
            return
        if keys:
            self._keys = keys
            self._stale = now + max(seconds, PAUSE)


def parse(body: bytes) -> dict[str, Key]:
    """Read a key set, without keys for encryption and keys that are neither RSA nor P-256."""
    keys: dict[str, Key] = {}
    for jwk in json.loads(body)["keys"]:
        if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str) and jwk.get("use", "sig") == "sig":
            key = _key(jwk)
            if key is not None:
                keys[jwk["kid"]] = key
    return keys


def _key(jwk: dict[str, Any]) -> Key | None:
    try:
        if jwk["kty"] == "RSA":
            key = rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
            return key if key.key_size >= 2048 else None
        if jwk["kty"] == "EC" and jwk["crv"] == "P-256":
            return ec.EllipticCurvePublicNumbers(
                _number(jwk["x"]), _number(jwk["y"]), ec.SECP256R1()
            ).public_key()
    except (KeyError, TypeError, ValueError):
        return None
    return None


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def discover(issuer: str) -> str:
    """Return the URL of an OpenID Connect provider's keys (OpenID Connect Discovery 1.0).

    Raises:
        ValueError, KeyError, OSError or HTTPException: its answer has no such URL, or is from another issuer.
    """
    body, _ = fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    document = json.loads(body)
    if document["issuer"] != issuer:
        raise ValueError(f"the issuer calls itself {document['issuer']!r}")
    return str(document["jwks_uri"])


def fetch(url: str) -> tuple[bytes, float]:
    """GET a document over HTTPS (or HTTP on this machine); return its body and its max-age in seconds.

    Raises:
        ValueError, OSError or HTTPException: it cannot be fetched.
    """
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    if not local and parts.scheme != "https":
        raise ValueError(f"expected https; got {parts.scheme!r}")
    connection = HTTPConnection(parts.netloc)
    try:
        connection.sock = _connected(parts)
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        body = answer.read(LARGEST + 1)
        if answer.status != 200 or len(body) > LARGEST:
            raise ValueError(f"{url}: status {answer.status}, {len(body)} bytes")
        age = re.search(r"max-age=(\d{1,9})", answer.headers.get("Cache-Control", ""))
        return body, float(age[1]) if age else 0.0
    finally:
        connection.close()


def _connected(parts: SplitResult) -> socket.socket:
    """Connect, with TLS for https."""
    secure = parts.scheme == "https"
    plain = connect(parts.hostname or "", parts.port or (443 if secure else 80), time.monotonic() + SECONDS)
    try:
        plain.settimeout(SECONDS)
        context = ssl.create_default_context() if secure else None
        return context.wrap_socket(plain, server_hostname=parts.hostname) if context else plain
    except OSError:
        plain.close()
        raise
