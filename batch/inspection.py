"""Checks of the input before the job begins: its columns, and errors that would concern all rows."""

import itertools
import os
from collections.abc import Sequence
from typing import Any

import google.auth
import pyarrow
from apache_beam.io.filesystems import FileSystems
from pyarrow import parquet

from shared.errors import ServiceError
from shared.web.readers import Reader, Rows, json_body

from .errors import JobError, cause
from .files import decompressed, lines, table
from .job import BIGQUERY, Job
from .read import DAMAGED, TABULAR, opened
from .write import Columns

TEXT = pyarrow.string()
SOME = 20
"""How many files are checked before the job begins, to find one that is neither empty nor damaged."""


def check_credentials(*places: str) -> None:
    """Check that there are credentials if a place is in Google Cloud; Beam would start without them.

    Raises:
        JobError: there are none, or they cannot be read.
    """
    cloud = [place for place in places if place.startswith((BIGQUERY, "gs://"))]
    if not cloud or os.environ.get("STORAGE_EMULATOR_HOST"):
        return
    try:
        google.auth.default()
    except Exception as error:  # a missing or damaged file, a folder, a missing permission
        raise JobError(
            f"{cloud[0]}: no valid credentials: {cause(error)}; run gcloud auth "
            "application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
        ) from error


def first_files(pattern: str) -> list[str]:
    """Return the names of some files that match this pattern.

    Raises:
        JobError: no file matches, or the files cannot be listed.
    """
    try:
        [match] = FileSystems.match([pattern], [SOME])
    except Exception as error:  # of any kind: an unknown scheme or bucket, a missing permission
        raise JobError(f"--input {pattern}: cannot be listed: {cause(error)}") from error
    if not match.metadata_list:
        raise JobError(
            f"--input {pattern}: no file matches. Quote a pattern, so that the shell does not expand it; "
            "** also matches files in subfolders"
        )
    return sorted(file.path for file in match.metadata_list)


def columns_of(job: Job) -> Columns:
    """Return the columns of the input with their types, from the table or the first readable file.

    Raises:
        JobError: no file can be read.
    """
    if job.format == "bigquery":
        return _of_table(job.input)
    paths = first_files(job.input)
    if job.format in ("lines", "files"):
        return {"file": TEXT, **({"line": pyarrow.int64(), "text": TEXT} if job.format == "lines" else {})}
    read = {"parquet": _of_parquet, "jsonl": _of_jsonl, "csv": _of_csv}[job.format]
    empty: list[Columns] = []
    failures = []
    for path in paths:
        try:
            with opened(path) as file:
                if columns := read(decompressed(file, path)):
                    return columns
                empty.append(columns)
        except (*DAMAGED, OSError) as error:
            failures.append(f"--input: {path} cannot be read as {job.format}: {cause(error)}")
    if not empty:
        raise JobError(failures[0])
    return {}


def check(job: Job, reader: Reader, columns: Columns) -> Columns:
    """Return the columns of the input that are copied to the output.

    Raises:
        JobError: a column is missing or not named, or has the same name as an added one.
    """
    if not columns and job.format in TABULAR:
        return columns  # an empty file
    have = ", ".join(columns)[:500]
    if job.column is None and job.format in TABULAR and not isinstance(reader, Rows):
        raise JobError(f"--column: expected the column with {reader.what}; the input has {have}")
    for name in (*((job.column,) if job.column else ()), *(job.keep or ())):
        if name not in columns:
            raise JobError(f"expected the column {name!r} in the input; it has {have}")
    kept = {name: kind for name, kind in columns.items() if job.keep is None or name in job.keep}
    if job.keep is None and job.column and _is_bytes(columns[job.column]):
        del kept[job.column]
    if job.keep is None and not kept:
        raise JobError(
            f"{job.column!r} is the input's only column, and images are not copied to the output, so its "
            "rows could not be told apart: add a column with a key"
        )
    if clash := [name for name in job.added if name in kept]:
        raise JobError(
            f"the input already has a column {clash[0]!r}, which the output adds: give --prefix, such as "
            "--prefix predicted_, or leave the column out with --keep"
        )
    return kept


def _of_parquet(file: Any) -> Columns:
    schema = parquet.ParquetFile(file).schema_arrow
    return dict(zip(schema.names, schema.types, strict=True))


def _of_jsonl(file: Any) -> Columns:
    for _, line in itertools.islice(lines(file), 1000):
        if not isinstance(line, ServiceError) and line.strip():
            try:
                return dict.fromkeys(json_body.loads(line.strip()), TEXT)
            except ServiceError:
                continue  # one bad line of many
    return {}


def _of_csv(file: Any) -> Columns:
    for _, row in table(file):
        if not isinstance(row, ServiceError):
            return dict.fromkeys(row, TEXT)
    return {}


def _of_table(name: str) -> Columns:
    from google.cloud import bigquery

    known = {
        "BOOLEAN": pyarrow.bool_(),
        "INTEGER": pyarrow.int64(),
        "FLOAT": pyarrow.float64(),
        "BYTES": pyarrow.binary(),
        "DATE": pyarrow.date32(),
        "TIMESTAMP": pyarrow.timestamp("us", "UTC"),
    }
    try:
        fields: Sequence[Any] = bigquery.Client().get_table(name.removeprefix(BIGQUERY)).schema
    except Exception as error:
        raise JobError(f"--input {name}: cannot be read: {cause(error)}") from error
    return {
        each.name: TEXT if each.mode == "REPEATED" else known.get(each.field_type, TEXT) for each in fields
    }


def _is_bytes(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))
