"""The reader of texts."""

import re
from collections.abc import Mapping
from typing import Any

from ...errors import BadRequest, ServiceError, TooLarge, Unusable
from . import charsets, json_body
from .forms import Part
from .reader import Inputs, ParsedRequest, Reader

MAX_CHARACTERS = 100_000
"""Characters of one text; with `explain`, of all texts together: an explanation is forty times as long."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Texts(Reader):
    """Texts, as str."""

    what = "a text"
    kinds = ("text/plain",)

    def raw(self, body: bytes, kind: str, params: Mapping[str, str]) -> Inputs:  # noqa: ARG002
        """Read a body that is a text."""
        return Inputs([_checked(charsets.decode(body, params.get("charset", "")))])

    def part(self, part: Part) -> Inputs:
        """Read the text of a field, or a text file."""
        return Inputs([_checked(charsets.decode(part.content, part.charset))])

    def value(self, value: Any) -> str:
        """Read a string."""
        if not isinstance(value, str):
            raise BadRequest(f"expected a text, as a string; got {json_body.name_of(value)}")
        return _checked(value)

    def limited(self, request: ParsedRequest) -> ParsedRequest:
        """Refuse an `explain` of too many characters."""
        texts = [item for item in request.items if not isinstance(item, ServiceError)]
        if request.explain and (total := sum(map(len, texts))) > MAX_CHARACTERS:
            raise TooLarge(
                f"with explain, expected at most {MAX_CHARACTERS:,} characters in all texts together; "
                f"got {total:,}"
            )
        return request


def _checked(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(f"expected at most {MAX_CHARACTERS:,} characters; this text has {len(text):,}")
    if not text.strip().strip("\ufeff"):
        raise Unusable("expected a text; it is blank")
    # Half of a surrogate pair, which JavaScript leaves when it cuts a string; no encoding can represent it.
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
