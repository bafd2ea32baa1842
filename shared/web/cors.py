"""Which web pages of other origins may read the answers: `ALLOWED_ORIGINS`."""

from collections.abc import Mapping

from werkzeug.datastructures import Headers

MAX_AGE = 7200  # seconds; browsers keep a preflight's answer no longer


def headers(request: Mapping[str, str] | Headers, allow: str, origins: frozenset[str]) -> dict[str, str]:
    """The headers that let the page that asks read the answer; `Vary` alone where it may not.

    Args:
        request: the request's headers.
        allow: the methods of the path, for a preflight.
        origins: those allowed.
    """
    if not origins:
        return {}
    origin = request.get("Origin", "")
    found = {} if "*" in origins else {"Vary": "Origin"}
    if not origin or not origins & {origin, "*"}:
        return found
    allowed = "*" if "*" in origins else origin
    found["Access-Control-Allow-Origin"] = allowed
    found["Access-Control-Expose-Headers"] = "Server-Timing, Retry-After"
    found["Timing-Allow-Origin"] = allowed
    if "Access-Control-Request-Method" in request:
        found["Access-Control-Allow-Methods"] = allow
        found["Access-Control-Allow-Headers"] = "Content-Type, Authorization, traceparent"
        found["Access-Control-Max-Age"] = str(MAX_AGE)
    return found
