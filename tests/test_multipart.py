"""The quick way through a multipart form, held to what Werkzeug makes of the same bytes."""

import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import parse_form_data
from werkzeug.test import EnvironBuilder

from shared.web import multipart

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
NAMES = st.sampled_from(["image", "malaria_cell_image", "a b", "é", 'q"uote', ""])


def by_werkzeug(body, boundary=BOUNDARY):
    kind = f'multipart/form-data; boundary="{boundary}"'
    environ = EnvironBuilder(method="POST", input_stream=io.BytesIO(body), content_type=kind).get_environ()
    environ["CONTENT_LENGTH"] = str(len(body))
    try:
        _, _, found = parse_form_data(environ, lambda **_: io.BytesIO(), silent=False)
    except (HTTPException, ValueError):
        return "refused"
    return {name: [file.read() for file in files] for name, files in found.lists()}


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


def test_a_form_as_browsers_and_curl_send_it_takes_the_quick_way():
    body = form((TEXT, b"a cell"), (FILE, b"\x89PNG\r\n\x1a\n"), (FILE, b""))
    assert multipart.files(body, BOUNDARY) == {"image": [b"\x89PNG\r\n\x1a\n", b""]} == by_werkzeug(body)
    assert multipart.files(body.removesuffix(b"\r\n"), BOUNDARY) == by_werkzeug(body)


def test_a_form_as_requests_sends_it_takes_the_quick_way():
    fields = [("note", "a cell"), ("image", ("cell.png", b"content", "image/png"))]
    body, kind = encode_multipart_formdata(fields, BOUNDARY)
    assert multipart.files(body, kind.partition("boundary=")[2]) == {"image": [b"content"]}


PLAIN = form((FILE, b"content"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        PLAIN.replace(b"\r\n", b"\n"),
        b"preamble\r\n" + PLAIN,
        PLAIN + b"epilogue",
        PLAIN.replace(b"--\r\n", b"\r\n"),
        PLAIN[:-10],
        PLAIN.replace(b"form-data", b"attachment"),
        PLAIN.replace(b'name="image"', b"name=image"),
        PLAIN.replace(b'filename="cell.png"', b"filename*=UTF-8''cell.png"),
        PLAIN.replace(b"cell.png", b"\x80.png"),
        PLAIN.replace(b"image/png", b"image/png\r\nContent-Transfer-Encoding: base64"),
        PLAIN.replace(b"image/png", b"text/plain; charset=utf-16"),
        form((FILE, b"one\r\n--" + BOUNDARY.encode() + b"--\r\ntwo")),
        form(*[(TEXT, b"")] * (multipart.MAX_FIELDS + 1)),
    ],
    ids=[
        *("empty", "bare line feeds", "preamble", "epilogue", "not closed", "cut off", "not of a form"),
        *(
            "name without quotes",
            "encoded file name",
            "not UTF-8",
            "transfer encoding",
            "charset",
            "closed twice",
            "many parts",
        ),
    ],
)
def test_what_is_not_plain_is_left_to_the_general_parser(body):
    assert multipart.files(body, BOUNDARY) is None


@pytest.mark.parametrize("boundary", ["", "a b", "é", "x" * 71])
def test_an_unusual_boundary_is_left_to_the_general_parser(boundary):
    assert multipart.files(form((FILE, b"content"), boundary="x"), boundary) is None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(NAMES, st.none() | st.sampled_from(["", "cell.png", "a;b", "é.png"]), CONTENT), max_size=4
    )
)
@example([("image", "cell.png", b"\r\n--" + BOUNDARY.encode() + b"x")])
def test_the_quick_way_finds_what_the_general_parser_finds(parts):
    heads = [
        f'Content-Disposition: form-data; name="{name}"'.encode()
        + (b"" if filename is None else f'; filename="{filename}"'.encode())
        for name, filename, _ in parts
    ]
    body = form(*zip(heads, [content for *_, content in parts], strict=True))
    assert multipart.files(body, BOUNDARY) in (None, by_werkzeug(body))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.data())
def test_nor_does_it_differ_on_damaged_forms(data):
    body = bytearray(form((TEXT, b"a cell"), (FILE, b"\x89PNG\r\n\x1a\n--"), (FILE, b"two")))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 4))] = data.draw(
            st.sampled_from(BREAKS) | st.binary(max_size=3)
        )
    assert multipart.files(bytes(body), BOUNDARY) in (None, by_werkzeug(bytes(body)))
