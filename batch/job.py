"""What one batch job is asked to do."""

import re
from dataclasses import dataclass
from typing import Any

Row = tuple[dict[str, Any], Any, dict[str, str] | None]
"""A row on its way: the columns that are carried through, the value to score, and what is wrong with it."""

ADDED = ("label", "probabilities", "warnings", "model", "error")
"""What is added to a row's own columns; see `batch.scoring.Score`."""
BIGQUERY = "bq://"
TABLE = re.compile(r"bq://[a-z][a-z0-9:.-]{4,61}\.[A-Za-z0-9_]{1,1024}\.[\w$-]{1,1024}")


@dataclass(frozen=True)
class Job:
    """One batch job.

    Attributes:
        name: the function.
        input: a pattern of files, or `bq://project.dataset.table`.
        format: one of `read.FORMATS`.
        column: the column with the values to score; None for rows of a table, or where lines or files are
            the values.
        keep: the columns that are carried through; None for all.
        output: a folder, or `bq://project.dataset.table`.
        output_format: `jsonl`, `parquet` or `bigquery`.
        prefix: begins the names of what is added.
        store: `MODEL_STORE` where the job is submitted, if that is a bucket; empty otherwise.
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
        """The names of what is added."""
        return tuple(self.prefix + name for name in ADDED)
