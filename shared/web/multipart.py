"""Files of a multipart form, where the form is of the plain kind that browsers, curl and libraries send.

The general parser looks for every kind of line break at every byte of an image, which takes longer than all
the rest of reading a request. What is not plain is left to it, and to its judgement.
"""

import re

MAX_FIELDS = 1_000
"""Of a form, as Werkzeug has it for multipart."""

_BOUNDARY = re.compile(r"[!-~]{1,70}")
_HEAD = re.compile(
    rb'content-disposition: form-data; name="([\w.-]+)"'
    rb'(?:(; filename="[^"\\\r\n]*")(?:\r\ncontent-type: [^\r\n;]*)?)?',
    re.IGNORECASE,
)


def files(body: bytes, boundary: str) -> dict[str, list[bytes]] | None:
    """Contents of a form's files by the names of their fields, in their order; None where it is not plain.

    It is plain where it is nothing but parts, divided and closed by CRLF and the boundary, and where each
    has a name in letters, no other headers, and a type without parameters.
    """
    if not _BOUNDARY.fullmatch(boundary):
        return None
    line = b"--" + boundary.encode()
    end = len(body) - 2 * body.endswith(b"\r\n")
    if not body.startswith(line + b"\r\n") or body[end - len(line) - 4 : end] != b"\r\n" + line + b"--":
        return None
    parts = body[len(line) + 2 : end - len(line) - 4].split(b"\r\n" + line + b"\r\n")
    if len(parts) > MAX_FIELDS:
        return None
    found: dict[str, list[bytes]] = {}
    for part in parts:
        head, blank, content = part.partition(b"\r\n\r\n")
        plain = _HEAD.fullmatch(head)
        if not plain or not blank or not head.isascii() or line in content:
            return None
        if plain[2]:
            found.setdefault(plain[1].decode(), []).append(content)
    return found
