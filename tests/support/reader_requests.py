"""Make requests for a reader, and read them."""

import json
from typing import Any

from flask import Request
from werkzeug.test import EnvironBuilder

from shared.errors import ServiceError
from shared.settings import Settings
from shared.web.readers import ParsedRequest, Reader


def read(reader: Reader, body: bytes, kind: str | None, query: str = "", **settings: Any) -> ParsedRequest:
    """Return the reader's result for a body of this content type."""
    environ = EnvironBuilder(method="POST", data=body, content_type=kind, query_string=query).get_environ()
    return reader.read(Request(environ), Settings(**settings))


def only(reader: Reader, body: bytes, kind: str | None) -> Any:
    """Return the only input of a body; raises its error."""
    parsed = read(reader, body, kind)
    assert not parsed.many
    [item] = parsed.items
    if isinstance(item, ServiceError):
        raise item
    return item


def instances(reader: Reader, *values: Any) -> list[Any]:
    """Return the inputs of `instances`, with an error in the place of each bad one."""
    parsed = read(reader, json.dumps({"instances": values}).encode(), "application/json")
    assert parsed.many
    assert len(parsed.items) == len(values)
    return parsed.items


def form(*parts: tuple[str, bytes]) -> bytes:
    """A multipart form with the boundary `x`: the parameters of each part's disposition, and its content."""
    heads = [f"--x\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() for head, _ in parts]
    bodies = b"".join(head + content + b"\r\n" for head, (_, content) in zip(heads, parts, strict=True))
    return bodies + b"--x--\r\n"


MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"
