"""The request bodies in OpenAPI: a schema and an example for each content type."""

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .readers import MAX_CHARACTERS, Images, Reader, Rows
from .readers.forms import MULTIPART, URLENCODED
from .readers.reader import BESIDE, NO, YES

if TYPE_CHECKING:
    from .service import Service

EXPLAIN = [*sorted(NO), *sorted(YES)]
"""The words for yes and no; the empty string is for a bare `?explain`."""
# Python takes more for blank than JavaScript, whose regular expressions these are; a byte-order mark is, too.
NOT_BLANK = "[^\\s\x1c-\x1f\x85\ufeff]"


def bodies(service: "Service", example: Any) -> dict[str, Any]:
    """The request bodies, each with an example that can be sent as it is."""
    reader = service.reader
    value, field = value_of(service), reader.fields[0]
    ways = {
        "application/json": {
            "schema": _json_body(reader, value, service.settings.max_instances),
            "examples": {
                "one": {"value": {reader.fields[-1]: example}},
                "many": {"value": {"instances": [example, {reader.fields[-1]: example}]}},
            },
        }
    }
    for kind, part in _parts(reader, value).items():
        ways[kind] = {"schema": _form(reader, part, service.settings.max_instances)}
    if isinstance(reader, Images):
        binary = {"type": "string", "format": "binary"}
        raw = ("image/png", "image/jpeg", "image/webp", "application/octet-stream")
        return ways | {kind: {"schema": binary} for kind in raw}
    if isinstance(reader, Rows):
        return ways | {
            "text/csv": {"schema": {"type": "string"}, "examples": {"one": {"value": _csv(example)}}}
        }
    ways[URLENCODED]["examples"] = ways[MULTIPART]["examples"] = {"one": {"value": {field: example}}}
    return ways | {"text/plain": {"schema": value, "examples": {"one": {"value": example}}}}


def value_of(service: "Service") -> dict[str, Any]:
    """One input in JSON."""
    if isinstance(service.reader, Images):
        text = {"type": "string", "contentEncoding": "base64", "description": "an image, or a data URL of it"}
        return {"anyOf": [text, object_of(b64=text) | {"additionalProperties": False}]}
    if isinstance(service.reader, Rows):
        return _row(service.pin.input.columns)
    return {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "pattern": NOT_BLANK}


def _row(columns: Sequence[str]) -> dict[str, Any]:
    """A row as an object, or as a list in the order of the columns, which are not known for every model."""
    cell = {"type": ["number", "null"], "description": "null for a missing value, if the model takes it"}
    values: dict[str, Any] = {"type": "array", "items": cell}
    if columns:
        values |= {"minItems": len(columns), "maxItems": len(columns)}
    return {"anyOf": [object_of(**dict.fromkeys(columns, cell)), values]}


def _json_body(reader: Reader, value: dict[str, Any], most: int) -> dict[str, Any]:
    named = [object_of(**{name: value}) | {"additionalProperties": False} for name in reader.fields]
    instances = {"type": "array", "items": {"anyOf": [value, *named]}, "minItems": 1, "maxItems": most}
    beside: dict[str, Any] = {name: {} for name in sorted(BESIDE)}
    beside["explain"] = {"enum": [False, True, 0, 1, None, *EXPLAIN]}
    ways = {**dict.fromkeys(reader.fields, value), "instances": instances}
    return {
        "oneOf": [
            with_optional(object_of(**{name: schema}), **beside) | {"additionalProperties": False}
            for name, schema in ways.items()
        ]
    }


def _parts(reader: Reader, value: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The schema of a field in each kind of form."""
    if isinstance(reader, Images):
        return {MULTIPART: {"type": "string", "format": "binary"}, URLENCODED: {"type": "string"}}
    if isinstance(reader, Rows):
        text = {"type": "string", "description": "CSV, or a row as JSON"}
        return {MULTIPART: text, URLENCODED: text}
    return {MULTIPART: value, URLENCODED: value}


def _form(reader: Reader, part: dict[str, Any], most: int) -> dict[str, Any]:
    """A form with one of the fields, once or several times."""
    repeated = {"anyOf": [part, {"type": "array", "items": part, "minItems": 1, "maxItems": most}]}
    explain = {"explain": {"enum": EXPLAIN}}
    return {
        "oneOf": [
            with_optional(object_of(**{name: repeated}), **explain) | {"additionalProperties": False}
            for name in reader.fields
        ]
    }


def _csv(row: Any) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([row.keys(), row.values()] if isinstance(row, dict) else [row])
    return text.getvalue()


def object_of(**properties: Any) -> dict[str, Any]:
    """The schema of an object that must have all of these properties."""
    return {"type": "object", "required": list(properties), "properties": properties}


def with_optional(schema: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """The object schema, with optional properties added."""
    return {**schema, "properties": {**schema["properties"], **properties}}
