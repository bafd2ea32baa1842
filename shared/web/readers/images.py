"""The reader of images: files, base64 and data URLs."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from ...errors import BadRequest, Unusable
from . import charsets, forms, json_body
from .forms import Part
from .reader import Inputs, Reader, is_json, unlisted

# PNG, JPEG, GIF, WebP, BMP, TIFF, HEIC and AVIF, JPEG 2000: to recognise base64 of images, not to validate.
SIGNATURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM|II[*+]\0|MM\0[*+]|\0\0\0.(?:ftyp|jP)|\xff\x4f\xff\x51",
    re.DOTALL,
)
HEAD = 100
"""Bytes that show what a body is."""
_TEXT = re.compile(rb"[\t\n\r -~]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\s-]+={0,2}\s*")
_SCHEME = re.compile(rb"\s*+data:", re.IGNORECASE)
# A parameter may contain a comma, quoted or not, so the pattern looks for the first "base64,". Both patterns
# take linear time, however many blanks there are.
_BASE64_URL = re.compile(rb"\s*+data:(?:[ -~]*?;)?\s*+base64\s*+,", re.IGNORECASE)
_DATA_URL = re.compile(rb'\s*+data:(?:[^",]++|"[^"]*+")*+,', re.IGNORECASE)
_STANDARD = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\n\r\f"


class Images(Reader):
    """Encoded images, as bytes."""

    what = "an image file"
    kinds = ("image/.+",)
    max_instances = 128  # more than 32 are not faster; 128 photos of cells take 60 MB of memory

    def parse(self, body: bytes, kind: str, params: Mapping[str, str]) -> tuple[Inputs, bool | None]:
        """Accept an image with the Content-Type of JSON, which some clients set for any body."""
        if is_json(kind) and SIGNATURE.match(body) and not _TEXT.fullmatch(body[:HEAD]):
            return Inputs([body]), None
        return super().parse(body, kind, params)

    def raw(self, body: bytes, kind: str, params: Mapping[str, str]) -> Inputs:  # noqa: ARG002
        """Read a body that is an image, or an image in base64 if it is text."""
        return Inputs([_image(body, kind == "text/plain")])

    def part(self, part: Part) -> Inputs:
        """Read a file, or the base64 in a text field."""
        return Inputs([_image(part.content, not part.is_file)])

    def instance(self, value: Any) -> bytes:
        """Read base64: alone, under a field or `b64`, or as a tensor `x_bytes` of TensorFlow Serving."""
        value = unlisted(value)
        if isinstance(value, dict):
            tensors = [name for name in value if name.endswith("_bytes") and isinstance(value[name], dict)]
            value = self.unwrap(value, *self.fields, "b64", *tensors)
        return self.value(value)

    def value(self, value: Any) -> bytes:
        """Read base64, or an object that has it as `b64`."""
        if isinstance(value, dict):
            value = self.unwrap(value, "b64")
        if not isinstance(value, str):
            raise BadRequest(
                f"expected base64, or a data URL of it, as a string; got {json_body.name_of(value)}"
            )
        return _filled(from_base64(value.encode("utf-8", "replace")))

    def form(self, body: bytes, charset: str) -> tuple[Inputs, bool | None]:
        """Read a form, or any body that curl sent with its default type."""
        if forms.is_urlencoded(body) and not is_wrapped(body):
            return self.fields_of(forms.urlencoded(body, charset, base64=True))
        return self.raw(body, "", {}), None


def _image(content: bytes, as_text: bool) -> bytes:
    """Return an image's bytes; decode content that is base64, or ASCII in a text field."""
    if content.startswith(tuple(charsets.BYTE_ORDER_MARKS)):  # which text files have, but images do not
        content = charsets.decode(content).encode()
    if (as_text and _TEXT.fullmatch(content[:HEAD])) or is_wrapped(content):
        content = from_base64(content)
    return _filled(content)


def _filled(content: bytes) -> bytes:
    if not content:
        raise Unusable("expected an image; the file is empty")
    return content


def is_wrapped(content: bytes) -> bool:
    """Whether these bytes begin as a data URL, or as an image in base64."""
    head = content[:HEAD]
    if _SCHEME.match(head):
        return True
    letters = head.translate(_STANDARD, _BLANKS).rstrip(b"=")
    return bool(
        _BASE64.fullmatch(head) and SIGNATURE.match(base64.b64decode(letters[: len(letters) // 4 * 4]))
    )


def from_base64(text: bytes) -> bytes:
    """Decode base64 as any encoder writes it, or a data URL (RFC 2397).

    There may be line breaks, the alphabet may be the URL-safe one (RFC 4648), and the padding may be missing.

    Raises:
        BadRequest: it has other characters, or is truncated.
    """
    if url := _BASE64_URL.match(text):
        text = forms.unquoted(text[url.end() :])
    elif url := _DATA_URL.match(text):
        return forms.unquoted(text[url.end() :])
    letters = text.translate(_STANDARD, _BLANKS)
    if not letters.endswith(b"="):
        letters += b"=" * (-len(letters) % 4)
    try:
        if letters.endswith(b"===") or len(letters) % 4:
            raise binascii.Error("incorrect padding")
        return base64.b64decode(letters, validate=True)
    except binascii.Error as error:
        raise BadRequest(f"expected base64, or a data URL of it: {str(error).lower()}") from None
