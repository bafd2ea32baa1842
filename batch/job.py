"""The description of one batch job."""

import re
from dataclasses import dataclass
from typing import Any

Row = tuple[dict[str, Any], Any, dict[str, str] | None]
"""A row in the pipeline: the columns to copy to the output, the value to score, and its error."""

ADDED = ("label", "probabilities", "warnings", "model", "error")
"""The columns that are added to a row; see `batch.scoring.Score`."""
BIGQUERY = "bq://"
TABLE = re.compile(r"bq://[a-z][a-z0-9:.-]{4,61}\.[A-Za-z0-9_]{1,1024}\.[\w$-]{1,1024}")


@dataclass(frozen=True)
class Job:
    """One batch job.

    Attributes:
        name: the function.
        input: a pattern of files, or `bq://project.dataset.table`.
        format: one of `read.FORMATS`.
        column: the column with the values to score; None if whole rows, lines or files are the values.
        keep: the columns to copy to the output; None for all.
        output: a folder, or `bq://project.dataset.table`.
        output_format: `jsonl`, `parquet` or `bigquery`.
        prefix: comes before the names of the added columns.
        store: the `MODEL_STORE` of the machine that submits the job, if it is a bucket; else empty.
    """

    name: str
    input: str
    format: str
    column: str | None
    keep: tuple[str, ...] | None
    output: str
    output_format: str
    prefix: str = ""
    store: str = ""

    @property
    def added(self) -> tuple[str, ...]:
        """The names of the added columns."""
        return tuple(self.prefix + name for name in ADDED)
