"""The ways in which clients send the same text, and the supported encodings."""

import json
from urllib.parse import quote_plus

import pytest
from reader_requests import MULTIPART, URLENCODED, form, instances, only, read

from shared.errors import BadRequest, TooLarge, Unusable
from shared.web.readers import MAX_CHARACTERS, Texts

READER = Texts("movie_review", "text")
TEXT = "Très drôle: I loved it & her, 100% = {yes}. Ọ dára!"
WESTERN = "Très drôle: I loved it & her, 100% = {yes}."
ENGLISH = "I loved it."
PLAIN = ("text/plain", "text/plain;charset=UTF-8", "application/octet-stream", None, "*/*")


@pytest.mark.parametrize("kind", PLAIN)
def test_a_raw_body_is_read_as_a_text(kind):
    assert only(READER, TEXT.encode(), kind) == TEXT


@pytest.mark.parametrize("field", ["movie_review", "text", "text[]", "movie_review[0]"])
def test_a_text_is_read_from_any_form(field):
    assert only(READER, f"{field}={quote_plus(TEXT)}".encode(), URLENCODED) == TEXT
    assert only(READER, form((f'name="{field}"', TEXT.encode())), MULTIPART) == TEXT
    assert only(READER, form((f'name="{field}"; filename="a.txt"', TEXT.encode())), MULTIPART) == TEXT


@pytest.mark.parametrize(
    "kind", [*PLAIN, "application/json", "text/json", "application/cloudevents+json", URLENCODED]
)
def test_a_json_object_with_a_known_field_is_json_under_any_type(kind):
    for content in ({"text": TEXT}, {"explain": 0, "movie_review": TEXT}):
        for body in (
            json.dumps(content),
            json.dumps(content, ensure_ascii=False),
            json.dumps(content, indent=1),
        ):
            assert only(READER, body.encode(), kind) == TEXT
            assert only(READER, b"\xef\xbb\xbf \n" + body.encode(), kind) == TEXT
            assert only(READER, body.encode("utf-16"), kind) == TEXT
    many = read(READER, json.dumps({"instances": [TEXT]}).encode(), kind)
    assert (many.items, many.many) == ([TEXT], True)


@pytest.mark.parametrize("body", ['{"text": "A fine film."', '{"instances": [}', ' { "movie_review" : 7, }'])
def test_broken_json_with_a_known_field_is_not_classified_as_prose(body):
    for kind in ("text/plain", None, URLENCODED):
        with pytest.raises(BadRequest, match="not valid JSON"):
            only(READER, body.encode(), kind)


@pytest.mark.parametrize(
    "text", ["{a fine film}", '{"author": "me"} wrote it', "{", '{"author": "me"}', "{}"]
)
def test_prose_that_looks_like_json_is_read_as_prose(text):
    assert only(READER, text.encode(), "text/plain") == text


@pytest.mark.parametrize(
    "charset", ["utf-8", "UTF-8", "utf8", "us-ascii", "ascii", "x-unknown", "", "utf-16", "idna"]
)
def test_the_charset_of_an_ascii_text_does_not_matter(charset):
    kind = f"text/plain; charset={charset}"
    assert only(READER, ENGLISH.encode(), kind) == ENGLISH
    body = json.dumps({"text": TEXT}).encode()
    assert only(READER, body, f"application/json; charset={charset}") == TEXT


CHARSETS = {
    "iso-8859-1": "latin-1",
    "ISO-8859-1": "latin-1",
    "ISO_8859-1": "latin-1",
    "latin1": "latin-1",
    "iso-8859-15": "iso8859-15",
    "windows-1252": "cp1252",
    "Windows-1252": "cp1252",
    "cp1252": "cp1252",
    '"windows-1252"': "cp1252",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "us-ascii": "utf-8",
}


@pytest.mark.parametrize("charset", CHARSETS)
def test_a_text_is_decoded_by_its_declared_charset(charset):
    body, kind = WESTERN.encode(CHARSETS[charset]), f"text/plain; charset={charset}"
    assert only(READER, body, kind) == WESTERN
    content = json.dumps({"text": WESTERN}, ensure_ascii=False).encode(CHARSETS[charset])
    assert only(READER, content, f"application/json; charset={charset}") == WESTERN
    head = f'name="text"\r\nContent-Type: text/plain; charset={charset}'
    assert only(READER, form((head, body)), MULTIPART) == WESTERN
    if "16" not in charset:
        field = f"text={quote_plus(body)}".encode()
        assert only(READER, field, f"{URLENCODED}; charset={charset}") == WESTERN


