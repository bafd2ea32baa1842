"""Signed tokens (RFC 7519): strict parsing, verification of the signature, checks of the claims."""

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ...errors import InvalidToken
from .keys import Key, Keys

LONGEST = 16_000
"""Characters of a token; real ones have one or two thousand."""
SKEW = 10.0
"""Seconds that clocks may differ."""

Claims = Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """What a provider's tokens must say.

    Attributes:
        issuer: the `iss`.
        audience: the `aud`, or one of the `aud` if `listed`.
        algorithms: of the signature, `RS256` or `ES256`.
        signed_in: whether the token must have an `auth_time` in the past.
        listed: whether `aud` is a list that holds the audience.
        longest_subject: the most characters of the `sub`.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256",)
    signed_in: bool = False
    listed: bool = False
    longest_subject: int = 255


def verify(token: str, expected: Expected, keys: Keys, now: Callable[[], float] = time.time) -> Claims:
    """Verify a token, and return its claims.

    Raises:
        InvalidToken: the token is not valid for this issuer and audience; the message says why.
        SignInUnavailable: the issuer's keys cannot be fetched.
    """
    if len(token) > LONGEST or not re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token, re.ASCII):
        raise InvalidToken("expected a signed token of three parts")
    signed, _, signature = token.rpartition(".")
    header, claims = (_object(part) for part in signed.split("."))
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in expected.algorithms or not isinstance(kid, str) or "crit" in header:
        raise InvalidToken(f"expected a token signed with {' or '.join(expected.algorithms)}, with a kid")
    _check_claims(claims, expected, now())  # before the keys: a token of another issuer costs no fetch
    key = keys.get(kid)
    if key is None or not _signed(key, str(algorithm), signed.encode(), _bytes(signature)):
        raise InvalidToken("the signature of the token is not valid")
    return claims


def _bytes(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidToken("expected a token in base64url") from None


def _object(part: str) -> dict[str, Any]:
    try:
        content = json.loads(_bytes(part).decode())
    except (ValueError, RecursionError):
        raise InvalidToken("expected a token whose parts are JSON") from None
    if not isinstance(content, dict):
        raise InvalidToken("expected a token whose parts are JSON objects")
    return content


def _check_claims(claims: Claims, expected: Expected, now: float) -> None:
    audience = claims.get("aud")
    meant = (
        isinstance(audience, list) and expected.audience in audience
        if expected.listed
        else (audience == expected.audience)
    )
    if claims.get("iss") != expected.issuer or not meant:
        raise InvalidToken(f"expected a token of {expected.issuer} for {expected.audience}")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= expected.longest_subject:
        raise InvalidToken("expected a token with a subject")
    if _time(claims, "exp") <= now - SKEW:
        raise InvalidToken("the token has expired; sign in again")
    past = ["iat", *(["auth_time"] if expected.signed_in else [])]
    if any(_time(claims, name) > now + SKEW for name in past):
        raise InvalidToken("the token was issued in the future; check the clocks of both machines")
    if "nbf" in claims and _time(claims, "nbf") > now + SKEW:
        raise InvalidToken("the token is not valid yet")


def _time(claims: Claims, name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise InvalidToken(f"expected a token with a time {name!r}")
    return float(value)


def _signed(key: Key, algorithm: str, content: bytes, signature: bytes) -> bool:
    """Whether `signature` was made with the key; False if the algorithm needs another kind of key."""
    try:
        if algorithm == "RS256" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, content, padding.PKCS1v15(), SHA256())
        elif algorithm == "ES256" and isinstance(key, ec.EllipticCurvePublicKey) and len(signature) == 64:
            r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
            key.verify(encode_dss_signature(r, s), content, ec.ECDSA(SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True
