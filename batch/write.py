"""From scored rows to JSON Lines, Parquet or BigQuery."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import pyarrow
from apache_beam.coders import BytesCoder
from apache_beam.io import BigQueryDisposition, WriteToBigQuery, WriteToParquet, WriteToText
from apache_beam.io.filesystems import FileSystems

from .errors import JobError, cause
from .job import BIGQUERY, Job

OUTPUTS = ("good", "bad")
ERROR = pyarrow.struct([("code", pyarrow.string()), ("message", pyarrow.string())])
Columns = Mapping[str, Any]
"""The columns to copy to the output, each with its Arrow type or its BigQuery type."""


def refuse_earlier(job: Job) -> None:
    """Refuse a folder with files of an earlier run, which a reader could not tell from those of this run.

    Raises:
        JobError: there are such files, or the folder cannot be listed.
    """
    try:
        patterns = [FileSystems.join(job.output, f"{kind}-*") for kind in OUTPUTS]
        matches = FileSystems.match(patterns, [1, 1])
    except Exception as error:  # of any kind: an unknown bucket or scheme, a missing permission
        raise JobError(f"--output {job.output}: cannot be listed: {cause(error)}") from error
    for pattern, match in zip(patterns, matches, strict=True):
        if match.metadata_list:
            raise JobError(
                f"--output {job.output}: expected a folder without {pattern.rpartition('/')[2]}; it has "
                f"{match.metadata_list[0].path} of an earlier run: give a new folder"
            )


def write(kind: str, rows: Any, job: Job, labels: tuple[str, ...], columns: Columns) -> Any:
    """Write the rows of one `kind`, `good` or `bad`."""
    if job.output_format == "bigquery":
        return _to_bigquery(rows, kind, job, columns)
    prefix = FileSystems.join(job.output, kind)
    if job.output_format == "jsonl":
        lines = rows | f"Encode {kind}" >> beam.Map(encoded).with_output_types(bytes)
        return lines | f"Write {kind}" >> WriteToText(prefix, file_name_suffix=".jsonl", coder=BytesCoder())
    schema = pyarrow.schema([*columns.items(), *_added(kind, job.prefix, labels)])
    fitting = rows | f"Fit {kind}" >> beam.Map(fitted, schema)
    return fitting | f"Write {kind}" >> WriteToParquet(prefix, schema, file_name_suffix=".parquet")


def encoded(row: Any) -> bytes:
    """A row as a line of JSON, in UTF-8. NaN, which is not valid JSON, becomes null; bytes become base64."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=_json).encode()
    except ValueError:
        return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False, default=_json).encode()


def _json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def fitted(row: dict[str, Any], schema: pyarrow.Schema) -> dict[str, Any]:
    """Fit a row to the schema: a column of strings gets other values as JSON."""
    converted = {}
    for field in schema:
        value = row.get(field.name)
        if value is not None and field.type == pyarrow.string() and not isinstance(value, str):
            value = encoded(value).decode()
        converted[field.name] = value
    return converted


def _added(kind: str, prefix: str, labels: tuple[str, ...]) -> list[tuple[str, pyarrow.DataType]]:
    text = pyarrow.string()
    if kind == "bad":
        return [(f"{prefix}error", ERROR), (f"{prefix}model", text)]
    return [
        (f"{prefix}label", text),
        (f"{prefix}probabilities", pyarrow.struct([(label, pyarrow.float64()) for label in labels])),
        (f"{prefix}warnings", pyarrow.list_(ERROR)),
        (f"{prefix}model", text),
    ]


def _to_bigquery(rows: Any, kind: str, job: Job, columns: Columns) -> Any:
    """Write to a new table; bad rows go to a second table, whose name ends in `_bad`."""
    table = job.output.removeprefix(BIGQUERY) + ("_bad" if kind == "bad" else "")
    project, dataset, name = table.rsplit(".", 2)
    types = {column: bigquery_type(each) for column, each in columns.items()}
    fields = [_field(column, each) for column, each in types.items()]
    return (
        rows
        | f"Fit {kind}" >> beam.Map(for_bigquery, types, job.prefix)
        | f"Write {kind}"
        >> WriteToBigQuery(
            f"{project}:{dataset}.{name}",
            schema={"fields": fields + _fields(kind, job.prefix)},
            create_disposition=BigQueryDisposition.CREATE_IF_NEEDED,
            write_disposition=BigQueryDisposition.WRITE_EMPTY,
        )
    )


def bigquery_type(kind: pyarrow.DataType) -> str:
    """The BigQuery type of a column; values of other types are written as JSON, in a STRING."""
    known = {
        "BOOLEAN": pyarrow.types.is_boolean,
        "INTEGER": pyarrow.types.is_integer,
        "FLOAT": pyarrow.types.is_floating,
        "BYTES": pyarrow.types.is_binary,
        "DATE": pyarrow.types.is_date,
        "TIMESTAMP": pyarrow.types.is_timestamp,
    }
    return next((name for name, matches in known.items() if matches(kind)), "STRING")


def for_bigquery(row: dict[str, Any], types: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Convert a row for BigQuery: the probabilities become a list of labels with their probability."""
    converted = dict.fromkeys(types) | row
    for name, kind in types.items():
        if kind == "STRING" and converted[name] is not None and not isinstance(converted[name], str):
            converted[name] = encoded(converted[name]).decode()
    if probabilities := row.get(f"{prefix}probabilities"):
        converted[f"{prefix}probabilities"] = [
            {"label": label, "probability": value} for label, value in probabilities.items()
        ]
    return converted


def _field(name: str, kind: str, mode: str = "NULLABLE", **rest: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "mode": mode, **rest}


def _fields(kind: str, prefix: str) -> list[dict[str, Any]]:
    error = [_field("code", "STRING"), _field("message", "STRING")]
    model = _field(f"{prefix}model", "STRING")
    if kind == "bad":
        return [_field(f"{prefix}error", "RECORD", fields=error), model]
    each = [_field("label", "STRING"), _field("probability", "FLOAT")]
    return [
        _field(f"{prefix}label", "STRING"),
        _field(f"{prefix}probabilities", "RECORD", "REPEATED", fields=each),
        _field(f"{prefix}warnings", "RECORD", "REPEATED", fields=error),
        model,
    ]
