"""A local identity provider: its own keys, a key set over HTTP, and signed tokens."""

import base64
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

PROJECT = "demo-project"
EMULATED: dict[str, str] = json.loads(Path(__file__).with_name("emulator.json").read_text())
"""Tokens that the Auth emulator of firebase-tools issued at a sign-up: by e-mail, and anonymous."""


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified."""
    body = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


class Provider(http.server.ThreadingHTTPServer):
    """Serves `/jwks` and the discovery document; `fetches` counts the former, `asked` is set by the first.

    `down` makes it fail; `body` takes the place of the key set.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.published = {"one": self.rsa, "curve": self.ec}
        self.fetches = 0
        self.asked = threading.Event()
        self.down = False
        self.body: str | None = None
        self.max_age = 3600
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.jwk(kid, key) for kid, key in self.published.items()]}

    @staticmethod
    def jwk(kid: str, key: Any) -> dict[str, str]:
        public = key.public_key().public_numbers()
        if isinstance(key, rsa.RSAPrivateKey):
            return {"kid": kid, "kty": "RSA", "use": "sig", "n": number(public.n), "e": number(public.e)}
        x, y = (encoded(value.to_bytes(32)) for value in (public.x, public.y))
        return {"kid": kid, "kty": "EC", "crv": "P-256", "use": "sig", "x": x, "y": y}

    def firebase(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a real sign-up with Firebase's emulator."""
        now = int(time.time())
        claims = {
            "email": "ada@example.org",
            "email_verified": True,
            "auth_time": now,
            "user_id": "uid-1",
            "firebase": {"identities": {"email": ["ada@example.org"]}, "sign_in_provider": "password"},
            "iat": now,
            "exp": now + 3600,
            "aud": PROJECT,
            "iss": f"https://securetoken.google.com/{PROJECT}",
            "sub": "uid-1",
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not ...}

    def resigned(self, token: str, **changes: Any) -> str:
        """Return a token with the claims of another one, issued now and signed by this provider."""
        now = int(time.time())
        times = {"auth_time": now, "iat": now, "exp": now + 3600}
        return self.token({**claims_of(token), **times, **changes})

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of a function that trusts this provider."""
        return {"SIGN_IN": f"firebase:{PROJECT}", "SIGN_IN_KEYS": f"{self.url}/jwks"}

    def token(self, claims: Any, key: Any = None, **header: Any) -> str:
        """A token of these claims, signed; `header` adds to its header, `...` removes."""
        key = key or self.rsa
        about = {"alg": "RS256", "typ": "JWT", "kid": "one", **header}
        about = {name: value for name, value in about.items() if value is not ...}
        content = f"{encoded(json.dumps(about).encode())}.{encoded(json.dumps(claims).encode())}"
        return f"{content}.{encoded(sign(key, content.encode()))}"


def sign(key: Any, content: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), SHA256())
    r, s = decode_dss_signature(key.sign(content, ec.ECDSA(SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        document: Any = {"issuer": f"{self.server.url}/", "jwks_uri": f"{self.server.url}/jwks"}
        if self.path == "/jwks":
            self.server.fetches += 1
            self.server.asked.set()
            document = self.server.jwks()
        body = (self.server.body or json.dumps(document)).encode()
        self.send_response(503 if self.server.down else 200)
        self.send_header("Cache-Control", f"public, max-age={self.server.max_age}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    server = Provider()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
