"""The parts of a form, multipart or urlencoded, as bytes."""

import binascii
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ...errors import BadRequest, TooLarge

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MAX_PARTS = 2_000
"""More than a request may have inputs; each part costs a few microseconds and kilobytes."""
MAX_HEAD = 8_000
"""Bytes of a part's headers; a long percent-encoded file name has two thousand."""
MAX_ESCAPES = 1_000_000
"""Percent-encoded bytes; each takes fifty bytes of memory while it is decoded."""

_HEAD = re.compile(rb"--([!-~]{1,70})\r?\n[Cc]ontent-[Dd]isposition:[ \t]*form-data", re.ASCII)
_FIELD = re.compile(rb"[^=&\0-\x1f\x7f-\xff]{1,200}=")
_CONTROL = re.compile(r"[\0\r\n]")
_INDEX = re.compile(r"\[\d{0,9}\]$")
_ESCAPED = re.compile(r"\\(.)")
_OPTION = re.compile(r';\s*+([\w*-]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;"]*+)(?!"))')


class Part(NamedTuple):
    """One part of a form.

    Attributes:
        name: the field's name, without the `[]` or `[0]` that some libraries add for lists.
        content: the value.
        charset: the declared charset, or empty.
        is_file: whether it has a file name.
    """

    name: str
    content: bytes
    charset: str
    is_file: bool


def boundary_of(body: bytes) -> str:
    """The boundary of a multipart form with another Content-Type; empty if the body is not such a form."""
    match = _HEAD.match(body)
    return match[1].decode("ascii") if match else ""


def multipart(body: bytes, boundary: str, charset: str = "") -> list[Part]:
    """Parse a `multipart/form-data` body (RFC 7578). Lines end with CRLF or, from some clients, with LF.

    A part without a charset has that of the form, if the form has one.

    Raises:
        BadRequest: there is no boundary, or the body is not such a form.
        TooLarge: it has more than `MAX_PARTS` parts, or a part with more than `MAX_HEAD` bytes of headers.
    """
    if not boundary:
        raise BadRequest(
            "the Content-Type multipart/form-data has no boundary: do not set that header, "
            "let the client set Content-Type"
        )
    line = b"--" + boundary.encode("latin-1", "replace")
    start = body.find(line)
    end = start + len(line) if start >= 0 else len(body)
    newline = b"\n" if body.startswith(b"\n", end) else b"\r\n"
    parts: list[Part] = []
    # In each round, `end` is the end of a boundary; two more dashes close the form.
    while not body.startswith(b"--", end):
        following = body.find(line, end)
        stop = following - len(newline)
        # The content of a part never contains the boundary.
        if not body.startswith(newline, end) or following < 0 or not body.startswith(newline, stop):
            raise BadRequest(
                f"the multipart form is damaged or cut off: expected the boundary {boundary[:70]!r} on a "
                "line of its own before each part, and the boundary with two more dashes after the last"
            )
        if len(parts) == MAX_PARTS:
            raise TooLarge(f"expected a form of at most {MAX_PARTS:,} parts")
        parts.append(_part(body, end + len(newline), stop, newline))
        end = following + len(line)
    return in_charset(parts, charset)


def in_charset(parts: list[Part], charset: str) -> list[Part]:
    """The parts with the form's charset, which a field `_charset_` may declare (RFC 7578, 4.6)."""
    stated = [part.content[:50].decode("latin-1") for part in parts if part.name == "_charset_"]
    default = stated[0] if stated else charset
    if not default:
        return parts
    return [part._replace(charset=part.charset or default) for part in parts]


def _part(body: bytes, start: int, stop: int, newline: bytes) -> Part:
    """Parse one part of `body`; one without content may lack the blank line after its headers (RFC 2046)."""
    blank = body.find(2 * newline, start, stop)
    content = body[blank + 2 * len(newline) : stop] if blank >= 0 else b""
    head = body[start:blank] if blank >= 0 else body[start:stop].removesuffix(newline)
    if len(head) > MAX_HEAD:
        raise TooLarge(f"expected at most {MAX_HEAD:,} bytes of headers in a part of a form")
    headers = _headers(head.decode("utf-8", "replace"), newline.decode())
    if "content-disposition" not in headers:
        raise BadRequest("expected the header Content-Disposition in each part of the form")
    options = _options(headers["content-disposition"])
    charset = _options(headers.get("content-type", "")).get("charset", "")
    content = _decoded(content, headers.get("content-transfer-encoding", "").lower())
    is_file = "filename" in options or "filename*" in options
    return Part(_plain(options.get("name", "")), content, charset, is_file)


