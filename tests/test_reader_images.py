"""The ways in which clients send the same image; and invalid requests, which are refused."""

import base64
import json
from urllib.parse import quote, urlencode

import pytest
from reader_requests import MULTIPART, URLENCODED, form, instances, only, read

from shared.errors import BadRequest, TooLarge, UnsupportedType, Unusable
from shared.web.readers import Images

READER = Images("cell", "image")
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3 + b"\xfb\xef\xbe\xff\xff"
HEADS = {
    "PNG": IMAGE,
    "JPEG": b"\xff\xd8\xff\xe0" + IMAGE,
    "GIF": b"GIF89a" + IMAGE,
    "WebP": b"RIFF\x00\x01\x00\x00WEBP" + IMAGE,
    "BMP": b"BM" + IMAGE,
    "TIFF": b"II*\0" + IMAGE,
    "BigTIFF": b"MM\0+" + IMAGE,
    "AVIF": b"\0\0\0 ftypavif" + IMAGE,
    "JPEG 2000": b"\0\0\0\x0cjP  " + IMAGE,
}
BASE64 = base64.b64encode(IMAGE).decode()
LINES = base64.encodebytes(IMAGE).decode()
WRITTEN = {
    "plain": BASE64,
    "lines of 76": LINES,
    "lines of 76 with CRLF": LINES.replace("\n", "\r\n"),
    "lines of 64": "\n".join(BASE64[place : place + 64] for place in range(0, len(BASE64), 64)),
    "a trailing newline": BASE64 + "\n",
    "blanks around": f" {BASE64} \t",
    "the URL-safe alphabet": base64.urlsafe_b64encode(IMAGE).decode(),
    "no padding": BASE64.rstrip("="),
    "URL-safe, no padding": base64.urlsafe_b64encode(IMAGE).decode().rstrip("="),
}
assert "=" in BASE64
assert "+" in BASE64
assert "/" in BASE64
URLS = {
    "plain": "data:image/png;base64,",
    "in capitals": "DATA:IMAGE/PNG;BASE64,",
    "in mixed case": "Data:image/PNG;Base64,",
    "without a type": "data:;base64,",
    "with a blank after the comma": "data:image/png;base64, ",
    "with a line break after the comma": "data:image/png;base64,\n",
    "with a name": "data:image/png;name=cell.png;base64,",
    "with a percent-encoded name": "data:image/png;name=a%20cell%2C%20no.%201.png;base64,",
    "with a quoted name": 'data:image/png;name="a, b.png";base64,',
    "with long parameters": f"data:image/png;name={'x' * 5000};charset=utf-8;base64,",
    "with blanks": " data:image/png ; base64,",
    "of another type": "data:application/octet-stream;base64,",
}


def as_json(value):
    return json.dumps({"image": value}).encode()


@pytest.mark.parametrize("written", WRITTEN)
def test_base64_of_common_encoders_is_read(written):
    text = WRITTEN[written]
    for value in (text, {"b64": text}, f"data:image/png;base64,{text}"):
        assert only(READER, as_json(value), "application/json") == IMAGE
    assert instances(READER, text, {"b64": text}, {"image": text}) == [IMAGE] * 3
    assert only(READER, form(('name="image"', text.encode())), MULTIPART) == IMAGE
    assert only(READER, urlencode({"image": text}).encode(), URLENCODED) == IMAGE
    assert only(READER, text.encode(), "text/plain") == IMAGE


@pytest.mark.parametrize("url", URLS)
def test_any_data_url_is_read(url):
    text = URLS[url] + BASE64
    assert only(READER, as_json(text), "application/json") == IMAGE
    assert only(READER, urlencode({"image": text}).encode(), URLENCODED) == IMAGE
    assert only(READER, form(('name="image"', text.encode())), MULTIPART) == IMAGE
    for kind in ("text/plain;charset=UTF-8", "application/octet-stream", None, URLENCODED, "image/png"):
        assert only(READER, text.encode(), kind) == IMAGE


