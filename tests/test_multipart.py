"""The parser of multipart forms, compared with Werkzeug's."""

import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import parse_form_data
from werkzeug.test import EnvironBuilder

from shared.errors import BadRequest, TooLarge
from shared.web.readers import forms

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
BREAKS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"--",
    b"\r\n--",
    BOUNDARY.encode(),
    b"\r\n--" + BOUNDARY.encode(),
    b"\r\n\r\n",
]
CONTENT = st.lists(st.sampled_from(BREAKS) | st.binary(max_size=20), max_size=6).map(b"".join)
NAMES = st.sampled_from(["image", "malaria_cell_image", "a b", "é", ""])
FILES = st.none() | st.sampled_from(["", "cell.png", "a;b", "é.png", "a\u2028b"])


def by_werkzeug(body, boundary=BOUNDARY):
    """Pairs of a name and a content; texts first."""
    kind = f'multipart/form-data; boundary="{boundary}"'
    environ = EnvironBuilder(method="POST", input_stream=io.BytesIO(body), content_type=kind).get_environ()
    environ["CONTENT_LENGTH"] = str(len(body))
    try:
        _, texts, files = parse_form_data(environ, lambda **_: io.BytesIO(), silent=False)
    except (HTTPException, ValueError):
        return "refused"
    pairs = [(name or "", text.encode()) for name, text in texts.items(multi=True)]
    return pairs + [(name or "", file.read()) for name, file in files.items(multi=True)]


def by_us(body, boundary=BOUNDARY):
    try:
        parts = forms.multipart(body, boundary)
    except (BadRequest, TooLarge):
        return "refused"
    # Werkzeug replaces what is not UTF-8 in a text.
    contents = [
        part.content if part.is_file else part.content.decode("utf-8", "replace").encode() for part in parts
    ]
    pairs = [(part.name, content, part.is_file) for part, content in zip(parts, contents, strict=True)]
    grouped = {}
    for name, content, is_file in pairs:
        grouped.setdefault((is_file, name), []).append((name, content))
    return [
        pair for kind in (False, True) for key, group in grouped.items() if key[0] is kind for pair in group
    ]


def form(*parts, boundary=BOUNDARY):
    """A form as curl writes it, of (head, content)."""
    line = f"--{boundary}".encode()
    return (
        b"".join(line + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
        + line
        + b"--\r\n"
    )


FILE = b'Content-Disposition: form-data; name="image"; filename="cell.png"\r\nContent-Type: image/png'
TEXT = b'Content-Disposition: form-data; name="note"'
PLAIN = form((FILE, b"content"))
CELL = forms.Part("image", b"content", "", True)


def test_forms_of_browsers_and_curl_are_parsed():
    body = form((TEXT, b"a cell"), (FILE, b"\x89PNG\r\n\x1a\n"), (FILE, b""))
    parts = [
        forms.Part("note", b"a cell", "", False),
        forms.Part("image", b"\x89PNG\r\n\x1a\n", "", True),
        forms.Part("image", b"", "", True),
    ]
    assert forms.multipart(body, BOUNDARY) == parts
    assert forms.multipart(body.removesuffix(b"\r\n"), BOUNDARY) == parts


def test_a_form_of_the_requests_library_is_parsed():
    fields = [("note", "a cell"), ("image", ("cell.png", b"content", "image/png"))]
    body, kind = encode_multipart_formdata(fields, BOUNDARY)
    assert forms.multipart(body, kind.partition("boundary=")[2])[1] == CELL


@pytest.mark.parametrize(
    "body",
    [
        PLAIN.replace(b"\r\n", b"\n"),
        b"preamble\r\n" + PLAIN,
        PLAIN + b"epilogue",
        PLAIN.replace(b'name="image"', b"name=image"),
        PLAIN.replace(b"; name", b";\r\n name"),
        PLAIN.replace(b'filename="cell.png"', b"filename*=UTF-8''cell.png"),
        PLAIN.replace(b"cell.png", b"\x80.png"),
        PLAIN.replace(b"cell.png", "a\u2028b.png".encode()),
        PLAIN.replace(b"Content-", b"CONTENT-"),
        PLAIN.replace(b"image/png", b"image/png\r\nContent-Transfer-Encoding: binary"),
        PLAIN.replace(b"image/png", b"image/png\r\nContent-Length: 7\r\nX-Own: 1"),
        PLAIN.replace(b"content\r\n", b"Y29u\r\ndGVudA==\r\n").replace(
            b"image/png", b"image/png\r\nContent-Transfer-Encoding: base64"
        ),
        PLAIN.replace(b"image/png", b"image/png\r\nContent-Transfer-Encoding: Quoted-Printable").replace(
            b"\r\n\r\ncontent", b"\r\n\r\ncont=65nt"
        ),
    ],
    ids=[
        *("line feeds", "preamble", "epilogue", "name without quotes", "folded header", "encoded file name"),
        *(
            "not UTF-8",
            "a line separator",
            "capitals",
            "binary",
            "more headers",
            "base64",
            "quoted-printable",
        ),
    ],
)
def test_unusual_forms_give_the_same_file(body):
    assert forms.multipart(body, BOUNDARY) == [CELL]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"content",
        PLAIN.replace(b"--\r\n", b"\r\n"),
        PLAIN[:-10],
        PLAIN[:40],
        PLAIN.replace(b"\r\nContent-D", b"Content-D"),
        PLAIN.replace(b"Content-Type:", b"Content-Type"),
        PLAIN.replace(b"Content-Disposition", b"Disposition"),
        PLAIN.replace(b"image/png", b"image/png\r\nContent-Transfer-Encoding: gzip"),
        PLAIN.replace(b"image/png", b"image/png\r\nContent-Transfer-Encoding: base64").replace(
            b"content", b"c"
        ),
        form((b"", b"content")),
    ],
    ids=[
        *("empty", "no boundary", "not closed", "cut off", "cut off in a header", "no line break"),
        *("no colon", "no disposition", "unknown encoding", "not in its encoding", "no headers"),
    ],
)
def test_what_is_not_a_form_is_refused(body):
    with pytest.raises(BadRequest):
        forms.multipart(body, BOUNDARY)


