"""The pipeline: files or a table, `RunInference`, and two outputs."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io import ReadFromBigQuery
from apache_beam.io.fileio import EmptyMatchTreatment, MatchFiles
from apache_beam.ml.inference.base import RunInference

from shared.web.service import Service

from .handler import Handler
from .job import BIGQUERY, Job, Row
from .read import Source
from .write import OUTPUTS, Columns, write


def build(pipeline: beam.Pipeline, job: Job, service: Service, columns: Columns, spread: bool) -> None:
    """Add the job to a pipeline.

    Args:
        pipeline: a new one.
        job: the job.
        service: the function.
        columns: the columns to copy to the output.
        spread: whether to distribute the rows over the workers after reading, so that one large file keeps
            all of them busy.
    """
    rows = _read(pipeline, job, Source(job, service.reader))
    if spread:
        rows = rows | "Deal out rows" >> beam.Reshuffle()
    scored = rows | "Score" >> RunInference(Handler(job, service))
    split = scored | "Split" >> beam.ParDo(Split(job.prefix + "error")).with_outputs("bad", main="good")
    for kind in OUTPUTS:
        write(kind, split[kind], job, service.pin.labels, columns)


class Split(beam.DoFn):
    """Sends the rows with an error to the output `bad`."""

    def __init__(self, error: str) -> None:
        self._error = error

    def process(self, row: dict[str, Any]) -> Iterator[Any]:
        yield beam.pvalue.TaggedOutput("bad", row) if self._error in row else row


def _read(pipeline: beam.Pipeline, job: Job, source: Source) -> Any:
    if job.format == "bigquery":
        return pipeline | "Read the table" >> _table(job) | "Rows" >> beam.Map(_of_table, source)
    return (
        pipeline
        | "List files" >> MatchFiles(job.input, EmptyMatchTreatment.DISALLOW)
        | "Split files" >> beam.FlatMap(lambda file: source.pieces(file.path, file.size_in_bytes))
        | "Deal out pieces" >> beam.Reshuffle()
        | "Read" >> beam.FlatMap(source.rows)
    )


def _of_table(columns: dict[str, Any], source: Source) -> Row:
    return source.row(columns, {})


def _table(job: Job) -> ReadFromBigQuery:
    project, dataset, name = job.input.removeprefix(BIGQUERY).rsplit(".", 2)
    columns = None if job.keep is None or job.column is None else list({*job.keep, job.column})
    return ReadFromBigQuery(
        table=f"{project}:{dataset}.{name}",
        method=ReadFromBigQuery.Method.DIRECT_READ,
        selected_fields=columns,
    )
