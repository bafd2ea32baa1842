"""Responses: JSON, problems (RFC 9457), and their bytes for the cases in which no server writes them."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Response

from ..errors import ServiceError


def respond(
    content: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Make a streamed response with this body of this media type.

    It is streamed, because before any other response functions-framework reads the rest of the request's
    body: all of it into memory, however long the client takes.
    """
    own = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    return Response(iter([content]), status, [*own, *(headers or {}).items()])


def respond_empty(headers: Mapping[str, str]) -> Response:
    """Make a 204."""
    response = Response(iter([b""]), 204, headers)
    del response.headers["Content-Type"]
    return response


def respond_json(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Make a JSON response."""
    return respond(json.dumps(content).encode(), "application/json", status, headers)


def problem(error: ServiceError, identifier: str = "") -> Response:
    """Make `application/problem+json` (RFC 9457), with the article's `error` and `message` beside it.

    Args:
        error: its status decides what the caller may know.
        identifier: for a 5xx, the ID under which the log has the cause.
    """
    content = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "error": "1",
        "message": error.detail,
        **({"id": identifier} if identifier else {}),
    }
    body = json.dumps(content).encode()
    return respond(body, "application/problem+json", error.status, error.headers)


def serialized(response: Response) -> bytes:
    """Return the bytes of an HTTP/1.1 response that closes the connection."""
    lines = [f"{name}: {value}\r\n" for name, value in response.headers.items()]
    head = f"HTTP/1.1 {response.status}\r\n{''.join(lines)}Connection: close\r\n\r\n"
    return head.encode("latin-1") + response.get_data()
