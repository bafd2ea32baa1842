"""What all readers share: they read forms, raw bodies and JSON, chosen by the content type and the bytes."""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flask import Request

from ...errors import BadRequest, ServiceError, TooLarge, UnsupportedType
from ...settings import Settings
from ...turns import turn
from ..body import BODY
from . import forms, json_body
from .forms import MULTIPART, URLENCODED, Part

LARGE = 1_000_000
"""Bytes. Larger bodies are parsed one at a time, since many at once would fill the memory."""
UNTYPED = (
    *("", "*/*", "application/octet-stream", "binary/octet-stream", "text/plain", "undefined"),
    *("application/binary", "application/x-binary", "application/x-octet-stream", "application/unknown"),
    *("application/force-download", "content/unknown", "unknown/unknown"),
)
"""Media types that tell nothing about the content: clients send them by default."""
BESIDE = frozenset({"explain", "parameters", "signature_name", "key"})
"""Fields allowed beside an input; clients of Google and TensorFlow send the others besides `explain`."""
YES = frozenset({"", "1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})


class ParsedRequest(NamedTuple):
    """The inputs of one request.

    Attributes:
        items: the inputs in order; an error in place of each bad one.
        many: whether the answer is a list.
        explain: whether to explain each answer.
    """

    items: list[Any]
    many: bool
    explain: bool


class Inputs(NamedTuple):
    """The inputs of a body, or of a part of a form.

    Attributes:
        items: each input, or its error; lazy, so that no list is read far over the limit.
        many: whether the answer is a list.
    """

    items: Iterable[Any]
    many: bool = False


class Reader:
    """Reads requests.

    Attributes:
        fields: the field names in forms and JSON; the first is that of the article.
        what: what a field contains, for messages.
        kinds: the media types of a raw body.
        max_instances: the most inputs of a request, unless `MAX_INSTANCES` is set.
    """

    what = ""
    kinds: tuple[str, ...] = ()
    # A thousand reviews of 1,300 characters take 18 MB of memory; more are not faster.
    max_instances = 1024

    def __init__(self, *fields: str) -> None:
        self.fields = fields

    def read(self, request: Request, settings: Settings, kind: str = "") -> ParsedRequest:
        """Read the inputs of a request.

        Args:
            request: the request, with its body in memory.
            settings: the limits.
            kind: the media type of its body, in place of the declared one.

        Raises:
            BadRequest: it has no input, or the body is not valid for its type.
            UnsupportedType: the function does not read this content type or encoding.
            TooLarge: it has more than `settings.max_instances` inputs.
        """
        body = body_of(request)
        by_query = yes_or_no(request.args.get("explain", "0")) if request.query_string else False
        with turn(large=len(body) > LARGE):
            inputs, explain = self.parse(body, kind or request.mimetype, request.mimetype_params)
            items = list(itertools.islice(inputs.items, settings.max_instances + 1))
        if len(items) > settings.max_instances:
            raise TooLarge(f"expected at most {settings.max_instances} inputs; this request has more")
        return self.limited(ParsedRequest(items, inputs.many, by_query if explain is None else explain))

    def parse(self, body: bytes, kind: str, params: Mapping[str, str]) -> tuple[Inputs, bool | None]:
        """Return the inputs of a body, and its `explain`, or None if it has none.

        Args:
            body: the request's body.
            kind: its media type, in lower case.
            params: the parameters of its Content-Type.
        """
        charset = params.get("charset", "")
        if kind == MULTIPART:
            return self.fields_of(forms.multipart(body, params.get("boundary", ""), charset))
        if is_json(kind):
            return self._json(json_body.loads(body, charset))
        if (
            kind not in UNTYPED
            and kind != URLENCODED
            and not any(re.fullmatch(own, kind) for own in self.kinds)
        ):
            raise UnsupportedType(f"expected {self._ways}; got the type {kind[:100]}")
        if (content := self._object(body, charset)) is not None:
            return self._json(content)
        if boundary := forms.boundary_of(body):
            return self.fields_of(forms.multipart(body, boundary, charset))
        if kind == URLENCODED or self._is_form(body):
            return self.form(body, charset)
        return self.raw(body, kind, params), None

    def raw(self, body: bytes, kind: str, params: Mapping[str, str]) -> Inputs:
        """Read a body that consists of one input or several, without a form or JSON."""
        raise NotImplementedError

    def part(self, part: Part) -> Inputs:
        """Read a part of a form; raises `ServiceError`."""
        raise NotImplementedError

    def value(self, value: Any) -> Any:
        """Read the value of a JSON field; raises `ServiceError`."""
        raise NotImplementedError

    def instance(self, value: Any) -> Any:
        """Read an element of `instances`: a value, alone or under a field; raises `ServiceError`.

        Batch jobs send rows of a table: a list with one column, or an object with further columns.
        """
        value = unlisted(value)
        return self.value(self.unwrap(value, *self.fields) if isinstance(value, dict) else value)

    def limited(self, request: ParsedRequest) -> ParsedRequest:
        """Return the request, or raise `TooLarge` if its inputs together are too much."""
        return request

    @staticmethod
    def unwrap(value: Mapping[str, Any], *names: str) -> Any:
        """Return the value of the one field of these names that an object has; raises `BadRequest`."""
        present = [name for name in names if name in value]
        if len(present) != 1:
            got = ", ".join(present or value)[:100] or "none"
            raise BadRequest(f"expected one of the fields {', '.join(names)}; got {got}")
        if isinstance(inner := value[present[0]], ServiceError):
            raise inner
        return inner

    @property
    def named(self) -> str:
        """The fields, for a message."""
        return " or ".join(repr(field) for field in self.fields)

    @property
    def _ways(self) -> str:
        own = " or ".join(kind.replace(".+", "*") for kind in self.kinds)
        return f"a form with the field {self.named}, JSON, or a body of type {own}"

    def form(self, body: bytes, charset: str) -> tuple[Inputs, bool | None]:
        """Read an urlencoded form."""
        return self.fields_of(forms.urlencoded(body, charset))

    def fields_of(self, parts: Sequence[Part]) -> tuple[Inputs, bool | None]:
        """Read the parts of a form; raises `BadRequest` unless it has exactly one of the reader's fields."""
        used = [field for field in self.fields if any(part.name == field for part in parts)]
        if not used:
            names = ", ".join(part.name for part in parts)[:200] or "none"
            raise BadRequest(f"expected {self.what} in the form field {self.named}; fields sent: {names}")
        if len(used) > 1:
            raise BadRequest(f"expected one of the fields {self.named}; got {len(used)} of them")
        groups = [in_place(self.part, part) for part in parts if part.name == used[0]]
        groups = [Inputs([group]) if isinstance(group, ServiceError) else group for group in groups]
        items = itertools.chain.from_iterable(group.items for group in groups)
        words = [part.content[:20].decode("latin-1") for part in parts if part.name == "explain"]
        explain = yes_or_no(words[-1]) if words else None
        return Inputs(items, len(groups) > 1 or any(group.many for group in groups)), explain

    def _is_form(self, body: bytes) -> bool:
        """Whether a body with another type begins with one of our fields, like an urlencoded form."""
        names = "|".join(re.escape(name) for name in self.fields)
        return bool(
            re.match(rf"(?:{names})(?:\[\d*\]|%5B\d*%5D)?=(?!=)", body[:300].decode("latin-1"), re.ASCII)
        )

    def _object(self, body: bytes, charset: str) -> dict[str, Any] | None:
        """Parse a JSON object with another Content-Type; None if the body is something else.

        It counts as JSON only if it has a field that we know: a text may look like JSON, too.
        """
        if not re.match(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*+\{", body):
            return None
        known = {*self.fields, "instances"}
        try:
            content = json_body.loads(body, charset)
        except ServiceError:
            names = "|".join(re.escape(name) for name in known)
            head = body[:1000].decode("latin-1").replace("\0", "")
            if re.match(rf'\W*"(?:{names})"\s*+:', head, re.ASCII):
                raise
            return None
        return content if known & set(content) else None

    def _json(self, content: dict[str, Any]) -> tuple[Inputs, bool | None]:
        known = (*self.fields, "instances")
        if unknown := sorted(set(content) - BESIDE - set(known)):
            raise BadRequest(
                f"expected one of the fields {self.named} or 'instances', and beside it only "
                f"{', '.join(sorted(BESIDE))}; got {unknown[0][:50]!r}"
            )
        present = [field for field in known if field in content]
        if len(present) != 1:
            raise BadRequest(
                f"expected one of the fields {self.named} or 'instances'; got {len(present)} of them"
            )
        explain = _explain(content)
        if present[0] != "instances":
            return Inputs([in_place(self.value, content[present[0]])]), explain
        instances = content["instances"]
        if not isinstance(instances, list) or not instances:
            raise BadRequest("expected a list of at least one input in the field 'instances'")
        return Inputs((in_place(self.instance, value) for value in instances), True), explain


def body_of(request: Request) -> bytes:
    """Return the body from memory; raises `UnsupportedType` if it is compressed."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedType(f"expected a body without Content-Encoding; got {encoding[:50]}")
    body = request.environ.get(BODY)
    return body if isinstance(body, bytes) else request.get_data()


def is_json(kind: str) -> bool:
    """Whether a media type is JSON."""
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def in_place(step: Callable[[Any], Any], value: Any) -> Any:
    """Read one value with `step`; return the error in its place if it is bad."""
    try:
        return value if isinstance(value, ServiceError) else step(value)
    except ServiceError as error:
        return error


def unlisted(value: Any) -> Any:
    """The element of a list of one element, or else the value; raises the element if it is an error."""
    if not isinstance(value, list) or len(value) != 1:
        return value
    if isinstance(value[0], ServiceError):
        raise value[0]
    return value[0]


def _explain(content: Mapping[str, Any]) -> bool | None:
    """The `explain` of a JSON body, or of its `parameters` (Vertex AI's clients); None if there is none."""
    parameters = content.get("parameters")
    explain = content.get("explain")
    if explain is None and isinstance(parameters, dict):
        explain = parameters.get("explain")
    return None if explain is None else yes_or_no(explain)


def yes_or_no(value: Any) -> bool:
    """Read `explain`, from a query, a form or JSON; raises `BadRequest`."""
    value = int(value) if isinstance(value, float) and value in (0, 1) else value
    word = str(value).strip().lower() if isinstance(value, str | bool) or value in (0, 1) else None
    if word not in YES | NO:
        got = repr(value[:20]) if isinstance(value, str) else json_body.name_of(value)
        raise BadRequest(f"expected explain=1 or explain=0; got {got}")
    return word in YES
