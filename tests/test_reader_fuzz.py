"""Generated requests: each is read, or refused with the reason."""

import base64
import json

import pytest
from fuzzing import FUZZED, TEXTS
from hypothesis import example, given
from hypothesis import strategies as st
from reader_requests import read

from shared.errors import ServiceError
from shared.web.readers import Images, ParsedRequest, Rows, Texts

READERS = [Images("cell", "image"), Texts("text"), Rows("row")]


class Digits(str):
    """A number of more digits than Python converts."""

    __slots__ = ()


SCALARS = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats(),
    st.just(4400).map(lambda count: Digits("9" * count)),
    TEXTS,
    st.binary(max_size=30).map(lambda raw: base64.b64encode(raw).decode()),
)
NAMES = st.sampled_from(
    ["cell", "image", "text", "row", "instances", "explain", "b64", "image_bytes", "key", "parameters"]
) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def fragment(value):
    """JSON, or nearly: repeated fields, NaN, and numbers of too many digits."""
    if isinstance(value, dict):
        pairs = [f"{json.dumps(name)}: {fragment(inner)}" for name, inner in value.items()]
        return "{" + ", ".join(pairs + pairs[:1] * (len(pairs) == 3)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(fragment, value)) + "]"
    return str(value) if isinstance(value, Digits) else json.dumps(value)


BODIES = st.dictionaries(NAMES, VALUES, max_size=3).map(fragment).map(lambda text: text.encode())
ITEMS = st.lists(VALUES, min_size=1, max_size=5)

WORDS = st.sampled_from(["name", "filename", "charset", "boundary", "x"])
QUOTED = st.sampled_from(
    ["image", "text", "row", "image[]", "", 'a"b', "a\\", "é", "\0", "%22", "*", "utf-8''a", "utf-16"]
)
OPTIONS = st.lists(
    st.tuples(WORDS, st.sampled_from(["=", "*=", "*0=", ""]), QUOTED, st.booleans()).map(
        lambda option: (
            f'; {option[0]}{option[1]}"{option[2]}"' if option[3] else f";{option[0]}{option[1]}{option[2]}"
        )
    ),
    max_size=3,
).map("".join)
HEADERS = st.tuples(
    st.sampled_from(["Content-Disposition", "content-type", "Content-Transfer-Encoding", "X", "", " "]),
    st.sampled_from([": ", ":", " ", ":\r\n "]),
    st.sampled_from(["form-data", "text/plain", "base64", "quoted-printable", "", "\0", "9"]),
    OPTIONS,
).map("".join)
CONTENTS = st.one_of(
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=30), BODIES
)
PARTS = st.lists(st.tuples(st.lists(HEADERS, max_size=3), CONTENTS), max_size=3)


def multipart(parts):
    lines = [
        "\r\n".join(["--x", *headers, "", ""]).encode("utf-8", "surrogatepass") + content + b"\r\n"
        for headers, content in parts
    ]
    return b"".join(lines) + b"--x--\r\n"


CSV = st.lists(
    st.lists(
        st.sampled_from(["1", "2.5", "", "NULL", "a", '"', '"a,b"', "\0", "é", "1e999", "\r"]), max_size=4
    ).map(",".join),
    max_size=4,
).map(lambda lines: "\n".join(lines).encode())
FORMS = st.lists(st.tuples(NAMES, CONTENTS), max_size=3).map(
    lambda pairs: b"&".join(name.encode("utf-8", "surrogatepass") + b"=" + content for name, content in pairs)
)
KINDS = (
    st.sampled_from(
        [
            "application/json",
            "text/plain",
            "text/csv",
            "image/png",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ]
    )
    | st.none()
)


def attempt(reader, body, kind, query=""):
    """Read a body; check that each item is an input or an error, or that the whole request is refused."""
    try:
        parsed = read(reader, body, kind, query)
    except ServiceError as error:
        parsed = ParsedRequest([error], False, False)
    assert parsed.items
    assert parsed.many or len(parsed.items) == 1
    for item in parsed.items:
        assert not isinstance(item, ServiceError) or item.status < 500
    return parsed.items


@pytest.mark.parametrize("reader", READERS, ids=["images", "texts", "rows"])
@FUZZED
@given(body=BODIES | CSV | FORMS | CONTENTS | PARTS.map(multipart), kind=KINDS, options=OPTIONS)
@example(body=b"[" * 100_000, kind="application/json", options="")
@example(body=b"\0", kind="text/plain", options="")
def test_any_body_of_any_type_is_read_or_refused(reader, body, kind, options):
    attempt(reader, body, kind and kind + options.encode("latin-1", "ignore").decode("latin-1"))


@pytest.mark.parametrize("reader", READERS, ids=["images", "texts", "rows"])
@FUZZED
@given(values=ITEMS)
def test_any_instances_are_answered_in_order(reader, values):
    assert len(attempt(reader, f'{{"instances": {fragment(values)}}}'.encode(), "application/json")) == len(
        values
    )


@pytest.mark.parametrize("reader", READERS, ids=["images", "texts", "rows"])
@FUZZED
@given(parts=PARTS)
@example(parts=[(["Content-Disposition: form-data"], b"a part without a name")])
@example(parts=[(["Content-Disposition: form-data; name"], b"")])
@example(parts=[(["Content-Disposition"], b"")])
def test_any_parts_of_a_form_are_read_or_refused(reader, parts):
    attempt(reader, multipart(parts), "multipart/form-data; boundary=x")