def _headers(head: str, newline: str) -> dict[str, str]:
    """Parse the headers of a part; a line that begins with a blank continues the one before."""
    headers = {}
    if f"{newline} " in head or f"{newline}\t" in head:
        head = re.sub(f"{newline}(?=[ \t])", "", head)
    for line in head.split(newline):
        name, colon, value = line.partition(":")
        if not colon or _CONTROL.search(line):
            raise BadRequest(f"expected headers in each part of the form; got {line[:50]!r}")
        headers[name.strip().lower()] = value.strip()
    return headers


def _options(header: str) -> dict[str, str]:
    """The options of a header, by their lower-case names; without the quotes around values."""
    return {
        name.lower(): (_ESCAPED.sub(r"\1", quoted) if "\\" in quoted else quoted) or plain.strip()
        for name, quoted, plain in _OPTION.findall(header)
    }


def _decoded(content: bytes, encoding: str) -> bytes:
    """Decode a Content-Transfer-Encoding, which RFC 7578 deprecates but old clients send."""
    try:
        if encoding == "base64":
            return binascii.a2b_base64(content)
        if encoding == "quoted-printable":
            return binascii.a2b_qp(content)
    except binascii.Error:
        raise BadRequest(
            "expected base64 in a part of the form, as its Content-Transfer-Encoding says; it is not base64"
        ) from None
    if encoding not in ("binary", "8bit", "7bit", ""):
        raise BadRequest(
            f"expected a part of the form in binary; got Content-Transfer-Encoding: {encoding[:50]}"
        )
    return content


def is_urlencoded(body: bytes) -> bool:
    """Whether the body looks urlencoded: curl declares any body as urlencoded by default."""
    return not body or bool(_FIELD.match(body))


def urlencoded(body: bytes, charset: str, base64: bool = False) -> list[Part]:
    """Parse an `application/x-www-form-urlencoded` body.

    Args:
        body: the form.
        charset: the charset of its values, or empty.
        base64: whether its values are base64, which many clients do not encode, so that `+` is not a blank.

    Raises:
        BadRequest: it has more than `MAX_PARTS` fields, or an `&` in a value is not encoded, so that the rest
            of the value would be lost.
        TooLarge: it has more than `MAX_ESCAPES` percent-encoded bytes in a field.
    """
    # A client that encodes one of `+` and `/` encodes both.
    plus = b"+" if base64 and not re.search(rb"%2[BFbf]", body) else b" "
    fields = body.split(b"&", MAX_PARTS)
    if len(fields) > MAX_PARTS:
        raise BadRequest(f"expected a form of at most {MAX_PARTS:,} fields")
    for field in fields[1:]:
        name, equals, _ = field.partition(b"=")
        if b" " in name or (field and not equals and name != b"explain"):
            raise BadRequest(
                "expected %26 for an & within a value of the form: encode it, as curl --data-urlencode does"
            )
    pairs = [field.replace(b"+", plus).partition(b"=") for field in fields if field]
    parts = [
        Part(_plain(unquoted(name).decode("utf-8", "replace")), unquoted(value), "", False)
        for name, _, value in pairs
    ]
    return in_charset(parts, charset)


def unquoted(value: bytes) -> bytes:
    """Decode percent-encoding; raises `TooLarge` if there is more than `MAX_ESCAPES` of it."""
    if value.count(b"%") > MAX_ESCAPES:
        raise TooLarge(f"expected at most {MAX_ESCAPES:,} percent-encoded bytes: send a raw body")
    return unquote_to_bytes(value)


def _plain(name: str) -> str:
    """A field's name, without the index of a list."""
    return _INDEX.sub("", name)
