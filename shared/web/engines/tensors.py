"""Tensors of the Open Inference Protocol, in JSON and in binary, to lists of checked type and shape.

https://github.com/kserve/open-inference-protocol and the binary tensor data extension of Triton.
"""

import math
import re
import struct
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ...errors import BadRequest, TooLarge
from ..readers import json_body

CODES = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""How `struct` reads an element of each datatype but BYTES."""
MAX_SIZE = 1 << 31
"""Of one dimension: more than any body can contain."""


@dataclass(frozen=True)
class Tensor:
    """One input tensor.

    Attributes:
        place: its place in the request, for messages.
        name: its name.
        datatype: `BYTES`, or one of `CODES`.
        shape: one or two dimensions, not negative.
        values: the elements, row by row; elements of BYTES are bytes if sent in binary, else JSON values.
        is_base64: whether the client declares its strings as base64.
    """

    place: str
    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]
    is_base64: bool


def split(body: bytes, header: str | None) -> tuple[dict[str, Any], memoryview]:
    """Return a body's JSON and the binary tensors after it, split by `Inference-Header-Content-Length`.

    Raises:
        BadRequest: the header is not a length within the body, or the JSON is not valid.
    """
    length = len(body)
    if header is not None:
        length = int(header) if re.fullmatch(r"[0-9]{1,10}", header) else -1
        if not 0 <= length <= len(body):
            raise BadRequest(
                "expected in Inference-Header-Content-Length how many bytes of the body are JSON, at most "
                f"{len(body):,}; got {header[:20]!r}"
            )
    try:
        return json_body.loads(body[:length]), memoryview(body)[length:]
    except BadRequest as error:
        hint = (
            "" if header is None else f"; Inference-Header-Content-Length says that {length:,} bytes are JSON"
        )
        raise BadRequest(f"{error}{hint}") from None


def read(inputs: Any, binary: memoryview) -> list[Tensor]:
    """Read the tensors of the field `inputs`, with the binary data after the JSON.

    Raises:
        BadRequest: a tensor does not match its type or shape, or two have the same name.
        TooLarge: the tensors have more than `json_body.MAX_VALUES` elements.
    """
    if isinstance(inputs, BadRequest):
        raise inputs
    if not isinstance(inputs, list) or not inputs:
        raise BadRequest("expected a list of at least one tensor in the field 'inputs'")
    tensors: list[Tensor] = []
    start, elements = 0, 0
    for number, content in enumerate(inputs):
        tensor, size = _tensor(f"inputs[{number}]", content, binary[start:])
        start += size
        elements += len(tensor.values)
        if elements > json_body.MAX_VALUES:
            raise TooLarge(f"expected tensors of at most {json_body.MAX_VALUES:,} elements in all")
        tensors.append(tensor)
    if start != len(binary):
        raise BadRequest(
            f"expected {start:,} bytes after the JSON, as binary_data_size says; got {len(binary):,}"
        )
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise BadRequest("expected each tensor of 'inputs' once; two have the same name")
    return tensors


def _tensor(place: str, content: Any, binary: memoryview) -> tuple[Tensor, int]:
    """Read one tensor; return it and how many bytes of the binary data belong to it."""
    if isinstance(content, BadRequest):
        raise content
    if not isinstance(content, dict):
        raise BadRequest(f"{place}: expected a tensor, as an object; got {json_body.name_of(content)}")
    name, datatype, shape = (content.get(field) for field in ("name", "datatype", "shape"))
    if not isinstance(name, str):
        raise BadRequest(f"{place}: expected a 'name'; got {json_body.name_of(name)}")
    if not isinstance(datatype, str) or (datatype != "BYTES" and datatype not in CODES):
        raise BadRequest(f"{place}: expected a 'datatype' such as BYTES or FP64; got {str(datatype)[:20]!r}")
    sizes, count = _shape(place, shape)
    parameters = content.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    size = parameters.get("binary_data_size")
    if size is None:
        values = _from_json(place, content.get("data"), datatype)
    else:
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary):
            raise BadRequest(
                f"{place}: expected a binary_data_size of at most the {len(binary):,} bytes left after "
                "the JSON, whose length Inference-Header-Content-Length says"
            )
        values = _from_bytes(place, binary[:size], datatype, count)
    if len(values) != count:
        raise BadRequest(f"{place}: expected as many elements as its 'shape' says; got {len(values):,}")
    is_base64 = size is None and parameters.get("content_type") == "base64"
    return Tensor(place, name, datatype, sizes, values, is_base64), size or 0


def _shape(place: str, shape: Any) -> tuple[tuple[int, ...], int]:
    """The dimensions, and the number of elements; raises `BadRequest`."""
    if (
        not isinstance(shape, list)
        or len(shape) not in (1, 2)
        or not all(type(size) is int and 0 <= size < MAX_SIZE for size in shape)
    ):
        raise BadRequest(f"{place}: expected a 'shape' of one or two dimensions, such as [8] or [8, 1]")
    count = math.prod(shape)
    if count > json_body.MAX_VALUES:
        raise TooLarge(f"{place}: expected a tensor of at most {json_body.MAX_VALUES:,} elements")
    return tuple(shape), count


def _from_json(place: str, data: Any, datatype: str) -> list[Any]:
    """The elements of `data`, nested or flat."""
    if not isinstance(data, list):
        raise BadRequest(f"{place}: expected a list in the field 'data'; got {json_body.name_of(data)}")
    while any(isinstance(each, list) for each in data):
        if not all(isinstance(each, list) for each in data):
            raise BadRequest(f"{place}: expected all elements of 'data' at the same depth")
        data = list(chain.from_iterable(data))
    values: list[Any] = data
    for number, value in enumerate(values):
        if not _fits(value, datatype):
            got = json_body.name_of(value)
            raise BadRequest(f"{place}.data[{number}]: expected {datatype}; got {got}")
    return values


def _fits(value: Any, datatype: str) -> bool:
    """Whether a JSON value has this datatype. null is a missing value; readers check elements of BYTES."""
    if value is None or datatype == "BYTES":
        return True
    if isinstance(value, bool) or datatype == "BOOL":
        return isinstance(value, bool) and datatype == "BOOL"
    return isinstance(value, int) or (
        isinstance(value, float) and (datatype.startswith("FP") or value.is_integer())
    )


def _from_bytes(place: str, content: memoryview, datatype: str, count: int) -> list[Any]:
    if datatype == "BYTES":
        return _strings(place, content, count)
    code = CODES[datatype]
    if len(content) != count * struct.calcsize(f"<{code}"):
        raise BadRequest(
            f"{place}: expected as many bytes of {datatype} as its 'shape' says; got {len(content):,} bytes"
        )
    return list(struct.unpack(f"<{count}{code}", content))


def _strings(place: str, content: memoryview, count: int) -> list[bytes]:
    """Elements of BYTES: each is its length, in four little-endian bytes, and its content."""
    strings: list[bytes] = []
    start = 0
    while start < len(content):
        end = start + 4
        if end <= len(content):
            end += int.from_bytes(content[start:end], "little")
        if end > len(content) or end < start + 4 or len(strings) == count:
            raise BadRequest(
                f"{place}: expected as many elements of BYTES as its 'shape' says, each as its length in "
                f"four little-endian bytes and then that many bytes; element {len(strings)} is not"
            )
        strings.append(bytes(content[start + 4 : end]))
        start = end
    return strings
