"""The OpenAPI 3.1 description of a function: every path, body, response and error."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import errors
from ..example import Example
from ..settings import Settings
from .bodies import EXPLAIN, bodies, object_of, with_optional
from .cors import APP_CHECK_HEADER

if TYPE_CHECKING:
    from .service import Service

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "error", "message"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what was expected, and what was received"},
        "code": {"type": "string", "description": "stable, for programs"},
        "error": {"const": "1"},
        "message": {"type": "string", "description": "the same as `detail`"},
    },
}
FAILED = object_of(error={"const": "1"}, code={"type": "string"}, message={"type": "string"})
"""The error that takes the place of an answer if the input is bad."""
READING = (
    errors.BadRequest,
    errors.SlowRequest,
    errors.TooLarge,
    errors.UnsupportedType,
    errors.Unusable,
    errors.ServiceError,
    errors.ModelUnavailable,
)


def describe(service: "Service") -> dict[str, Any]:
    """The OpenAPI document of one function."""
    from .engines import document  # imported late, because it imports this module

    example = Example.read(service.folder)
    model = object_of(name={"const": service.name}, version={"type": "string"})
    answer, schemes = _answer(service), _schemes(service.settings)
    stamp = {"model": model} if service.stamp else {}
    one = {"$ref": "#/components/schemas/Answer"}
    many = object_of(
        predictions={
            "type": "array",
            "description": "in the order of the inputs; an error takes the place of a bad input's answer",
            "items": {"anyOf": [{"$ref": "#/components/schemas/Instance"}, FAILED]},
        },
        **stamp,
    )
    classify = {
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "whether to add an `explanation`",
                "allowEmptyValue": True,
                "schema": {"enum": EXPLAIN, "default": "0"},
            }
        ],
        "requestBody": {"required": True, "content": bodies(service, example.input)},
        "responses": {
            "200": {
                **answered({"anyOf": [one, {"$ref": "#/components/schemas/Answers"}]}),
                "description": "One answer; or `predictions`, if several inputs or `instances` were sent.",
                "headers": {"Server-Timing": {"schema": {"type": "string"}}},
            },
            **_problems(*refusals(service.settings), *READING),
        },
        **_required(schemes),
    }
    status = object_of(
        error={"const": "0"},
        message={"type": "string"},
        model={"type": "object"},
        ready={"type": "boolean"},
        max_instances={"type": "integer"},
        max_body_bytes={"type": "integer"},
    )
    page = {"text/html": {"schema": {"type": "string"}}}
    about = answered(status)
    return {
        "openapi": "3.1.0",
        "info": {"title": service.name, "version": service.pin.version},
        "paths": {
            "/": {
                "get": _get(
                    "The status; a browser gets the page.", about | {"content": about["content"] | page}
                ),
                "post": {"operationId": "classify", "summary": f"The same as {service.path}.", **classify},
            },
            service.path: {"post": {"operationId": "classifyByName", "summary": "Classify.", **classify}},
            "/health": {"get": _get("The process is alive.", answered(object_of(status={"const": "alive"})))},
            "/ready": {
                "get": _get(
                    "The model is in memory.",
                    answered(object_of(status={"const": "ready"}, model=model)),
                    errors.ModelUnavailable,
                )
            },
            "/openapi.json": {"get": _get("This document.", answered({"type": "object"}))},
            **document.paths(service, example.input, _required(schemes)),
        },
        "components": {
            "schemas": {
                "Answer": with_optional(object_of(**answer, **stamp), **_optional(service)),
                "Instance": with_optional(object_of(**answer), **_optional(service)),
                "Answers": many,
                "Problem": PROBLEM,
            },
            **({"securitySchemes": schemes} if schemes else {}),
        },
    }


def _schemes(settings: Settings) -> dict[str, Any]:
    """The security schemes by name; empty if anyone may call."""
    user = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": f"an ID token of {settings.sign_in.name}" if settings.sign_in else "",
    }
    app = {
        "type": "apiKey",
        "in": "header",
        "name": APP_CHECK_HEADER,
        "description": f"a Firebase App Check token of the project {settings.app_check}",
    }
    return {**({"user": user} if settings.sign_in else {}), **({"app": app} if settings.app_check else {})}


def _required(schemes: Mapping[str, Any]) -> dict[str, Any]:
    """The requirement that a caller satisfies all schemes."""
    return {"security": [{name: [] for name in schemes}]} if schemes else {}


def refusals(settings: Settings) -> tuple[type[errors.ServiceError], ...]:
    """The errors of callers who are not let in."""
    checked = (errors.Unauthenticated, errors.Forbidden) if settings.sign_in or settings.app_check else ()
    return (*checked, *((errors.TooManyRequests,) if settings.rate_limit else ()))


def _answer(service: "Service") -> dict[str, Any]:
    labels = list(service.pin.labels)
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "error": {"const": "0"},
        "message": {"const": "Successful"},
        service.key: {"enum": labels},
        "probabilities": object_of(**dict.fromkeys(labels, probability)),
    }


def _optional(service: "Service") -> dict[str, Any]:
    """The optional fields of an answer."""
    warning = object_of(
        code={"type": "string", "description": "stable, for programs"}, message={"type": "string"}
    )
    return {
        **service.fields,
        "explanation": dict(service.explanation or {"type": "null"}),
        "warnings": {
            "type": "array",
            "description": "why the answer should not be trusted blindly",
            "items": warning,
        },
    }


def answered(schema: dict[str, Any]) -> dict[str, Any]:
    """The response 200 with JSON of this schema."""
    return {"description": "Successful", "content": {"application/json": {"schema": schema}}}


def _get(summary: str, answered: dict[str, Any], *problems: type[errors.ServiceError]) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": answered, **_problems(*problems)}}


def _problems(*kinds: type[errors.ServiceError]) -> dict[str, Any]:
    """A response for each status."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(kind.status): {"description": kind.title, "content": content} for kind in kinds}
