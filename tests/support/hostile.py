"""Tokens that must be refused, each made for a provider of `identity`."""

import hmac
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from identity import EMULATED, PROJECT, Provider, encoded, sign

NOW = int(time.time())
Make = Callable[[Provider], str]


def pem(google: Provider) -> bytes:
    return google.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256(google: Provider) -> str:
    head, body = ({"alg": "HS256", "kid": "one"}, google.firebase())
    content = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(body).encode())}"
    return f"{content}.{encoded(hmac.digest(pem(google), content.encode(), sha256))}"


def unsigned(google: Provider) -> str:
    """As the Auth emulator makes them."""
    head = encoded(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    return f"{head}.{encoded(json.dumps(google.firebase()).encode())}."


def raw(google: Provider, header: bytes, claims: bytes) -> str:
    content = f"{encoded(header)}.{encoded(claims)}"
    return f"{content}.{encoded(sign(google.rsa, content.encode()))}"


def claims(**changes: Any) -> Make:
    return lambda google: google.token(google.firebase(**changes))


def header(**changes: Any) -> Make:
    return lambda google: google.token(google.firebase(), **changes)


HEAD = b'{"alg": "RS256", "kid": "one"}'
HOSTILE: dict[str, Make] = {
    "nothing": lambda _: "",
    "junk": lambda _: "not-a-token",
    "two parts": lambda google: google.token(google.firebase()).rpartition(".")[0],
    "four parts": lambda google: google.token(google.firebase()) + ".AA",
    "no kid": header(kid=...),
    "a kid that is a number": header(kid=1),
    "an unknown kid": header(kid="other"),
    "another algorithm": header(alg="RS512"),
    "an algorithm in small letters": header(alg="rs256"),
    "ES256 where RS256 is expected": lambda google: google.token(
        google.firebase(), google.ec, alg="ES256", kid="curve"
    ),
    "RS256 with a curve's kid": header(kid="curve"),
    "a critical extension": header(crit=["exp"]),
    "forged": lambda google: google.token(google.firebase(), rsa.generate_private_key(65537, 2048)),
    "unsigned, as the emulator makes them": unsigned,
    "the emulator's own": lambda _: EMULATED["email"],
    "the emulator's own, anonymous": lambda _: EMULATED["anonymous"],
    "unsigned, with a kid": lambda google: unsigned(google) + "AA",
    "HS256 with the public key as secret": hs256,
    "changed after it was signed": lambda google: ".".join(
        encoded(json.dumps(google.firebase(sub="root")).encode()) if place == 1 else part
        for place, part in enumerate(google.token(google.firebase()).split("."))
    ),
    "another project": claims(aud="other-project"),
    "another project's issuer": claims(iss="https://securetoken.google.com/other-project"),
    "a Google account's": claims(iss="https://accounts.google.com"),
    "a session cookie": claims(iss=f"https://session.firebase.google.com/{PROJECT}"),
    "a list of audiences": claims(aud=[PROJECT]),
    "no audience": claims(aud=...),
    "no expiry": claims(exp=...),
    "expired": claims(exp=NOW - 60),
    "an expiry that is true": claims(exp=True),
    "an expiry that is a text": claims(exp=str(NOW + 3600)),
    "an endless expiry": claims(exp=1e300),
    "issued in the future": claims(iat=NOW + 3600),
    "no time of issue": claims(iat=...),
    "signed in in the future": claims(auth_time=NOW + 3600),
    "no time of sign-in": claims(auth_time=...),
    "not yet valid": claims(nbf=NOW + 3600),
    "no subject": claims(sub=...),
    "an empty subject": claims(sub=""),
    "a subject that is a number": claims(sub=7),
    "a subject without end": claims(sub="x" * 129),
    "a header that is a list": lambda google: raw(google, b"[]", b"{}"),
    "nested without end": lambda google: raw(google, HEAD, b"[" * 5000),
    "a deeply nested header": lambda google: raw(google, b"[" * 5500, b"{}"),
    "not UTF-8": lambda google: raw(google, HEAD, b'{"aud": "\xff"}'),
    "not a number": lambda google: raw(
        google, HEAD, json.dumps({**google.firebase(), "exp": float("nan")}).encode()
    ),
    "100 kB": lambda google: google.token(google.firebase(more="x" * 100_000)),
    "not base64": lambda google: google.token(google.firebase()).replace(".", ".!", 1),
    "of letters that are no ASCII": lambda _: "\u00e4.\u00e4.\u00e4",
}