def test_the_quotation_marks_of_windows_1252_are_read_as_browsers_read_them():
    body = "\u201cIt\u2019s fine\u201d".encode("cp1252")
    assert only(READER, body, "text/plain; charset=iso-8859-1") == "\u201cIt\u2019s fine\u201d"


@pytest.mark.parametrize("mark", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize(
    "kind", ["text/plain", "text/plain; charset=utf-16", "text/plain; charset=utf-8", None]
)
def test_a_byte_order_mark_decides_the_charset(mark, kind):
    assert only(READER, TEXT.encode(mark), kind) == TEXT
    assert only(READER, form(('name="text"; filename="a.txt"', TEXT.encode(mark))), MULTIPART) == TEXT


def test_utf_16_without_a_byte_order_mark_is_refused():
    for kind in ("text/plain", None, "text/plain; charset=utf-8", "text/plain; charset=utf-16"):
        with pytest.raises(BadRequest, match="utf-16le"):
            only(READER, ENGLISH.encode("utf-16-le"), kind)


@pytest.mark.parametrize("charset", ["x-unknown", "idna", "hex", "utf-7", "unicode_escape"])
def test_an_unknown_charset_of_other_than_ascii_is_refused(charset):
    with pytest.raises(BadRequest, match="expected text in UTF-8"):
        only(READER, WESTERN.encode(), f"text/plain; charset={charset}")


LATIN = WESTERN.encode("latin-1")


def test_invalid_utf_8_is_refused_in_every_form():
    for body, kind in (
        (LATIN, "text/plain"),
        (LATIN, None),
        (form(('name="text"; filename="a.txt"', LATIN)), MULTIPART),
        (form(('name="text"', LATIN)), MULTIPART),
        (b"text=tr%E8s+dr%F4le", URLENCODED),
        (b"text=" + LATIN.replace(b"&", b"%26"), URLENCODED),
        (b'{"text": "' + LATIN + b'"}', "application/json"),
    ):
        with pytest.raises(BadRequest, match=r"expected UTF-8 text; byte .* declare it in Content-Type"):
            only(READER, body, kind)
    with pytest.raises(BadRequest, match=r"byte 2 is not UTF-8$"):
        only(READER, LATIN, "text/plain; charset=utf-8")


def test_a_replacement_character_that_was_really_sent_is_text():
    text = "a fine film \ufffd"
    assert only(READER, form(('name="text"', text.encode())), MULTIPART) == text


def test_a_lone_surrogate_is_replaced_in_its_place():
    assert only(READER, b'{"text": "good \\ud83c, \\udfac!"}', "application/json") == "good \ufffd, \ufffd!"
    assert only(READER, b'{"text": "good \\ud83c\\udfac"}', "application/json") == "good \U0001f3ac"


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u00a0\u3000", "\x1c\x85", "\ufeff", " \ufeff "])
def test_a_blank_text_is_refused(blank):
    for body, kind in (
        (blank.encode(), "text/plain"),
        (f"text={quote_plus(blank)}".encode(), URLENCODED),
        (json.dumps({"text": blank}).encode(), "application/json"),
    ):
        with pytest.raises(Unusable, match="it is blank"):
            only(READER, body, kind)


NOT_TEXTS = [
    7,
    1.5,
    None,
    True,
    [],
    ["a", "b"],
    {},
    {"text": 7},
    {"x": "a"},
    {"text": "a", "movie_review": "b"},
]


@pytest.mark.parametrize("value", NOT_TEXTS)
def test_any_other_instance_gets_an_error_in_its_place(value):
    before, wrong, after = instances(READER, TEXT, value, {"text": TEXT, "key": 1})
    assert before == after == TEXT
    assert isinstance(wrong, BadRequest)
    assert str(wrong).startswith("expected")


@pytest.mark.parametrize(
    "bad", ["NaN", "Infinity", "-Infinity", "9" * 5000, "-" + "9" * 5000, "1e999", "[" * 200 + "]" * 200]
)
def test_a_value_that_python_cannot_read_gets_an_error_in_its_place(bad):
    good, wrong = read(READER, f'{{"instances": ["a", {bad}]}}'.encode(), "application/json").items
    assert good == "a"
    assert isinstance(wrong, BadRequest)


def test_the_total_size_of_explanations_is_limited():
    body = json.dumps({"instances": ["a" * (MAX_CHARACTERS // 2)] * 2 + [7, "b"]}).encode()
    assert len(read(READER, body, "application/json").items) == 4
    for query in ("explain=1", "explain"):
        with pytest.raises(TooLarge, match=r"with explain, .* in all texts together; got 100,001"):
            read(READER, body, "application/json", query)


def test_a_text_at_the_limit_is_read_and_one_over_it_is_not():
    assert len(only(READER, ("ọ" * MAX_CHARACTERS).encode(), "text/plain")) == MAX_CHARACTERS
    with pytest.raises(TooLarge, match="this text has 100,001"):
        only(READER, ("ọ" * (MAX_CHARACTERS + 1)).encode(), "text/plain")


@pytest.mark.parametrize(
    ("query", "explain"),
    [("", False), ("explain", True), ("explain=", True), ("explain=On", True), ("explain=No", False)],
)
def test_explain_is_read_from_the_query(query, explain):
    assert read(READER, b"text=a", URLENCODED, query).explain is explain


def test_explain_in_the_body_overrides_the_query():
    assert not read(READER, b"text=a&explain=off", URLENCODED, "explain=1").explain
    assert read(READER, b'{"text": "a", "explain": 1}', "application/json", "explain=0").explain
    assert read(READER, b'{"text": "a", "explain": null}', "application/json", "explain=1").explain


def test_prose_with_curls_default_type_is_refused_with_the_expected_field():
    with pytest.raises(
        BadRequest, match="in the form field 'movie_review' or 'text'; fields sent: A fine film"
    ):
        only(READER, b"A fine film", URLENCODED)


def test_a_form_of_a_million_fields_is_refused():
    with pytest.raises(BadRequest, match="at most 2,000 fields"):
        only(READER, b"a&" * 1_000_000, URLENCODED)


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_32_is_not_mistaken_for_utf_16(order):
    mark = "\ufeff".encode(f"utf-32-{order}")
    assert only(READER, mark + WESTERN.encode(f"utf-32-{order}"), "text/plain") == WESTERN
    assert only(READER, WESTERN.encode(f"utf-32-{order}"), f"text/plain; charset=UTF-32{order}") == WESTERN
    with pytest.raises(BadRequest, match="byte-order mark in utf-32"):
        only(READER, WESTERN.encode(f"utf-32-{order}"), "text/plain; charset=utf-32")


@pytest.mark.parametrize("charset", ["'utf-8'", "ANSI_X3.4-1968"])
def test_other_names_of_utf_8_and_ascii_are_known(charset):
    assert only(READER, WESTERN.encode(), f"text/plain; charset={charset}") == WESTERN


def test_the_charset_of_a_form_is_in_a_field_or_in_its_type():
    named, text = ('name="_charset_"', b"windows-1252"), ('name="text"', LATIN)
    assert only(READER, form(named, text), MULTIPART) == WESTERN
    assert only(READER, form(text), f"{MULTIPART}; charset=iso-8859-1") == WESTERN
    quoted = LATIN.replace(b"&", b"%26")
    assert only(READER, b"_charset_=iso-8859-1&text=" + quoted, URLENCODED) == WESTERN


@pytest.mark.parametrize("value", ["Tom & Jerry is great", "R&B", "so & so = great"])
def test_an_unencoded_ampersand_does_not_truncate_a_text(value):
    with pytest.raises(BadRequest, match="%26 for an &"):
        only(READER, f"text={value}".encode(), URLENCODED)
    assert only(READER, f"text={value}".replace("&", "%26").encode(), URLENCODED) == value
    assert read(READER, b"text=good&explain", URLENCODED).explain


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=UTF-8", "application/octet-stream", None])
def test_a_form_is_recognised_under_another_content_type(kind):
    assert only(READER, b"text=I+loved+it%21", kind) == "I loved it!"
    assert only(READER, form(('name="text"', b"I loved it!")), kind) == "I loved it!"
    for text in ("text = code", "text== code", "-- a dash"):
        assert only(READER, text.encode(), kind) == text
