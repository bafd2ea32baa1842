"""From a request to the images or texts it brings, within limits."""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from flask import Request

from ..errors import BadRequest, ServiceError, TooLarge, UnsupportedType, Unusable
from ..settings import Settings
from . import multipart

MAX_CHARACTERS = 100_000


@dataclass(frozen=True)
class ParsedRequest:
    """What one request brings: images or texts in their order, or what is wrong with each.

    `many` is whether the answer is to be a list; `explain`, whether each is to be explained.
    """

    items: list[Any]
    many: bool
    explain: bool


class Reader:
    """Reads requests: forms, raw bodies and JSON, chosen by their content type.

    `fields` are the names a form and JSON may use; the first is the article's. `alias` is one more that JSON
    may use within `instances`.
    """

    what = ""
    raw = ""
    forms: tuple[str, ...] = ()

    def __init__(self, *fields: str, alias: str = "") -> None:
        self.fields = fields
        self.alias = alias

    def read(self, request: Request, settings: Settings) -> ParsedRequest:
        """The items of a request.

        Raises:
            BadRequest: nothing under any of `fields`, or JSON that is not of the form expected.
            UnsupportedType: another content type or encoding.
            TooLarge: more than `settings.max_instances` items.
        """
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise UnsupportedType(f"expected a body without Content-Encoding; got {encoding[:50]}")
        charset = request.mimetype_params.get("charset", "utf-8")
        if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedType(f"expected UTF-8; got charset={charset[:50]}")
        explain = self._explain(request)
        if request.mimetype in self.forms:
            found = self.form(request)
            if not found:
                sent = ", ".join([*request.files, *request.form])[:200] or "none"
                raise BadRequest(f"expected {self.what} in the form field {self.named}; fields sent: {sent}")
            parsed = ParsedRequest(found, len(found) > 1, explain)
        elif request.mimetype == "application/json":
            parsed = self._json(request.get_data(), explain, settings)
        elif re.fullmatch(self.raw, request.mimetype):
            parsed = ParsedRequest([request.get_data()], False, explain)
        else:
            body = self.raw.replace(".+", "*")
            raise UnsupportedType(
                f"expected {' or '.join(self.forms)} with the field {self.named}, application/json, "
                f"or a body of type {body}; got {request.mimetype[:100] or 'no Content-Type'}"
            )
        if len(parsed.items) > settings.max_instances:
            raise TooLarge(
                f"expected at most {settings.max_instances} inputs; this request has {len(parsed.items)}"
            )
        return ParsedRequest([self._checked(item) for item in parsed.items], parsed.many, parsed.explain)

    @property
    def named(self) -> str:
        """The fields, for a message."""
        return " or ".join(repr(field) for field in self.fields)

    def one_of(self, found: dict[str, list[Any]]) -> list[Any]:
        """What stands under the one field that is used; raises `BadRequest` where several are."""
        used = [values for values in found.values() if values]
        if len(used) > 1:
            raise BadRequest(f"expected one of the fields {self.named}; got {len(used)} of them")
        return used[0] if used else []

    def form(self, request: Request) -> list[Any]:
        """What a form holds under `fields`."""
        raise NotImplementedError

    def check(self, item: Any) -> Any:
        """The item itself, or as what the classifier takes; raises `ServiceError`."""
        raise NotImplementedError

    def parse(self, value: str, name: str) -> Any:
        """A JSON string to an item; `name` is that of its field. Raises `BadRequest`."""
        raise NotImplementedError

    def _checked(self, item: Any) -> Any:
        try:
            return item if isinstance(item, ServiceError) else self.check(item)
        except ServiceError as error:
            return error

    @staticmethod
    def _explain(request: Request) -> bool:
        value = request.args.get("explain", "0")
        if value not in ("0", "1", "false", "true"):
            raise BadRequest(f"expected explain=1 or explain=0; got {value[:20]!r}")
        return value in ("1", "true")

    def _json(self, body: bytes, explain: bool, settings: Settings) -> ParsedRequest:
        content = loads(body)
        known = {*self.fields, "instances", "explain"}
        if unknown := sorted(set(content) - known):
            names = ", ".join(sorted(known))
            raise BadRequest(f"expected no other fields than {names}; got {unknown[0][:50]!r}")
        parsed = content.get("explain", explain)
        if not isinstance(parsed, bool):
            raise BadRequest("expected true or false in the field 'explain'")
        present = [field for field in (*self.fields, "instances") if field in content]
        if len(present) != 1:
            raise BadRequest(
                f"expected one of the fields {self.named} or 'instances'; got {len(present)} of them"
            )
        [name] = present
        if name != "instances":
            return ParsedRequest([self._item(content[name], name)], False, parsed)
        instances = content["instances"]
        if not isinstance(instances, list) or not instances:
            raise BadRequest("expected a list of at least one input in the field 'instances'")
        if len(instances) > settings.max_instances:
            raise TooLarge(f"expected at most {settings.max_instances} instances; got {len(instances)}")
        return ParsedRequest(
            [self._instance(one, index) for index, one in enumerate(instances)], True, parsed
        )

    def _instance(self, instance: Any, index: int) -> Any:
        """An instance as an item; what is wrong with its content comes back in its place."""
        name, names = f"instances[{index}]", [*self.fields, *([self.alias] if self.alias else [])]
        if isinstance(instance, dict):
            if len(instance) != 1 or not set(instance) <= set(names):
                raise BadRequest(f"expected one of the fields {', '.join(names)} in {name}")
            [(field, instance)] = instance.items()
            name += f".{field}"
        try:
            return self._item(instance, name)
        except BadRequest as error:
            if isinstance(instance, str):
                return error
            raise

    def _item(self, value: Any, name: str) -> Any:
        if not isinstance(value, str):
            raise BadRequest(f"expected a string in the field {name!r}; got {type(value).__name__}")
        return self.parse(value, name)


