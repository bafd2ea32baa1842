"""Lines of text and rows of CSV from a binary file, which is read in pieces."""

import bz2
import csv
import gzip
import itertools
import lzma
from collections.abc import Iterator
from typing import IO, Any

from shared.errors import BadRequest, ServiceError, TooLarge

LARGEST = 10_000_000
"""Bytes of a line, a cell or a file: the default limit of a request, too."""
CHUNK = 1 << 20
COMPRESSED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def decompressed(file: IO[bytes], path: str) -> IO[bytes]:
    """Return the decompressed content of a file, by its name; reading a truncated file raises an error.

    Beam's own decompression would end there without an error.
    """
    for suffix, opened in COMPRESSED.items():
        if path.lower().endswith(suffix):
            return opened(file)  # type: ignore[no-any-return] # three functions of one kind
    return file


def lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | TooLarge]]:
    """Yield the number of each line, from 1, and the line without its LF, or an error if it is too long."""
    number, rest, skipping = 0, b"", False
    while chunk := file.read(CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if skipping:  # the end of a line that was too long
                skipping = False
                continue
            number += 1
            yield number, line if len(line) <= LARGEST else _too_large(len(line))
        if not skipping and len(rest) > LARGEST:
            number, skipping = number + 1, True
            yield number, _too_large(len(rest))
        if skipping:
            rest = b""
    if rest and not skipping:
        yield number + 1, rest


def table(file: IO[bytes]) -> Iterator[tuple[int, dict[str, str] | ServiceError]]:
    """Yield the rows of a CSV, each with the number of its last line; the first row has the names.

    Cells are separated by commas, or by semicolons or tabs if there is no comma in the first line.

    Raises:
        BadRequest: the first row is not a header.
    """
    text = _Text(file)
    first = next(text, "")
    if not first.strip("\n"):
        return  # the file is empty
    delimiter = next((each for each in ",;\t" if each in first), ",")
    csv.field_size_limit(LARGEST)
    reader = csv.reader(itertools.chain([first], text), delimiter=delimiter, strict=True)
    names: list[str] = []
    while True:
        try:
            text.fault = None
            cells = next(reader)
            row: dict[str, str] | ServiceError = dict(zip(names, cells, strict=False))
            if names and len(cells) != len(names):
                row = BadRequest(f"expected {len(names)} cells, as in the header; this row has {len(cells)}")
        except StopIteration:
            return
        except csv.Error as error:
            cells, row = ["?"], BadRequest(f"the CSV cannot be read: {error}")
        row = text.fault or row
        if not names:
            names = _names(row, cells)
        elif cells or text.fault:
            yield reader.line_num, row


def _names(row: Any, cells: list[str]) -> list[str]:
    """The names in the first row; raises `BadRequest` if one is empty or occurs twice."""
    if isinstance(row, ServiceError):
        raise row
    names = [cell.strip() for cell in cells]
    if not names or len(set(names)) < len(names) or "" in names:
        raise BadRequest(
            f"expected CSV whose first line names each column differently; it is {','.join(names)[:200]!r}"
        )
    return names


class _Text:
    """The lines of a file as text; `fault` is the error of a line read since `fault` was set to None."""

    def __init__(self, file: IO[bytes]) -> None:
        self._lines = lines(file)
        self.fault: ServiceError | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        if isinstance(line, TooLarge):
            self.fault = line
            return "\n"
        try:
            return line.decode("utf-8-sig" if number == 1 else "utf-8") + "\n"
        except UnicodeDecodeError as error:
            self.fault = BadRequest(f"expected UTF-8 text; byte {error.start} of line {number} is not UTF-8")
            return line.decode("utf-8", "replace") + "\n"


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"expected at most {LARGEST:,} bytes in a line; this one has at least {size:,}")
