"""The HTTP side every function shares: paths and methods in, JSON out, one place for errors and logs."""

import gc
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flask import Request, Response
from werkzeug.exceptions import HTTPException

from .. import logs, timing
from ..classifier import Answer, Classifier, classify
from ..errors import (
    BadRequest,
    MethodNotAllowed,
    ModelUnavailable,
    NotFound,
    NotReady,
    ServiceError,
    TooLarge,
    Unexpected,
    UnsupportedType,
)
from ..pin import Pin
from ..settings import Settings
from . import cors
from .overload import admit, readers
from .readers import Reader

Facts = dict[str, Any]
"""What a request adds to its log line."""
Handler = Callable[[Request, Facts], Response]


@dataclass(frozen=True)
class Service:
    """What is particular to one function.

    Attributes:
        name: the function's name, as every answer states it.
        pin: its `model.json`.
        settings: the environment's.
        path: the path that classifies, beside `/`.
        reader: reads the inputs of a request.
        classifier: the model, loaded when first called; `ready` says whether it is in memory.
        key: the field of an answer that holds the label.
        folder: where its `example.json` and `page.html` lie.
        explanation: the JSON schema of an explanation, if the classifier gives one.
    """

    name: str
    pin: Pin
    settings: Settings
    path: str
    reader: Reader
    classifier: "LazyClassifier"
    key: str
    folder: Path
    explanation: Mapping[str, Any] | None = None

    @property
    def model(self) -> dict[str, str]:
        """Name and version."""
        return {"name": self.name, "version": self.pin.version}


class LazyClassifier(Protocol):
    """Gives the classifier, loading it if it is not in memory."""

    @property
    def ready(self) -> bool: ...

    def __call__(self) -> Classifier[Any, Any, Any]: ...


def serve(service: Service) -> Callable[[Request], Response]:
    """The function the platform calls."""
    routes = _routes(service)
    # What is imported is never garbage. A collection that looked at it would copy its pages, which the
    # workers otherwise share with the server they are forked from.
    os.register_at_fork(before=gc.freeze)

    def predict(request: Request) -> Response:
        began = time.perf_counter()
        facts: Facts = {"model": service.pin.version}
        with timing.collected() as spans:
            response = _respond(routes, request, facts)
        cold = bool(facts.get("cold"))
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.extend(
            cors.headers(
                request.headers, _allow(routes.get(request.path, {})), service.settings.allowed_origins
            )
        )
        if spans:
            response.headers["Server-Timing"] = timing.header(spans, cold)
        _log(request, response, time.perf_counter() - began, spans, facts, service.settings.project)
        return response

    return predict


def _routes(service: Service) -> dict[str, dict[str, Handler]]:
    def status(request: Request, _: Facts) -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            response = _page(service)
        else:
            pin, settings = service.pin, service.settings
            about = {
                "trained": pin.trained,
                "labels": pin.labels,
                "threshold": pin.decision_threshold if len(pin.labels) == 2 else None,
                "metrics": dict(pin.metrics),
            }
            content = {"error": "0", "message": "Successful", "model": {**service.model, **about}}
            limits = {"max_instances": settings.max_instances, "max_body_bytes": settings.max_body}
            response = _json(200, {**content, "ready": service.classifier.ready, **limits})
        response.headers["Vary"] = "Accept"
        return response

    def health(_: Request, __: Facts) -> Response:
        return _json(200, {"status": "alive"})

    def readiness(_: Request, __: Facts) -> Response:
        if not service.classifier.ready:
            return _problem(ModelUnavailable("the model is not in memory yet", 1))
        return _json(200, {"status": "ready", "model": service.model})

    def openapi(_: Request, __: Facts) -> Response:
        from .openapi import describe

        return _json(200, describe(service))

    def answer(request: Request, facts: Facts) -> Response:
        admit()
        with timing.span("read"):
            with readers.reading(request.environ):
                _receive(request, service.settings.max_body)
            parsed = service.reader.read(request, service.settings)
        facts["cold"] = not service.classifier.ready
        facts["instances"] = len(parsed.items)
        results = classify(service.classifier(), parsed.items, parsed.explain)
        facts["labels"] = [None if isinstance(one, ServiceError) else one["label"] for one in results]
        if parsed.many:
            content: Answer = {"predictions": [_instance(one, service.key) for one in results]}
        else:
            [result] = results
            if isinstance(result, ServiceError):
                raise result
            content = _instance(result, service.key)
        return _json(200, {**content, "model": service.model}, {"Cache-Control": "no-store"})

    return {
        "/": {"GET": status, "POST": answer},
        service.path: {"POST": answer},
        "/health": {"GET": health},
        "/ready": {"GET": readiness},
        "/openapi.json": {"GET": openapi},
    }


