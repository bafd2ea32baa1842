"""JSON bodies: an error in one value does not affect the others."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...errors import BadRequest, TooLarge
from . import charsets

MAX_CONTAINERS = 100_000
"""Objects and lists: ten megabytes of `{}` would become a quarter of a gigabyte in memory."""
MAX_VALUES = 300_000
"""Values, by their commas: each takes up to two hundred bytes of memory, and a microsecond."""


def loads(body: bytes, charset: str = "") -> dict[str, Any]:
    """Parse a JSON object; see `parse`."""
    content = parse(charsets.decode(body, charset))
    if not isinstance(content, dict):
        raise BadRequest(f"expected a JSON object; got {name_of(content)}")
    return content


def parse(text: str) -> Any:
    """Parse JSON.

    NaN and infinite numbers, which are not valid JSON, are returned as floats. In place of an object that has
    a field twice, there is a `BadRequest`. So a bad instance does not affect the others.

    Raises:
        BadRequest: the text is not JSON.
        TooLarge: it holds more than `MAX_CONTAINERS` objects and lists, or `MAX_VALUES` values.
    """
    if text.count("{") + text.count("[") > MAX_CONTAINERS:
        raise TooLarge(f"expected at most {MAX_CONTAINERS:,} objects and lists in the JSON body")
    if text.count(",") > MAX_VALUES:
        raise TooLarge(f"expected at most {MAX_VALUES:,} values in the JSON body")
    try:
        content = _loads(text)
    except RecursionError:
        raise BadRequest("the JSON body is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    if isinstance(content, BadRequest):
        raise content
    return content


def name_of(value: Any) -> str:
    """The kind of a JSON value, for a message.

    Raises:
        BadRequest: the value is an object that has a field twice.
    """
    if isinstance(value, BadRequest):
        raise value
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, which is not valid JSON"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return {"str": "a string", "list": "a list", "dict": "an object"}.get(type(value).__name__, "a number")


def _loads(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a number has more digits than Python converts; this way is slower
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | BadRequest:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
    return BadRequest(f"expected each field once; {twice[:50]!r} occurs twice")


def _whole(digits: str) -> int | float:
    """A whole number; if it has more digits than Python converts (4,300), an infinite float."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)
