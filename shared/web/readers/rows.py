"""The reader of table rows: JSON, and CSV as spreadsheets and pandas write it."""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import BadRequest, ServiceError, TooLarge, Unusable
from . import charsets, forms, json_body
from .forms import Part
from .reader import Inputs, Reader, unlisted

MAX_CELLS = 300_000
"""Cells of a CSV body; each takes up to a hundred bytes of memory, and a microsecond."""

Row = dict[str, Any] | list[Any]
"""Values by column name, or in the model's order."""

# Stricter than `float`, which reads 1_000 as a thousand.
_NUMBER = re.compile(r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_NESTED = (dict, list, ServiceError)  # a column's value is none of these
_MISSING = ("", "null", "nan", "na")


class Rows(Reader):
    """Rows of a table, as dicts by column or lists in the model's order. The classifier checks the values."""

    what = "CSV, or a row as JSON,"
    kinds = ("text/csv", "application/csv")

    def __init__(self, *fields: str) -> None:
        super().__init__(*(fields or ("row",)))

    def raw(self, body: bytes, kind: str, params: Mapping[str, str]) -> Inputs:  # noqa: ARG002
        """Read a CSV body."""
        return table(charsets.decode(body, params.get("charset", "")), params.get("header", ""))

    def part(self, part: Part) -> Inputs:
        """Read a CSV file, or the text of a field: CSV, or one row as JSON."""
        text = charsets.decode(part.content, part.charset)
        if text.lstrip()[:1] in ("{", "["):
            return Inputs([self.value(json_body.parse(text))])
        return table(text)

    def form(self, body: bytes, charset: str) -> tuple[Inputs, bool | None]:
        """Read a form, or CSV that curl sent with its default type."""
        if forms.is_urlencoded(body):
            return super().form(body, charset)
        return table(charsets.decode(body, charset)), None

    def instance(self, value: Any) -> Row:
        """Read a row: alone, under a field, or as the only column of a table's row."""
        if isinstance(inner := unlisted(value), dict | list):
            value = inner
        if isinstance(value, dict) and self._is_field(value):
            value = self.unwrap(value, *self.fields)
        return self.value(value)

    def _is_field(self, value: dict[str, Any]) -> bool:
        """Whether an object has a row under one of our fields; a column may have the same name."""
        alone = len(value) == 1 and set(value) <= set(self.fields)
        return alone or any(isinstance(value.get(name), _NESTED) for name in self.fields)

    def value(self, value: Any) -> Row:
        """Read an object of columns, or a list of values."""
        if not isinstance(value, dict | list):
            raise BadRequest(
                f"expected a row, as an object of columns or a list of values; got {json_body.name_of(value)}"
            )
        return value


def table(text: str, header: str = "") -> Inputs:
    """Read CSV; the answer to it is always a list.

    Cells are separated by commas, or by semicolons or tabs if the first line has no comma. The first line has
    the names of the columns unless all its cells are numbers.

    Args:
        text: the CSV.
        header: `present` or `absent` (RFC 4180), if the client declares it.

    Raises:
        BadRequest: it cannot be read, or two columns have the same name.
        TooLarge: it has more than `MAX_CELLS` cells.
        Unusable: it has no rows.
    """
    first = text.lstrip().partition("\n")[0]
    delimiter = next((each for each in ",;\t" if each in first), ",")
    if text.count(delimiter) + text.count("\n") > MAX_CELLS:
        raise TooLarge(f"expected at most {MAX_CELLS:,} cells of CSV")
    lines = _lines(text, delimiter)
    start = list(itertools.islice(lines, 2))
    names: list[str] = []
    if start and (header == "present" or (header != "absent" and not _is_numeric(start[0]))):
        names = _names(start.pop(0))
    if not start:
        raise Unusable(
            "expected CSV with at least one row of values" + ("; it has only a header" if names else "")
        )
    return Inputs((_row(cells, names) for cells in itertools.chain(start, lines)), True)


def _lines(text: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the cells of each line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from filter(None, reader)
    except csv.Error as error:
        raise BadRequest(f"the CSV cannot be read: line {reader.line_num}: {error}") from None


def _is_numeric(cells: list[str]) -> bool:
    return not any(isinstance(value_of(cell), str) for cell in cells)


def _names(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) < len(names):
        [(twice, _)] = Counter(names).most_common(1)
        raise BadRequest(f"expected each column once; {twice[:50]!r} is in the header twice")
    return names


def _row(cells: list[str], names: list[str]) -> Row | ServiceError:
    if names and len(cells) != len(names):
        return BadRequest(f"expected {len(names)} cells, as in the header; this row has {len(cells)}")
    values = [value_of(cell) for cell in cells]
    return dict(zip(names, values, strict=True)) if names else values


def value_of(cell: str) -> float | str | None:
    """A number, None for a missing value, or the cell itself."""
    cell = cell.strip()
    if cell.lower() in _MISSING:
        return None
    return float(cell) if _NUMBER.fullmatch(cell) else cell