def _instance(result: Answer | ServiceError, key: str) -> Answer:
    """Shape one answer; an error takes its place."""
    if isinstance(result, ServiceError):
        return {"error": "1", "code": result.code, "message": result.detail}
    rest = {name: value for name, value in result.items() if name != "label"}
    return {"error": "0", "message": "Successful", key: result["label"], **rest}


def _respond(routes: Mapping[str, Mapping[str, Handler]], request: Request, facts: Facts) -> Response:
    """The answer, or the problem: nothing is raised."""
    try:
        methods = routes.get(request.path)
        if methods is None:
            raise NotFound(f"expected one of the paths {', '.join(routes)}; got {request.path[:100]}")
        if request.method == "OPTIONS":
            return _response(204, "", "", {"Allow": _allow(methods)})
        method = "GET" if request.method == "HEAD" else request.method
        if method not in methods:
            allow = _allow(methods)
            raise MethodNotAllowed(f"expected {allow} for {request.path}; got {request.method[:20]}", allow)
        return methods[method](request, facts)
    except ServiceError as error:
        # The one request that made the attempt logs why it failed.
        if error.status >= 500 and not isinstance(error, NotReady):
            facts["cause"] = f"{error.code}: {error}"
            if isinstance(error, Unexpected):
                facts["stack_trace"] = error.trace
        return _problem(error)
    except HTTPException as error:
        return _problem(_translated(error))
    except Exception as error:
        facts["cause"] = f"{type(error).__name__}: {error}"
        facts["stack_trace"] = traceback.format_exc()
        return _problem(ServiceError("unexpected error"))


def _allow(methods: Mapping[str, Handler]) -> str:
    return ", ".join([*(["HEAD"] if "GET" in methods else []), *methods, "OPTIONS"])


def _receive(request: Request, limit: int) -> None:
    """Read the whole body, as far as the limit; by its declared length it may be refused unread.

    Raises:
        TooLarge: it is over the limit.
        BadRequest: less came than was declared, or it is not in the chunks it should be in.
    """
    declared = request.content_length
    # Werkzeug stops reading at its limit, in silence.
    request.max_content_length, request.max_form_memory_size = limit + 1, limit
    try:
        length = declared if declared is not None and declared > limit else len(request.get_data())
    except HTTPException:
        raise
    except Exception as error:  # the server's own, of broken chunks and lost connections
        raise BadRequest(f"the body cannot be read: {type(error).__name__}") from None
    if length > limit:
        raise TooLarge(f"expected a body of at most {limit:,} bytes; this one has {length:,} or more")
    if declared is not None and length < declared:
        raise BadRequest(f"expected a body of {declared:,} bytes; {length:,} came")


def _translated(error: HTTPException) -> ServiceError:
    """Errors of the form parser, which knows neither our codes nor our shape."""
    kinds: dict[int | None, type[ServiceError]] = {413: TooLarge, 415: UnsupportedType}
    return kinds.get(error.code, BadRequest)(f"the body cannot be read: {error.description}")


def _page(service: Service) -> Response:
    from .page import page

    text, policy = page(service.folder / "page.html")
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return _response(200, text, "text/html; charset=utf-8", headers)


def _json(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return _response(status, json.dumps(content), "application/json", headers)


def _response(status: int, text: str, kind: str, headers: Mapping[str, str] | None = None) -> Response:
    """A streamed response: before any other, the framework reads what is left of the request's body.

    It would read all of it into memory, for as long as the client takes.
    """
    body = text.encode()
    own = {"Content-Type": kind, "Content-Length": str(len(body))} if status != 204 else {}
    response = Response(iter([body]), status, {**own, **(headers or {})})
    if status == 204:
        del response.headers["Content-Type"]
    return response


def _problem(error: ServiceError) -> Response:
    """`application/problem+json` (RFC 9457), with the article's `error` and `message` beside it."""
    content = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "error": "1",
        "message": error.detail,
    }
    return _response(error.status, json.dumps(content), "application/problem+json", error.headers)


def _log(
    request: Request,
    response: Response,
    seconds: float,
    spans: Mapping[str, float],
    facts: Facts,
    project: str,
) -> None:
    """One line for the request. Never what it brought."""
    status, path = response.status_code, request.path[:300]
    severity = "ERROR" if status >= 500 else "WARNING" if status >= 400 else "INFO"
    said = facts.pop("cause", None) or ", ".join(filter(None, facts.get("labels", [])))
    http = {
        "requestMethod": request.method,
        "requestUrl": path,
        "status": status,
        "requestSize": str(request.content_length or 0),
        "responseSize": str(response.content_length or 0),
        "userAgent": request.headers.get("User-Agent", "")[:300],
        "latency": f"{seconds:.6f}s",
    }
    logs.write(
        severity,
        f"{request.method[:20]} {path} {status} {1000 * seconds:.1f} ms {said}".rstrip(),
        httpRequest=http,
        milliseconds={name: round(1000 * value, 2) for name, value in spans.items()},
        **facts,
        **logs.trace(request.headers, project),
    )
