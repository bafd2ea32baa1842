"""Which web pages of other origins may read the answers: `ALLOWED_ORIGINS`."""

import re
from functools import cache

from flask import Request

MAX_AGE = 7200  # seconds; browsers keep a preflight's answer no longer
APP_CHECK_HEADER = "X-Firebase-AppCheck"
USUAL = ("Content-Type", "Authorization", APP_CHECK_HEADER, "traceparent")
_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]{1,100}", re.ASCII)


def headers(request: Request, allow: str, origins: frozenset[str]) -> list[tuple[str, str]]:
    """Make the headers that let the calling page read the answer; only `Vary` if it may not.

    A preflight from an allowed origin may use any header that it asks for: libraries add headers of their
    own, and no header gives access without a valid token.

    Args:
        request: the request.
        allow: the methods of the path, for a preflight.
        origins: the allowed origins.
    """
    if not origins:
        return []
    origin, preflight = request.headers.get("Origin", ""), request.method == "OPTIONS"
    vary = ["Origin"] * ("*" not in origins) + ["Access-Control-Request-Headers"] * preflight
    pairs = [("Vary", ", ".join(vary))] if vary else []
    if not origin or not _allowed(origin, origins):
        return pairs
    answer = "*" if "*" in origins else origin
    pairs += [
        ("Access-Control-Allow-Origin", answer),
        ("Access-Control-Expose-Headers", "Server-Timing, Retry-After, WWW-Authenticate"),
        ("Timing-Allow-Origin", answer),
    ]
    if preflight and "Access-Control-Request-Method" in request.headers:
        names = request.headers.get("Access-Control-Request-Headers", "").split(",")
        permitted = [name.strip() for name in names if _NAME.fullmatch(name.strip())] or USUAL
        pairs += [
            ("Access-Control-Allow-Methods", allow),
            ("Access-Control-Allow-Headers", ", ".join(permitted)),
            ("Access-Control-Max-Age", str(MAX_AGE)),
        ]
    return pairs


def _allowed(origin: str, origins: frozenset[str]) -> bool:
    return not origins.isdisjoint({origin, "*"}) or bool(_pattern(origins).fullmatch(origin))


@cache
def _pattern(origins: frozenset[str]) -> re.Pattern[str]:
    """A pattern for origins with a `*`, which is one or more labels of a host, or any port or none."""
    label, port = re.escape("*."), re.escape(":*")
    starred = [re.escape(origin) for origin in origins if "*." in origin or origin.endswith(":*")]
    kinds = [one.replace(label, r"(?:[a-z0-9_-]+\.)+").replace(port, r"(?::[0-9]{1,5})?") for one in starred]
    return re.compile("|".join(kinds) or r"(?!)")
