"""From bytes to text, by what the client declares and by what the bytes show."""

import codecs

from ...errors import BadRequest

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",  # before that of UTF-16, which it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# Not every codec of Python: some are no charsets, and `idna` takes quadratic time. ISO-8859-1 is read as
# browsers read it (WHATWG Encoding Standard): the bytes that windows-1252 has more are no letters in it.
CODECS = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii", "ansi-x3.4-1968"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "iso88591", "latin1", "latin-1", "l1", "cp1252"), "cp1252"),
    **{f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(2, 12), *range(13, 17))},
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
    **{f"utf-{bits}{order}": f"utf-{bits}-{order}" for bits in (16, 32) for order in ("le", "be")},
}


def decode(content: bytes, charset: str = "") -> str:
    """Decode the bytes of a text.

    A byte-order mark decides, then the declared charset, then UTF-8. Whatever is declared, ASCII is ASCII.

    Raises:
        BadRequest: the charset is none we read, or the bytes are not in it.
    """
    for mark, codec in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return _decode(content[len(mark) :], codec, codec)
    # UTF-16 of English is ASCII, too, with a NUL beside each letter.
    if content.isascii() and b"\0" not in content:
        return content.decode("ascii")
    name = charset.strip(" \t'").lower().replace("_", "-")
    if name in ("utf-16", "utf-32"):
        raise BadRequest(f"expected a byte-order mark in {name}; or declare charset={name}le or {name}be")
    codec = CODECS.get(name or "utf-8", "")
    if not codec:
        raise BadRequest(
            f"expected text in UTF-8, UTF-16, UTF-32, ISO-8859 or windows-125x; got charset={charset[:50]}"
        )
    if codec == "utf-8" and len(content) > 3 and 3 * content.count(0) > len(content):
        raise BadRequest(
            "expected UTF-8 text; this looks like UTF-16: declare charset=utf-16le, or send UTF-8"
        )
    return _decode(content, codec, charset)


def _decode(content: bytes, codec: str, charset: str) -> str:
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        name = "UTF-8" if codec == "utf-8" else charset[:50]
        hint = "" if charset else "; if it is in another charset, declare it in Content-Type"
        raise BadRequest(f"expected {name} text; byte {error.start} is not {name}{hint}") from None
