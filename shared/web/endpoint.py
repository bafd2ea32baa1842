"""The HTTP side of every function: it routes requests, answers in JSON, and turns errors into responses."""

import gc
import os
from collections.abc import Callable

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
from ..settings import Settings
from ..turns import Turns
from . import access, cors
from .body import Memory, Take, receive
from .call import Call, Handler, Route
from .callers import Callers
from .client import Client
from .readers import ParsedRequest
from .responses import respond, respond_empty, respond_json, serialized
from .service import Service

Read = Callable[[Request, Settings], ParsedRequest]
"""Parses the body of a request, which is in memory."""
Fetch = Callable[[ParsedRequest, Call, Take], ParsedRequest]
"""Fetches the inputs that the request only names, and reserves memory for them."""
Results = list[Answer | ServiceError]


def serve(service: Service) -> Callable[[Request], Response]:
    """Make the function that the platform calls."""
    endpoint = Endpoint(service)

    def predict(request: Request) -> Response:
        return endpoint.answer(request)

    # Imported objects are never garbage. A collection that scanned them would copy their memory pages, which
    # the workers otherwise share with the server process.
    os.register_at_fork(before=gc.freeze)
    if flask.has_app_context():
        _answer_for(flask.current_app, predict)
    return predict


def _answer_for(app: flask.Flask, predict: Callable[[Request], Response]) -> None:
    """Answer requests that the framework would redirect or refuse in HTML: `//`, a path with a line break."""
    app.url_map.merge_slashes = app.url_map.strict_slashes = False
    app.register_error_handler(HTTPException, lambda _: predict(request_ctx.request))


