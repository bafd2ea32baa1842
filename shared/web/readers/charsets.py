"""From bytes to text, by the declared charset and by the bytes themselves."""

import codecs

from ...errors import BadRequest

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# Not every codec of Python: some are not charsets, and `idna` takes quadratic time. ISO-8859-1 is read as
# windows-1252, as browsers do (WHATWG Encoding Standard): it only adds letters where ISO-8859-1 has none.
CODECS = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii", "ansi-x3.4-1968"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "iso88591", "latin1", "latin-1", "l1", "cp1252"), "cp1252"),
    **{f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(2, 12), *range(13, 17))},
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
    **{f"utf-{bits}{order}": f"utf-{bits}-{order}" for bits in (16, 32) for order in ("le", "be")},
}


def decode(content: bytes, charset: str = "") -> str:
    """Decode the bytes of a text.

    The charset is that of a byte-order mark, else the declared one, else UTF-8. Text in ASCII is always read
    as ASCII.

    Raises:
        BadRequest: the charset is not supported, or the bytes are not valid in it.
    """
    for mark, codec in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return _decode(content[len(mark) :], codec, codec)
    # English in UTF-16 also consists of ASCII bytes, with a NUL beside each letter.
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
