"""The paths of engines in the OpenAPI document."""

from typing import TYPE_CHECKING, Any

from ...errors import ServiceError
from ..bodies import EXPLAIN, bodies, object_of, value_of, with_optional
from ..openapi import FAILED, READING, answered, refusals
from ..readers import Rows
from .tensors import CODES

if TYPE_CHECKING:
    from ..service import Service

Content = dict[str, Any]

TEXT: Content = {"type": "string"}
EXPLAIN_OR_NOT: Content = {"enum": [False, True, 0, 1, None, *EXPLAIN]}
BIGQUERY_ERROR = object_of(errorMessage=TEXT)
ERROR = object_of(error=TEXT)


def paths(service: "Service", example: Any, security: Content) -> Content:
    """The paths by which engines call a function.

    Args:
        service: the function.
        example: an input, as in `instances`.
        security: the security requirement, which each operation that predicts gets.
    """
    v1, v2 = (f"/{version}/models/{service.name}" for version in ("v1", "v2"))
    is_ready = answered(object_of(name={"const": service.name}, ready={"const": True}))
    operations: Content = {
        "/bigquery": {"post": _bigquery(service, example) | security},
        f"{v1}:predict": {"post": _predict(service, example) | security},
        v1: {"get": _get("The model is ready; it is loaded if necessary.", is_ready)},
        "/v2": {
            "get": _get(
                "The server.", answered(object_of(name=TEXT, version=TEXT, extensions={"type": "array"}))
            )
        },
        "/v2/health/live": {"get": _get("The process is alive.", answered(object_of(live={"const": True})))},
        "/v2/health/ready": {
            "get": _get(
                "The model is ready; it is loaded if necessary.", answered(object_of(ready={"const": True}))
            )
        },
    }
    infer = {"post": _infer(service, example) | security}
    for model in (v2, f"{v2}/versions/{service.pin.version}"):
        operations[model] = {"get": _get("The model's inputs and outputs.", answered(_metadata()))}
        operations[f"{model}/ready"] = {
            "get": _get("The model is ready; it is loaded if necessary.", is_ready)
        }
        operations[f"{model}/infer"] = infer
    return operations


def _get(summary: str, success: Content) -> Content:
    content = {"application/json": {"schema": ERROR}}
    failures = {"503": {"description": "Model unavailable", "content": content}}
    return {"summary": summary, "responses": {"200": success, **failures}}


def _post(service: "Service", summary: str, content: Content, success: Content, error: Content) -> Content:
    kinds: tuple[type[ServiceError], ...] = (*refusals(service.settings), *READING)
    statuses = {str(kind.status): kind.title for kind in kinds}
    failure = {"application/json": {"schema": error}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": answered(success),
            **{status: {"description": title, "content": failure} for status, title in statuses.items()},
        },
    }


def _bigquery(service: "Service", example: Any) -> Content:
    """The operation of BigQuery: `calls` to `replies`."""
    context = {
        "type": ["object", "null"],
        "properties": {"explain": {"enum": EXPLAIN}},
        "additionalProperties": False,
    }
    calls = {"type": "array", "items": _arguments(service), "maxItems": service.settings.max_instances}
    content = {
        "schema": with_optional(object_of(calls=calls), userDefinedContext=context),
        "examples": {
            "one": {"value": {"calls": [[example]]}},
            "NULL": {"value": {"calls": [[example], [None]]}},
        },
    }
    reply = {"anyOf": [{"$ref": "#/components/schemas/Instance"}, FAILED, {"type": "null"}]}
    return _post(
        service,
        "A remote function of BigQuery.",
        {"application/json": content},
        object_of(replies={"type": "array", "items": reply}),
        BIGQUERY_ERROR,
    )


def _arguments(service: "Service") -> Content:
    value = {"anyOf": [value_of(service), {"type": "null"}]}
    alone = {"type": "array", "items": value, "minItems": 1, "maxItems": 1}
    if not isinstance(service.reader, Rows):
        return alone
    columns = len(service.pin.input.columns)
    size = {"minItems": columns, "maxItems": columns} if columns else {"minItems": 1}
    return {"anyOf": [alone, {"type": "array", "items": {"type": ["number", "string", "null"]}, **size}]}


def _predict(service: "Service", example: Any) -> Content:
    schemas = ("Answer", "Answers")
    return _post(
        service,
        f"The same as {service.path}, for clients of TensorFlow Serving and KServe.",
        {"application/json": bodies(service, example)["application/json"]},
        {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas]},
        ERROR,
    )


def _metadata() -> Content:
    tensors = {"type": "array", "items": object_of(name=TEXT, datatype=TEXT, shape={"type": "array"})}
    return object_of(
        name=TEXT, versions={"type": "array", "items": TEXT}, platform=TEXT, inputs=tensors, outputs=tensors
    )


def _infer(service: "Service", example: Any) -> Content:
    """The operation of the Open Inference Protocol: tensors to tensors."""
    sizes = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}
    datatypes = {"enum": [*CODES] if isinstance(service.reader, Rows) else ["BYTES"]}
    tensor = with_optional(
        object_of(name=TEXT, datatype=datatypes, shape=sizes),
        data={"type": "array"},
        parameters={"type": "object"},
    )
    outputs = {"type": "array", "items": object_of(name=TEXT)}
    schema = with_optional(
        object_of(inputs={"type": "array", "items": tensor, "minItems": 1}),
        id=TEXT,
        outputs=outputs,
        parameters={"type": "object", "properties": {"explain": EXPLAIN_OR_NOT}},
    )
    content = {
        "application/json": {
            "schema": schema,
            "examples": {"one": {"value": {"inputs": _example(service, example)}}},
        },
        "application/octet-stream": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "JSON, as long as Inference-Header-Content-Length says, and binary tensors",
            }
        },
    }
    output = object_of(name=TEXT, datatype={"enum": ["BYTES", "FP64"]}, shape=sizes, data={"type": "array"})
    success = object_of(model_name=TEXT, model_version=TEXT, outputs={"type": "array", "items": output})
    return _post(service, "The Open Inference Protocol.", content, with_optional(success, id=TEXT), ERROR)


def _example(service: "Service", example: Any) -> list[Content]:
    """The example as tensors."""
    if isinstance(example, dict):
        return [
            {"name": name, "datatype": "FP64", "shape": [1], "data": [each]} for name, each in example.items()
        ]
    row = isinstance(example, list)
    kind = {"datatype": "FP64", "shape": [1, len(example)]} if row else {"datatype": "BYTES", "shape": [1]}
    return [{"name": service.reader.fields[-1], **kind, "data": example if row else [example]}]
