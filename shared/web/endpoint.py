"""The HTTP side every function shares: paths and methods in, JSON out, errors to responses in one place."""

import gc
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import flask
from flask import Request, Response
from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException

from .. import budget, timing
from ..classifier import Answer, classify
from ..errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    NotReady,
    ServiceError,
    TimedOut,
    TooLarge,
    UnsupportedType,
)
from ..turns import Turns
from . import access, cors
from .body import Memory, receive
from .callers import Callers
from .client import Client
from .responses import problem, respond, respond_empty, respond_json, serialized
from .service import Service


@dataclass(frozen=True)
class Call:
    """One request, its client, what its log line says, and until when an answer is of use."""

    request: Request
    client: Client
    facts: access.Facts
    deadline: float

    def check(self) -> None:
        """Refuse to begin what nobody waits for."""
        self.client.check(self.deadline)


def serve(service: Service) -> Callable[[Request], Response]:
    """Make the function that the platform calls."""
    endpoint = Endpoint(service)

    def predict(request: Request) -> Response:
        return endpoint.answer(request)

    # What is imported is never garbage. A collection that looked at it would copy its pages, which the
    # workers otherwise share with the server they are forked from.
    os.register_at_fork(before=gc.freeze)
    if flask.has_app_context():
        _answer_for(flask.current_app, predict)
    return predict


def _answer_for(app: flask.Flask, predict: Callable[[Request], Response]) -> None:
    """Answer what the framework would redirect or refuse, in HTML: `//`, a path with a line break."""
    app.url_map.merge_slashes = app.url_map.strict_slashes = False
    app.register_error_handler(HTTPException, lambda _: predict(request_ctx.request))


class Endpoint:
    """Answers the requests of one service; any number of threads may call it at once."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self._service = service
        self._callers = Callers(settings)
        self._turns = Turns(settings.threads)
        self._memory = Memory((settings.threads + 4) * settings.max_body)
        self._routes: dict[str, dict[str, Callable[[Call], Response]]] = {
            "/": {"GET": self._status, "POST": self._classify},
            service.path: {"POST": self._classify},
            "/health": {"GET": self._health},
            "/ready": {"GET": self._readiness},
            "/openapi.json": {"GET": self._openapi},
        }

    def answer(self, request: Request) -> Response:
        """Answer a request, whatever it is, and log it; nothing is raised."""
        client = Client.of(request)
        deadline = client.arrived + self._service.settings.request_seconds
        call = Call(request, client, access.Facts(self._service.pin.version), deadline)
        client.await_answer(deadline, lambda: serialized(self._give_up(call)))
        with timing.collected() as spans:
            call.facts.spans = spans
            response = self._respond(call)
        return self._finish(call, response) if client.claim() else response

    def _give_up(self, call: Call) -> Response:
        """Answer for a thread that is still at work when the time is over."""
        return self._finish(call, self._failed(call, TimedOut("still at work when its time was over")))

    def _finish(self, call: Call, response: Response) -> Response:
        settings, facts = self._service.settings, call.facts
        allow = _allow(self._routes.get(_path(call.request), {}))
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.extend(cors.headers(call.request, allow, settings.allowed_origins))
        if facts.spans:
            response.headers["Server-Timing"] = timing.header(dict(facts.spans), bool(facts.cold))
        access.write(call.request, response, facts, settings.project)
        return response

    def _respond(self, call: Call) -> Response:
        try:
            return self._handler(call.request)(call)
        except Exception as error:
            return self._failed(call, error)

    def _handler(self, request: Request) -> Callable[[Call], Response]:
        path, method = _path(request), "GET" if request.method == "HEAD" else request.method
        methods = self._routes.get(path)
        if methods is None:
            raise NotFound(f"expected one of the paths {', '.join(self._routes)}; got {path[:100]}")
        allow = _allow(methods)
        if method == "OPTIONS":
            return lambda _: respond_empty({"Allow": allow})
        if method not in methods:
            raise MethodNotAllowed(f"expected {allow} for {path}; got {method[:20]}", allow)
        return methods[method]

    def _failed(self, call: Call, error: Exception) -> Response:
        """Make the problem of any error: a `ServiceError` is told, of others the log alone has the cause."""
        if isinstance(error, HTTPException):
            error = _translated(error)
        told = error if isinstance(error, ServiceError) else ServiceError("unexpected error")
        return problem(told, call.facts.blame(error) if told.status >= 500 else "")

    def _status(self, call: Call) -> Response:
        if call.request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            response = _page(self._service)
        else:
            response = respond_json(self._service.about)
        response.headers["Vary"] = "Accept"
        return response

    def _health(self, _: Call) -> Response:
        return respond_json({"status": "alive"})

    def _readiness(self, _: Call) -> Response:
        if not self._service.classifier.ready:
            raise NotReady("the model is not in memory yet", 1)
        return respond_json({"status": "ready", "model": self._service.model})

    def _openapi(self, _: Call) -> Response:
        from .openapi import describe

        return respond_json(describe(self._service))

    def _classify(self, call: Call) -> Response:
        service, request, facts = self._service, call.request, call.facts
        self._callers.admit(request, facts)  # before the body is read: a refusal must cost nothing
        with self._memory.share() as take:
            with timing.span("read"), call.client.await_body():
                receive(request, service.settings.max_body, take)
            with self._turns.request(call.deadline, call.check), budget.one_request():
                with timing.span("read"):
                    parsed = service.reader.read(request, service.settings)
                facts.cold = not service.classifier.ready
                facts.labels = [None] * len(parsed.items)
                results = classify(service.classifier(), parsed.items, parsed.explain, call.check)
        facts.labels = [None if isinstance(one, ServiceError) else one["label"] for one in results]
        if parsed.many:
            content: Answer = {"predictions": [self._instance(one, facts) for one in results]}
        else:
            [result] = results
            if isinstance(result, ServiceError):
                raise result
            content = self._instance(result, facts)
        return respond_json({**content, "model": service.model}, headers={"Cache-Control": "no-store"})

    def _instance(self, result: Answer | ServiceError, facts: access.Facts) -> Answer:
        """Shape one answer; an error takes its place."""
        if isinstance(result, ServiceError):
            found = {"id": facts.blame(result)} if result.status >= 500 else {}
            return {"error": "1", "code": result.code, "message": result.detail, **found}
        rest = {name: value for name, value in result.items() if name != "label"}
        return {"error": "0", "message": "Successful", self._service.key: result["label"], **rest}


def _path(request: Request) -> str:
    """The path, with or without slashes at its end."""
    return request.path.rstrip("/") or "/"


def _allow(methods: Mapping[str, object]) -> str:
    return ", ".join([*(["HEAD"] if "GET" in methods else []), *methods, "OPTIONS"])


def _translated(error: HTTPException) -> ServiceError:
    """Errors of the form parser, which knows neither our codes nor our shape."""
    kinds: dict[int | None, type[ServiceError]] = {413: TooLarge, 415: UnsupportedType}
    return kinds.get(error.code, BadRequest)(f"the body cannot be read: {error.description}")


def _page(service: Service) -> Response:
    from .page import page

    text, headers = page(service)
    return respond(
        text.encode(), "text/html; charset=utf-8", headers={**headers, "Cache-Control": "no-cache"}
    )