def test_percent_encoding_is_bounded():
    for body, kind in (
        (b"image=" + b"%41" * 1_000_001, URLENCODED),
        (b"data:," + b"%41" * 1_000_001, "text/plain"),
    ):
        with pytest.raises(TooLarge, match="at most 1,000,000 percent-encoded bytes"):
            only(READER, body, kind)


def test_percent_encoded_data_urls_are_read_with_base64_and_without():
    assert only(READER, as_json(f"data:image/png;base64,{quote(BASE64)}"), "application/json") == IMAGE
    assert only(READER, as_json(f"data:image/png,{quote(IMAGE)}"), "application/json") == IMAGE


@pytest.mark.parametrize(
    "bad",
    [
        *("!", "a b!", "Zm9v*", "Zm9vé", "Zm9v\0", "Zm9v\ud800", "Zm9v.", "Zm=9v", "=Zm9v", "Zm9v=Zm9v"),
        *("Zm9vY", "Zm9v===", "data:image/png;base64", "data:image/png;base64,!", "data:;base64,Zm9vY"),
        "http://example.org/cell.png",
    ],
)
def test_what_is_not_base64_is_a_400(bad):
    with pytest.raises(BadRequest, match="expected base64, or a data URL of it"):
        only(READER, as_json(bad), "application/json")
    good, wrong = instances(READER, BASE64, bad)
    assert good == IMAGE
    assert isinstance(wrong, BadRequest)


def test_one_wrong_character_in_long_base64_is_a_400_in_every_form():
    text = (BASE64[:500] + "*" + BASE64[500:]).encode()
    for body, kind in (
        (form(('name="image"', text)), MULTIPART),
        (form(('name="image"; filename="cell.txt"', text)), MULTIPART),
        (b"image=" + text, URLENCODED),
        (text, "text/plain"),
        (text, "application/octet-stream"),
    ):
        with pytest.raises(BadRequest, match="expected base64"):
            only(READER, body, kind)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "kind",
    [
        *("image/png", "image/*", "application/octet-stream", "binary/octet-stream", "*/*", None),
        *(URLENCODED, "text/plain", "IMAGE/JPEG; q=1"),
    ],
)
def test_a_raw_body_of_any_type_is_read_as_bytes_and_as_base64(head, kind):
    image = HEADS[head]
    assert only(READER, image, kind) == image
    assert only(READER, base64.encodebytes(image), kind) == image


@pytest.mark.parametrize(
    "parameters",
    [
        'name="image"; filename="cell.png"',
        'name="image"',
        "name=image",
        'name="image[]"',
        'name="image[0]"',
        'name="cell"; filename=""',
    ],
)
def test_a_part_under_the_right_name_is_read_with_a_file_name_and_without(parameters):
    assert only(READER, form((parameters, IMAGE)), MULTIPART) == IMAGE


def test_a_plus_that_a_form_did_not_encode_is_a_plus():
    assert only(READER, f"image={BASE64}".encode(), URLENCODED) == IMAGE
    assert only(READER, f"image=data:image/png;base64,{BASE64}&explain=0".encode(), URLENCODED) == IMAGE


TENSORS = [
    {"b64": BASE64},
    {"image": BASE64},
    {"cell": {"b64": BASE64}},
    {"image_bytes": {"b64": BASE64}},
    {"any_other_bytes": {"b64": BASE64}},
    {"image": {"b64": BASE64}, "key": "7"},
]


@pytest.mark.parametrize("value", TENSORS)
def test_instances_are_read_in_the_form_of_tensorflow_serving(value):
    assert instances(READER, value) == [IMAGE]


NOT_IMAGES = [
    *(
        7,
        1.5,
        None,
        True,
        [],
        [BASE64, BASE64],
        {},
        {"b64": 7},
        {"b64": None},
        {"x": BASE64},
    ),
    *(
        {"image": [BASE64]},
        {"image": BASE64, "cell": BASE64},
        {"image_bytes": BASE64},
        {"image": {"x": BASE64}},
    ),
]