def test_a_form_of_many_parts_or_long_headers_is_refused():
    assert len(forms.multipart(form(*[(TEXT, b"")] * forms.MAX_PARTS), BOUNDARY)) == forms.MAX_PARTS
    with pytest.raises(TooLarge, match="at most 2,000 parts"):
        forms.multipart(form(*[(TEXT, b"")] * (forms.MAX_PARTS + 1)), BOUNDARY)
    with pytest.raises(TooLarge, match="headers"):
        forms.multipart(form((TEXT + b"; x=" + b"y" * forms.MAX_HEAD, b"")), BOUNDARY)


def test_a_part_without_content_may_lack_the_blank_line():
    body = form((TEXT, b""), (FILE, b"content")).replace(TEXT + b"\r\n\r\n\r\n", TEXT + b"\r\n\r\n", 1)
    assert forms.multipart(body, BOUNDARY) == [forms.Part("note", b"", "", False), CELL]


def test_an_option_with_an_unclosed_quote_is_ignored():
    [part] = forms.multipart(PLAIN.replace(b'"cell.png"', b'"cell.png'), BOUNDARY)
    assert (part.name, part.is_file) == ("image", False)


@pytest.mark.parametrize("name", ["image", "image[]", "image[0]", "image[12]"])
def test_a_list_index_is_not_part_of_the_name(name):
    [part] = forms.multipart(PLAIN.replace(b'"image"', f'"{name}"'.encode()), BOUNDARY)
    assert part.name == "image"


@pytest.mark.parametrize("boundary", ["a b", "x" * 100, "é", "'()+_,-./:=?"])
def test_an_unusual_boundary_works_too(boundary):
    body = form((FILE, b"content"), boundary=boundary.encode().decode("latin-1")).decode().encode("latin-1")
    assert forms.multipart(body, boundary.encode().decode("latin-1")) == [CELL]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(NAMES, FILES, CONTENT), max_size=4))
@example([("image", "cell.png", b"\r\n--" + BOUNDARY.encode() + b"x")])
def test_our_parser_agrees_with_werkzeug(parts):
    heads = [
        f'Content-Disposition: form-data; name="{name}"'.encode()
        + (b"" if filename is None else f'; filename="{filename}"'.encode())
        for name, filename, _ in parts
    ]
    body = form(*zip(heads, [content for *_, content in parts], strict=True))
    assert by_us(body) in ("refused", by_werkzeug(body))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_our_parser_agrees_with_werkzeug_on_damaged_forms(data):
    body = bytearray(form((TEXT, b"a cell"), (FILE, b"\x89PNG\r\n\x1a\n--"), (FILE, b"two")))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 4))] = data.draw(
            st.sampled_from(BREAKS) | st.binary(max_size=3)
        )
    ours, theirs = by_us(bytes(body)), by_werkzeug(bytes(body))
    assert "refused" in (ours, theirs) or ours == theirs
