"""Who may call, and how often: `SIGN_IN`, `APP_CHECK` and `RATE_LIMIT`.

The modules for a setting are imported only if it is set, because signing in needs a library of its own.
"""

import ipaddress
from typing import TYPE_CHECKING

from flask import Request

from ..settings import Settings
from .access import Facts

if TYPE_CHECKING:
    from .auth.limit import Limit
    from .auth.sign_in import Gate


class Callers:
    """Admits the callers of one function; any number of threads may use it at once."""

    def __init__(self, settings: Settings) -> None:
        self._behind_proxy = bool(settings.service)
        self._gate = _gate(settings)
        self._limit = _limit(settings)

    def admit(self, request: Request, facts: Facts) -> None:
        """Admit a caller by the request's headers alone, and note the user for the log.

        Raises:
            Unauthenticated: a token is missing or not valid.
            Forbidden: `SIGN_IN_ALLOW` does not include the user.
            TooManyRequests: the user, or the address if nobody signs in, calls too often.
            SignInUnavailable: the identity provider's keys cannot be fetched.
        """
        user = self._gate.admit(request.headers) if self._gate else None
        facts.user = user.id if user else ""
        if self._limit:
            self._limit.count(facts.user or address(request, self._behind_proxy))


def _gate(settings: Settings) -> "Gate | None":
    if not (settings.sign_in or settings.app_check):
        return None
    from .auth.sign_in import Gate

    return Gate(settings)


def _limit(settings: Settings) -> "Limit | None":
    if not settings.rate_limit:
        return None
    from .auth.limit import Limit

    return Limit(settings.rate_limit)


def address(request: Request, behind_proxy: bool) -> str:
    """Return the caller's address; for IPv6 the /64 network, since one subscriber has all of it.

    Args:
        request: the request.
        behind_proxy: whether the platform's front end passes requests on. It appends the caller's address
            to `X-Forwarded-For`; the caller itself may have written the entries before it. Without a front
            end, the caller writes the whole header, and only the connection's peer is certain.
    """
    last = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    text = last if behind_proxy and last else request.remote_addr or ""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return text[:50]
    if isinstance(parsed, ipaddress.IPv4Address):
        return text
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
