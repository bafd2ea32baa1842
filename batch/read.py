"""From files to rows: Parquet, JSON Lines, CSV, lines of text, or files that are themselves the values.

An error in a row, or in the content of a file, becomes a bad row. A file that cannot be opened stops the job,
unless the runner tries again and succeeds.
"""

import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any

import pyarrow
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from pyarrow import parquet

from shared.errors import ServiceError
from shared.web.readers import Images, Reader, Rows, charsets, json_body
from shared.web.readers.rows import value_of

from .errors import JobError
from .files import LARGEST, decompressed, lines, table
from .job import Job, Row

SUFFIXES = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".txt", ".text"), "lines"),
}
FORMATS = ("parquet", "jsonl", "csv", "lines", "files")
TABULAR = ("parquet", "jsonl", "csv", "bigquery")
ROWS = 256
"""Rows of Parquet to decode at a time; with images, each may have megabytes."""
DAMAGED = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    pyarrow.ArrowInvalid,
    pyarrow.ArrowNotImplementedError,
    ServiceError,
)
"""Errors from reading a file with damaged content. An `OSError` means that it cannot be reached."""

_SURROGATE = re.compile("[\ud800-\udfff]")

Piece = tuple[str, int, int]
"""A part of the input that one worker reads: path, size of the file in bytes, row group of Parquet or -1."""


def format_of(path: str, reader: Reader) -> str:
    """Return the format of files with this name; raises `JobError` if the name does not tell."""
    suffix = re.search(r"(\.[A-Za-z0-9]+)(?:\.(?:gz|bz2|zst|xz))?$", path)
    if suffix and (known := SUFFIXES.get(suffix[1].lower())):
        return known
    if isinstance(reader, Images):
        return "files"
    raise JobError(
        f"--input {path}: expected a name that ends in {', '.join(SUFFIXES)}, or --format, one of "
        f"{', '.join(FORMATS)}"
    )


class Source:
    """Reads the pieces of a job's input. It is pickled with the pipeline, so it keeps no file open."""

    def __init__(self, job: Job, reader: Reader) -> None:
        self._job = job
        self._is_table = isinstance(reader, Rows)

    def pieces(self, path: str, size: int) -> Iterator[Piece]:
        """Split a file into pieces that can be read independently."""
        if self._job.format == "parquet":
            try:
                with opened(path) as file:
                    yield from (
                        (path, size, group) for group in range(parquet.ParquetFile(file).num_row_groups)
                    )
                return
            except DAMAGED:
                pass  # `rows` reports the error
        yield path, size, -1

    def rows(self, piece: Piece) -> Iterator[Row]:
        """Read the rows of a piece; if it is damaged, the last row is the error."""
        path, size, group = piece
        if self._job.format == "files":
            yield self._file(path, size)
            return
        read = {"parquet": self._parquet, "jsonl": self._jsonl, "csv": self._csv, "lines": self._lines}
        try:
            with opened(path) as file:
                yield from read[self._job.format](decompressed(file, path), path, group)
        except DAMAGED as error:
            yield {"file": path}, None, _fault("unreadable", f"the rest of the file cannot be read: {error}")

    def row(self, columns: dict[str, Any], where: dict[str, Any]) -> Row:
        """Make a row from its columns; if they cannot be copied to the output, it has its place, `where`."""
        job, kept = self._job, self.kept(columns)
        if clash := next((name for name in job.added if name in kept), None):
            return where, None, _fault("name_clash", f"the row already has a column {clash!r}: use --prefix")
        if job.column is None:
            return kept, columns, None
        if job.column not in columns:
            return {**where, **kept}, None, _fault("missing_column", f"expected the column {job.column!r}")
        return kept, columns[job.column], None

    def kept(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Return the columns to copy to the output; without `--keep`, these do not include the image."""
        keep, column = self._job.keep, self._job.column
        if keep is not None:
            return {name: columns[name] for name in keep if name in columns}
        if column is not None and isinstance(columns.get(column), bytes):
            return {name: value for name, value in columns.items() if name != column}
        return columns

    def _parquet(self, file: IO[bytes], path: str, group: int) -> Iterator[Row]:
        whole, job, number = parquet.ParquetFile(file), self._job, 0
        selected = None if job.keep is None or job.column is None else list({*job.keep, job.column})
        for batch in whole.iter_batches(ROWS, row_groups=[group], columns=selected):
            for columns in batch.to_pylist():
                number += 1
                yield self.row(columns, {"file": path, "row_group": group, "row": number})

    def _jsonl(self, file: IO[bytes], path: str, _: int) -> Iterator[Row]:
        for number, line in lines(file):
            where = {"file": path, "line": number}
            try:
                if content := _whole(line).strip():
                    columns = json_body.loads(content)
                    # Half of a surrogate pair cannot be encoded in UTF-8, nor sent between workers.
                    columns = _characters(columns) if b"\\ud" in content.lower() else columns
                    yield self.row(columns, where)
            except ServiceError as error:
                yield where, None, _fault(error.code, str(error))

    def _csv(self, file: IO[bytes], path: str, _: int) -> Iterator[Row]:
        for number, cells in table(file):
            where = {"file": path, "line": number}
            if isinstance(cells, ServiceError):
                yield where, None, _fault(cells.code, str(cells))
                continue
            columns, value, error = self.row(dict(cells), where)
            if self._is_table and isinstance(value, dict):
                value = {name: value_of(cell) for name, cell in value.items()}
            yield columns, value, error

    def _lines(self, file: IO[bytes], path: str, _: int) -> Iterator[Row]:
        for number, line in lines(file):
            where = {"file": path, "line": number}
            try:
                text = charsets.decode(_whole(line).removesuffix(b"\r"))
                yield self.kept({**where, "text": text}), text, None
            except ServiceError as error:
                yield where, None, _fault(error.code, str(error))

    def _file(self, path: str, size: int) -> Row:
        where = {"file": path}
        if size > LARGEST:
            return (
                where,
                None,
                _fault("too_large", f"expected at most {LARGEST:,} bytes; this file has {size:,}"),
            )
        try:
            with opened(path) as file:
                return where, file.read(), None
        except Exception as error:  # deleted, or not readable: an error of this row only
            return where, None, _fault("unreadable", f"the file cannot be read: {error}")


def _characters(value: Any) -> Any:
    """Replace each unpaired surrogate in a value, as the reader of texts does."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_characters(name): _characters(each) for name, each in value.items()}
    return [_characters(each) for each in value] if isinstance(value, list) else value


def opened(path: str) -> IO[bytes]:
    """Open a file, local or in a bucket, without decompression."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)  # type: ignore[no-any-return]


def _whole(line: bytes | ServiceError) -> bytes:
    if isinstance(line, ServiceError):
        raise line
    return line


def _fault(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}