class Images(Reader):
    """Encoded images, as bytes."""

    what = "an image file"
    raw = "image/.+"
    forms = ("multipart/form-data",)

    def form(self, request: Request) -> list[Any]:
        """The files under any of the fields."""
        files = multipart.files(request.get_data(), request.mimetype_params.get("boundary", ""))
        if files is None:
            files = {field: [file.read() for file in request.files.getlist(field)] for field in self.fields}
        return self.one_of({field: files.get(field, []) for field in self.fields})

    def check(self, item: Any) -> Any:
        """Refuse an empty file."""
        if not item:
            raise Unusable("expected an image; the file is empty")
        return item

    def parse(self, value: str, name: str) -> Any:
        """Base64, or a data URL of it."""
        data = re.sub(r"^data:[\w.+/;=-]*;base64,", "", value[:100]) + value[100:]
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest(f"expected base64, or a data URL of it, in the field {name!r}") from None


class Texts(Reader):
    """Texts, as str."""

    what = "a text"
    raw = "text/plain"
    forms = ("multipart/form-data", "application/x-www-form-urlencoded")

    def form(self, request: Request) -> list[Any]:
        """The texts, or text files, under any of the fields."""
        # Asked of any other form, Werkzeug would parse it once more.
        files = request.files.items(multi=True) if request.mimetype == "multipart/form-data" else ()
        pairs = [*((name, file.read()) for name, file in files), *_pairs(request)]
        return self.one_of(
            {field: [value for name, value in pairs if name == field] for field in self.fields}
        )

    def check(self, item: Any) -> Any:
        """Refuse what is not UTF-8, too long or blank."""
        text = _utf8(item) if isinstance(item, bytes) else item
        if len(text) > MAX_CHARACTERS:
            raise TooLarge(f"expected at most {MAX_CHARACTERS:,} characters; this text has {len(text):,}")
        if not text.strip():
            raise Unusable("expected a text; it is blank")
        return text

    def parse(self, value: str, name: str) -> Any:  # noqa: ARG002
        """The string itself."""
        return value


def loads(body: bytes) -> dict[str, Any]:
    """A JSON object, strictly: each name once, no NaN, no depth that is not meant.

    Raises:
        BadRequest: the body is none; the message says where it stops being one.
    """

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise BadRequest(f"expected each field once; {name[:50]!r} is there twice")
            found[name] = value
        return found

    def refuse(name: str) -> None:
        raise BadRequest(f"expected JSON, which knows no {name}")

    try:
        content = json.loads(_utf8(body), object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise BadRequest("expected a flat JSON object; this one is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"expected JSON: {error}") from None
    if not isinstance(content, dict):
        raise BadRequest(f"expected a JSON object; got {type(content).__name__}")
    return content


def _pairs(request: Request) -> list[tuple[str, str]]:
    """The fields of a form, of which Werkzeug would alter those that are not UTF-8; here they are refused."""
    body = request.get_data()
    refusal = BadRequest("expected UTF-8 text in the form")
    if request.mimetype == "application/x-www-form-urlencoded":
        try:
            return parse_qsl(
                body.decode(), keep_blank_values=True, errors="strict", max_num_fields=multipart.MAX_FIELDS
            )
        except UnicodeDecodeError:
            raise refusal from None
        except ValueError as error:
            raise BadRequest(f"expected a form: {error}") from None
    pairs = list(request.form.items(multi=True))
    replaced = "\ufffd"
    if any(replaced in value for _, value in pairs) and replaced.encode() not in body:
        raise refusal
    return pairs


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"expected UTF-8 text; byte {error.start} is not UTF-8") from None