@pytest.mark.parametrize("value", NOT_IMAGES)
def test_any_other_instance_gets_an_error_in_its_place(value):
    before, wrong, after = instances(READER, BASE64, value, BASE64)
    assert before == after == IMAGE
    assert isinstance(wrong, BadRequest)
    assert str(wrong).startswith("expected")


def test_a_repeated_field_of_an_instance_gets_an_error_in_its_place():
    twice = '{"image": "a", "image": "b"}, {"image": {"b64": "", "b64": ""}}'
    body = f'{{"instances": ["{BASE64}", {twice}]}}'
    good, *wrong = read(READER, body.encode(), "application/json").items
    assert good == IMAGE
    assert [str(error) for error in wrong] == [
        "expected each field once; 'image' occurs twice",
        "expected each field once; 'b64' occurs twice",
    ]


def test_an_empty_image_is_refused_in_every_form():
    for body, kind in (
        (b"", "image/png"),
        (b"", None),
        (as_json(""), "application/json"),
        (as_json("data:image/png;base64,"), "application/json"),
        (form(('name="image"; filename=""', b"")), MULTIPART),
        (b"image=", URLENCODED),
    ):
        with pytest.raises(Unusable, match="the file is empty"):
            only(READER, body, kind)


def test_a_form_of_another_field_names_the_fields_expected_and_sent():
    for body, kind in ((b"picture=Zm9v", URLENCODED), (form(('name="picture"', IMAGE)), MULTIPART)):
        with pytest.raises(BadRequest, match="'cell' or 'image'; fields sent: picture"):
            only(READER, body, kind)
    with pytest.raises(BadRequest, match="fields sent: none"):
        only(READER, b"", URLENCODED)


def test_bytes_that_are_not_an_image_reach_the_classifier_unchanged():
    for body in (b"hello", b"%PDF-1.7", b"<svg/>", b"Qk0 is no bitmap!", b"P3 1 1 255"):
        assert only(READER, body, "application/octet-stream") == body
        assert only(READER, form(('name="image"; filename="x"', body)), MULTIPART) == body


@pytest.mark.parametrize("kind", ["application/pdf", "video/mp4", "multipart/mixed; boundary=x", "png"])
def test_unsupported_types_are_refused_with_the_supported_ones(kind):
    with pytest.raises(UnsupportedType, match=r"a body of type image/\*; got"):
        only(READER, IMAGE, kind)


def test_lists_over_the_limit_are_refused_without_reading_all_of_them():
    body = b'{"instances": [' + b"1," * 200_000 + b"1]}"
    with pytest.raises(TooLarge, match="at most 1024 inputs"):
        read(READER, body, "application/json")


@pytest.mark.parametrize("kind", ["application/json", "undefined", "application/binary", "unknown/unknown"])
def test_an_image_is_recognised_under_a_generic_type(kind):
    assert only(READER, IMAGE, kind) == IMAGE


@pytest.mark.parametrize(
    "prefix", [";name=a, b.png;base64,", ";name=a%2Cb.png;base64,", "base64,", ";charset=x ; base64 ,"]
)
def test_the_name_in_a_data_url_may_hold_a_comma(prefix):
    url = f"data:image/png{prefix}" if prefix[0] == ";" else f"data:{prefix}"
    sent = url.encode() + base64.b64encode(IMAGE)
    for kind in ("text/plain", "image/png"):
        assert only(READER, sent, kind) == IMAGE
    assert only(READER, b"image=" + sent, URLENCODED) == IMAGE


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_base64_of_a_text_file_with_a_byte_order_mark_is_decoded(encoding):
    sent = base64.b64encode(IMAGE).decode().encode(encoding)
    assert only(READER, sent, "application/octet-stream") == IMAGE
    assert only(READER, form(('name="image"', sent)), MULTIPART) == IMAGE


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", None])
def test_a_form_is_recognised_under_another_content_type(kind):
    assert only(READER, form(('name="image"; filename="a.png"', IMAGE)), kind) == IMAGE


def test_explain_may_be_a_number_with_a_point():
    body = json.dumps({"image": base64.b64encode(IMAGE).decode(), "explain": 1.0}).encode()
    assert read(READER, body, "application/json").explain
