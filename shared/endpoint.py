"""The HTTP side every function shares: paths and methods in, JSON out, one place for errors."""

import json
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from flask import Request, Response
from werkzeug.exceptions import HTTPException

from . import logs
from .errors import (
    BadRequest,
    MethodNotAllowed,
    ModelUnavailable,
    NotFound,
    NotReady,
    ServiceError,
    TooLarge,
    UnsupportedType,
)


def _max_body() -> int:
    value = os.environ.get("MAX_BODY_MB", "10")
    if not value.isdecimal() or not 1 <= int(value) <= 32:
        raise ValueError(f"MAX_BODY_MB: expected whole megabytes from 1 to 32, got {value!r}")
    return int(value) * 1_000_000


MAX_BODY = _max_body()


def serve(
    model: Mapping[str, str],
    path: str,
    classify: Callable[[Request], Mapping[str, Any]],
    ready: Callable[[], bool],
) -> Callable[[Request], Response]:
    """The function the platform calls.

    Args:
        model: name and version, as every answer states them.
        path: the path that classifies, beside `/`.
        classify: one request in, what is particular to its answer out; raises `ServiceError`.
        ready: whether the model is in memory.
    """

    def status(_: Request) -> Response:
        return _json(200, {"error": "0", "message": "Successful", "model": model, "ready": ready()})

    def health(_: Request) -> Response:
        return _json(200, {"status": "alive"})

    def readiness(_: Request) -> Response:
        if not ready():
            return _problem(ModelUnavailable("the model is not in memory yet"))
        return _json(200, {"status": "ready", "model": model})

    def answer(request: Request) -> Response:
        _limit(request)
        content = {"error": "0", "message": "Successful", **classify(request), "model": model}
        return _json(200, content, {"Cache-Control": "no-store"})

    routes: dict[str, dict[str, Route]] = {
        "/": {"GET": status, "POST": answer},
        path: {"POST": answer},
        "/health": {"GET": health},
        "/ready": {"GET": readiness},
    }

    def predict(request: Request) -> Response:
        try:
            return _route(routes, request)(request)
        except ServiceError as error:
            # The one request that made the attempt logs why it failed.
            if error.status >= 500 and not isinstance(error, NotReady):
                logs.write("ERROR", f"{error.code}: {error}")
            return _problem(error)
        except HTTPException as error:
            return _problem(_translated(error))
        except Exception:
            logs.write("ERROR", traceback.format_exc())
            return _problem(ServiceError("unexpected error"))

    return predict


Route = Callable[[Request], Response]


def _route(routes: Mapping[str, Mapping[str, Route]], request: Request) -> Route:
    methods = routes.get(request.path)
    if methods is None:
        raise NotFound(f"expected one of the paths {', '.join(routes)}; got {request.path}")
    method = "GET" if request.method == "HEAD" else request.method
    if method not in methods:
        allow = ", ".join(["HEAD", *methods] if "GET" in methods else methods)
        raise MethodNotAllowed(f"expected {allow} for {request.path}; got {request.method}", allow)
    return methods[method]


def _limit(request: Request) -> None:
    """Refuse a body over the limit: by its length where that is told, else once so much has been read."""
    length = request.content_length
    request.max_content_length = request.max_form_memory_size = MAX_BODY
    if length is None:
        # Werkzeug stops reading at the limit, in silence.
        length = len(request.get_data())
        too_large = length == MAX_BODY
    else:
        too_large = length > MAX_BODY
    if too_large:
        raise TooLarge(f"expected a body of less than {MAX_BODY:,} bytes; this one has {length:,} or more")


def _translated(error: HTTPException) -> ServiceError:
    """Errors of the form parser, which knows neither our codes nor our shape."""
    kinds: dict[int | None, type[ServiceError]] = {413: TooLarge, 415: UnsupportedType}
    return kinds.get(error.code, BadRequest)(f"the body cannot be read: {error.description}")


def _json(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(content), status, headers, content_type="application/json")


def _problem(error: ServiceError) -> Response:
    """`application/problem+json` (RFC 9457), with the article's `error` and `message` beside it."""
    body = json.dumps(
        {
            "type": "about:blank",
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "error": "1",
            "message": error.detail,
        }
    )
    # After a plain response the framework reads the rest of the request's body into memory; not after a
    # streamed one.
    content = iter([body]) if error.status == TooLarge.status else body
    return Response(content, error.status, error.headers, content_type="application/problem+json")
