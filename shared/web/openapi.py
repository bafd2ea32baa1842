"""What a function answers, as OpenAPI 3.1: every path, body, response and error."""

from typing import TYPE_CHECKING, Any

from .. import errors
from ..example import Example
from .readers import MAX_CHARACTERS, Images

if TYPE_CHECKING:
    from .service import Service

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "error", "message"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what was expected, and what came"},
        "code": {"type": "string", "description": "stable, for programs"},
        "error": {"const": "1"},
        "message": {"type": "string", "description": "the same as `detail`"},
    },
}
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
    example = Example.read(service.folder)
    explanation = dict(service.explanation or {"type": "null"})
    model = _object(name={"const": service.name}, version={"type": "string"})
    answer = _answer(service)
    one = {"$ref": "#/components/schemas/Answer"}
    many = _object(
        predictions={
            "type": "array",
            "description": "in the order of the inputs; a bad input has its error in its place",
            "items": {"anyOf": [{"$ref": "#/components/schemas/Instance"}, _failed()]},
        },
        model=model,
    )
    classify = {
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "whether to add an `explanation`",
                "schema": {"enum": ["0", "1", "false", "true"], "default": "0"},
            }
        ],
        "requestBody": {"required": True, "content": _bodies(service, example.input)},
        "responses": {
            "200": {
                **_json({"anyOf": [one, {"$ref": "#/components/schemas/Answers"}]}),
                "description": "One answer, or `predictions` where several inputs or `instances` were sent.",
                "headers": {"Server-Timing": {"schema": {"type": "string"}}},
            },
            **_problems(*READING),
        },
    }
    status = _object(
        error={"const": "0"},
        message={"type": "string"},
        model={"type": "object"},
        ready={"type": "boolean"},
        max_instances={"type": "integer"},
        max_body_bytes={"type": "integer"},
    )
    page = {"text/html": {"schema": {"type": "string"}}}
    told = _json(status)
    return {
        "openapi": "3.1.0",
        "info": {"title": service.name, "version": service.pin.version},
        "paths": {
            "/": {
                "get": _get(
                    "The status; to a browser, the page.", told | {"content": told["content"] | page}
                ),
                "post": {"operationId": "classify", "summary": f"As {service.path}.", **classify},
            },
            service.path: {"post": {"operationId": "classifyByName", "summary": "Classify.", **classify}},
            "/health": {"get": _get("The process is alive.", _json(_object(status={"const": "alive"})))},
            "/ready": {
                "get": _get(
                    "The model is in memory.",
                    _json(_object(status={"const": "ready"}, model=model)),
                    errors.ModelUnavailable,
                )
            },
            "/openapi.json": {"get": _get("This document.", _json({"type": "object"}))},
        },
        "components": {
            "schemas": {
                "Answer": _with(_object(**answer, model=model), explanation=explanation),
                "Instance": _with(_object(**answer), explanation=explanation),
                "Answers": many,
                "Problem": PROBLEM,
            }
        },
    }


def _answer(service: "Service") -> dict[str, Any]:
    labels = list(service.pin.labels)
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "error": {"const": "0"},
        "message": {"const": "Successful"},
        service.key: {"enum": labels},
        "probabilities": _object(**dict.fromkeys(labels, probability)),
    }


def _failed() -> dict[str, Any]:
    return _object(error={"const": "1"}, code={"type": "string"}, message={"type": "string"})


def _bodies(service: "Service", example: str) -> dict[str, Any]:
    """The ways to send an input, each with an example that can be sent as it stands."""
    reader, images = service.reader, isinstance(service.reader, Images)
    first, second = reader.fields[0], reader.fields[-1]
    string: dict[str, Any] = (
        {"type": "string", "contentEncoding": "base64", "description": "an image, or a data URL of it"}
        if images
        else {"type": "string", "maxLength": MAX_CHARACTERS}
    )
    names = [*reader.fields, *([reader.alias] if reader.alias else [])]
    named = {"anyOf": [_object(**{name: string}) | {"additionalProperties": False} for name in names]}
    instances = {
        "type": "array",
        "items": {"anyOf": [string, named]},
        "minItems": 1,
        "maxItems": service.settings.max_instances,
    }
    explain = {"explain": {"type": "boolean", "default": False}}
    ways = [
        {
            "type": "object",
            "required": [name],
            "properties": {name: schema, **explain},
            "additionalProperties": False,
        }
        for name, schema in (*((field, string) for field in reader.fields), ("instances", instances))
    ]
    bodies: dict[str, Any] = {
        "application/json": {
            "schema": {"oneOf": ways},
            "examples": {
                "one": {"value": {second: example}},
                "many": {"value": {"instances": [example, {reader.alias or second: example}]}},
            },
        }
    }
    part = {"type": "string", "format": "binary"} if images else {"type": "string"}
    repeated = {"anyOf": [part, {"type": "array", "items": part}]}
    for kind in reader.forms:
        bodies[kind] = {"schema": {"type": "object", "properties": dict.fromkeys(reader.fields, repeated)}}
        if not images:
            bodies[kind]["examples"] = {"one": {"value": {first: example}}}
    for kind in ("image/png", "image/jpeg", "image/webp") if images else ("text/plain",):
        bodies[kind] = {"schema": part}
    if not images:
        bodies["text/plain"]["examples"] = {"one": {"value": example}}
    return bodies


def _object(**properties: Any) -> dict[str, Any]:
    """An object that has all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _with(schema: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """The object, which may have these too."""
    return {**schema, "properties": {**schema["properties"], **properties}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Successful", "content": {"application/json": {"schema": schema}}}


def _get(summary: str, told: dict[str, Any], *problems: type[errors.ServiceError]) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": told, **_problems(*problems)}}


def _problems(*kinds: type[errors.ServiceError]) -> dict[str, Any]:
    """A response for each status."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(kind.status): {"description": kind.title, "content": content} for kind in kinds}