class Endpoint:
    """Answers the requests of one function; any number of threads may call it at once."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self.service = service
        self._callers = Callers(settings)
        self._turns = Turns(settings.threads)
        self._memory = Memory((settings.threads + 4) * settings.max_body)
        health, predict = settings.vertex_health, settings.vertex_predict
        self._routes = {
            **({health: Route({"GET": self._readiness})} if health else {}),
            **({predict: Route({"POST": self.classify})} if predict else {}),
            "/": Route({"GET": self._status, "POST": self.classify}),
            service.path: Route({"POST": self.classify}),
            "/health": Route({"GET": self._health}),
            "/ready": Route({"GET": self._readiness}),
            "/openapi.json": Route({"GET": self._openapi}),
        }

    def answer(self, request: Request) -> Response:
        """Answer any request, and log it; this never raises an exception."""
        client, path = Client.of(request), _path(request)
        deadline = client.arrived + self.service.settings.request_seconds
        route = self._routes.get(path) or self._engine(path)
        slot = self._turns.request(deadline, lambda: client.check(deadline))
        call = Call(request, route, client, access.Facts(self.service.pin.version), deadline, slot)
        client.await_answer(deadline, lambda: serialized(self._give_up(call)))
        try:
            with timing.collected() as spans:
                call.facts.spans = spans
                response = self._respond(call)
            return self._finish(call, response) if client.claim() else response
        finally:
            slot.release()

    def predict(self, call: Call, read: Read, fetch: Fetch | None = None) -> tuple[ParsedRequest, Results]:
        """Admit the caller, read the inputs, and return a result for each input, in order.

        Args:
            call: the request.
            read: parses it.
            fetch: fetches inputs that the request only names; meanwhile, other requests may compute.

        Raises:
            ServiceError: something is wrong with the request as a whole.
        """
        service, request = self.service, call.request
        self._callers.admit(request, call.facts)  # before the body is read: a refusal must cost nothing
        with self._memory.share() as take:
            with timing.span("read"), call.client.await_body():
                receive(request, service.settings.max_body, take)
            with budget.one_request():
                call.slot.take()
                with timing.span("read"):
                    parsed = read(request, service.settings)
                if fetch is not None:
                    call.slot.release()
                    with timing.span("objects"):
                        parsed = fetch(parsed, call, take)
                    call.slot.take()
                return parsed, self._results(call, parsed)

    def instance(self, call: Call, result: Answer | ServiceError) -> Answer:
        """Shape one answer of many; an error takes its place."""
        if isinstance(result, ServiceError):
            identifier = {"id": call.facts.blame(result)} if result.status >= 500 else {}
            return {"error": "1", "code": result.code, "message": result.detail, **identifier}
        rest = {name: value for name, value in result.items() if name != "label"}
        return {"error": "0", "message": "Successful", self.service.key: result["label"], **rest}

    def classify(self, call: Call, read: Read | None = None) -> Response:
        """Answer one input, or `predictions` for many; `read` replaces the function's own reader."""
        parsed, results = self.predict(call, read or self.service.reader.read)
        if parsed.many:
            content: Answer = {"predictions": [self.instance(call, one) for one in results]}
        else:
            [result] = results
            if isinstance(result, ServiceError):
                raise result
            content = self.instance(call, result)
        return respond_json(content | self.service.stamp, headers={"Cache-Control": "no-store"})

    def _results(self, call: Call, parsed: ParsedRequest) -> Results:
        facts, classifier = call.facts, self.service.classifier
        facts.cold = not classifier.ready
        facts.labels = [None] * len(parsed.items)
        results = classify(classifier(), parsed.items, parsed.explain, call.check)
        facts.labels = [None if isinstance(one, ServiceError) else one["label"] for one in results]
        return results

    def _engine(self, path: str) -> Route:
        """The route of an engine's path; an engine's module is imported only when a request needs it."""
        from . import engines

        return engines.route(path, self)

    def _give_up(self, call: Call) -> Response:
        """Answer for a thread that is still working when the deadline passes."""
        return self._finish(call, self._failed(call, TimedOut("still working at the deadline")))

    def _finish(self, call: Call, response: Response) -> Response:
        settings, facts = self.service.settings, call.facts
        more = [("X-Content-Type-Options", "nosniff")]
        more += cors.headers(call.request, call.route.allow, settings.allowed_origins)
        if facts.spans:
            more.append(("Server-Timing", timing.header(dict(facts.spans), bool(facts.cold))))
        response.headers.extend(more)
        access.write(call.request, response, facts, settings.project)
        return response

    def _respond(self, call: Call) -> Response:
        try:
            return self._handler(call)(call)
        except Exception as error:
            return self._failed(call, error)

    def _handler(self, call: Call) -> Handler:
        request, route = call.request, call.route
        method = "GET" if request.method == "HEAD" else request.method
        if not route.methods:
            raise NotFound(f"expected one of the paths {self._paths}; got {request.path[:100]}")
        if method == "OPTIONS":
            return lambda _: respond_empty({"Allow": route.allow})
        if method not in route.methods:
            raise MethodNotAllowed(
                f"expected {route.allow} for {request.path[:100]}; got {method[:20]}", route.allow
            )
        return route.methods[method]

    @property
    def _paths(self) -> str:
        from . import engines

        return ", ".join([*self._routes, *engines.paths(self.service.name)])

    def _failed(self, call: Call, error: Exception) -> Response:
        """Make the response of any error. Only a `ServiceError` is shown; the log has all other causes."""
        if isinstance(error, HTTPException):
            error = _translated(error)
        shown = error if isinstance(error, ServiceError) else ServiceError("unexpected error")
        return call.route.problem(shown, call.facts.blame(error) if shown.status >= 500 else "")

    def _status(self, call: Call) -> Response:
        if call.request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            response = _page(self.service)
        else:
            response = respond_json(self.service.about)
        response.headers["Vary"] = "Accept"
        return response

    def _health(self, _: Call) -> Response:
        return respond_json({"status": "alive"})

    def _readiness(self, _: Call) -> Response:
        if not self.service.classifier.ready:
            raise NotReady("the model is not in memory yet", 1)
        return respond_json({"status": "ready", "model": self.service.model})

    def _openapi(self, _: Call) -> Response:
        from .openapi import describe

        return respond_json(describe(self.service))


def _path(request: Request) -> str:
    """The path, without slashes at its end."""
    return request.path.rstrip("/") or "/"


def _translated(error: HTTPException) -> ServiceError:
    """Turn an error of werkzeug's parser into one of ours."""
    kinds: dict[int | None, type[ServiceError]] = {413: TooLarge, 415: UnsupportedType}
    return kinds.get(error.code, BadRequest)(f"the body cannot be read: {error.description}")


def _page(service: Service) -> Response:
    from .page import page

    text, headers = page(service)
    return respond(
        text.encode(), "text/html; charset=utf-8", headers={**headers, "Cache-Control": "no-cache"}
    )
