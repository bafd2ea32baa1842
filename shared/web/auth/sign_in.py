"""Who may call: users who signed in with Firebase or OpenID Connect, and apps with App Check."""

import hashlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import Forbidden, Unauthenticated
from ...settings import Settings
from .keys import Keys, discover
from .tokens import Claims, Expected, verify

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

FIREBASE_KEYS = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
APP_CHECK_KEYS = "https://firebaseappcheck.googleapis.com/v1/jwks"


@dataclass(frozen=True)
class User:
    """A user. `id` is a hash of the issuer and the `sub` for logs and limits, never the `sub` itself."""

    id: str


class Gate:
    """Checks the tokens of requests. Any number of threads may use it at once."""

    def __init__(self, settings: Settings) -> None:
        """Check the tokens that the settings require; without sign-in and App Check, admit everybody."""
        self._sign_in = settings.sign_in
        self._allow = settings.sign_in_allow
        self._expected, self._keys = _provider(settings)
        self._app, self._app_keys = _app_check(settings)
        if settings.warm_up:
            # In each worker, because a thread does not survive gunicorn's fork.
            os.register_at_fork(after_in_child=self.fetch_keys)

    def fetch_keys(self) -> None:
        """Start to fetch the keys, so that the first user does not have to wait for them."""
        for keys in (self._keys, self._app_keys):
            if keys:
                threading.Thread(target=keys.fetch, daemon=True).start()

    def admit(self, headers: "Mapping[str, str] | Headers") -> User | None:
        """Return the user whose token is in a request's headers; None if nobody has to sign in.

        Raises:
            Unauthenticated: a token is missing, or not valid (`InvalidToken`).
            Forbidden: `SIGN_IN_ALLOW` does not include the user.
            SignInUnavailable: the provider's keys cannot be fetched.
        """
        if self._app and self._app_keys:
            token = headers.get("X-Firebase-AppCheck", "")
            if not token:
                raise Unauthenticated("expected an App Check token in the header X-Firebase-AppCheck")
            verify(token, self._app, self._app_keys)
        if not (self._sign_in and self._expected and self._keys):
            return None
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("sign in: expected the header Authorization: Bearer TOKEN")
        claims = verify(token.strip(), self._expected, self._keys)
        if not allowed(claims, self._allow):
            raise Forbidden("this user may not call this function")
        return User(hashlib.sha256(f"{claims['iss']} {claims['sub']}".encode()).hexdigest()[:16])


def allowed(claims: Claims, allow: frozenset[str]) -> bool:
    """Whether `SIGN_IN_ALLOW` includes a user with these claims.

    Anonymous users need the entry `anonymous`. Other users need one entry that matches them: `uid:ID`,
    `domain:DOMAIN` (of a verified e-mail address) or `claim:NAME=VALUE`; without such entries, all may call.
    """
    if _anonymous(claims):
        return "anonymous" in allow
    named = allow - {"anonymous"}
    return not named or any(_is(claims, *entry.split(":", 1)) for entry in named)


def _anonymous(claims: Claims) -> bool:
    firebase = claims.get("firebase")
    provider = firebase.get("sign_in_provider") if isinstance(firebase, dict) else None
    return "anonymous" in (provider, claims.get("provider_id"))


def _is(claims: Claims, kind: str, value: str) -> bool:
    if kind == "uid":
        return bool(claims["sub"] == value)
    if kind == "domain":
        email = claims.get("email")
        verified = claims.get("email_verified") is True and isinstance(email, str)
        return verified and str(email).rpartition("@")[2].lower() == value.lower()
    name, _, expected = value.partition("=")
    return _text(claims.get(name)) == expected


def _text(value: Any) -> str | None:
    """A claim as people write it in a setting; None if it is not a string, a number or a boolean."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None


def _provider(settings: Settings) -> tuple[Expected | None, Keys | None]:
    sign_in = settings.sign_in
    if sign_in is None:
        return None, None
    if sign_in.kind == "firebase":
        issuer = f"https://securetoken.google.com/{sign_in.name}"
        expected = Expected(issuer, sign_in.name, signed_in=True, longest_subject=128)
        return expected, Keys(lambda: settings.sign_in_keys or FIREBASE_KEYS)
    expected = Expected(sign_in.name, settings.sign_in_audience, algorithms=("RS256", "ES256"))
    return expected, Keys(lambda: settings.sign_in_keys or discover(sign_in.name))


def _app_check(settings: Settings) -> tuple[Expected | None, Keys | None]:
    if not settings.app_check:
        return None, None
    issuer = f"https://firebaseappcheck.googleapis.com/{settings.app_check}"
    expected = Expected(issuer, f"projects/{settings.app_check}", listed=True)
    return expected, Keys(lambda: settings.sign_in_keys or APP_CHECK_KEYS)
