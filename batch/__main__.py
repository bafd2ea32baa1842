"""Score millions of rows with a function's pinned model, on this machine or on Dataflow.

    python -m batch review --input 'reviews/*.parquet' --column text --output out/
    python -m batch malaria --input 'gs://bucket/cells/**.png' --output gs://bucket/out/ --runner ...

Options that are not listed are Beam's; see https://beam.apache.org/documentation/runners/dataflow/.
"""

import argparse
import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

try:
    import apache_beam as beam
except ModuleNotFoundError:
    sys.exit(
        "batch: Apache Beam is not installed for this Python: run 'make .venv/batch/installed', then use "
        ".venv/batch/bin/python"
    )
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from . import inspection, progress
from .errors import JobError, cause
from .handler import NAMESPACE, ready
from .job import BIGQUERY, TABLE, Job
from .pipeline import build
from .read import FORMATS, TABULAR, format_of
from .scoring import load
from .write import refuse_earlier

LOCAL = ("direct", "fnapi")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job that the arguments describe."""
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    try:
        job, options = parse(arguments)
        run(job, options)
    except JobError as error:
        sys.exit(f"batch: {error}")
    except KeyboardInterrupt:
        sys.exit("batch: interrupted; run the same command again")


def parse(arguments: Sequence[str] | None = None) -> tuple[Job, PipelineOptions]:
    """Read the command line.

    Raises:
        JobError: an option is not valid.
    """
    parser = argparse.ArgumentParser(
        prog="python -m batch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", help="the function, a folder of functions/")
    parser.add_argument(
        "--input", required=True, help="files, as a pattern in quotes, or bq://project.dataset.table"
    )
    parser.add_argument(
        "--output", required=True, help="a folder without earlier results, or bq://project.dataset.table"
    )
    parser.add_argument("--column", help="the column to score; leave it out for lines, files and whole rows")
    parser.add_argument("--keep", help="the columns to copy to the output, comma separated; default: all")
    parser.add_argument(
        "--format", choices=FORMATS, help="the format of the input, if its name does not tell"
    )
    parser.add_argument("--output-format", choices=("jsonl", "parquet"), default="jsonl")
    parser.add_argument("--prefix", default="", help="comes before the names of the added columns")
    given, rest = parser.parse_known_args(arguments)
    _check_beams(rest)
    options = PipelineOptions(rest)
    FileSystems.set_options(options)
    return _job(given), options


def run(job: Job, options: PipelineOptions) -> Any:
    """Check the job as far as possible, then run it; return Beam's result.

    Raises:
        JobError: the job cannot run, or it failed.
    """
    runner = runner_of(options)
    local = runner in LOCAL
    if not options.view_as(GoogleCloudOptions).no_auth:
        inspection.check_credentials(job.input, job.output)
    service = ready(job.name)  # if the model cannot be loaded, the job fails here, and not at each row
    columns = inspection.check(job, service.reader, inspection.columns_of(job))
    if job.output_format != "bigquery":
        refuse_earlier(job)
    alone = local and options.view_as(DirectOptions).direct_num_workers == 1
    # Beam's default runner for this machine would download a program.
    try:
        pipeline = beam.Pipeline(FnApiRunner() if local else None, options=options)
    except ValueError as error:  # an unknown runner, or one that lacks an option
        raise JobError(cause(error)) from error
    build(pipeline, job, service, columns, spread=not alone)
    began = time.monotonic()
    try:
        with progress.shown() if local else contextlib.nullcontext():
            result = pipeline.run()
            if runner == "dataflow":  # the job goes on without this process
                submitted(options, result)
            else:
                result.wait_until_finish()
                report(job, result, time.monotonic() - began)
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # Beam turns it into an error of its own
            raise KeyboardInterrupt from None
        raise JobError(f"the job failed: {cause(error)}") from error
    return result


def runner_of(options: PipelineOptions) -> str:
    """Beam's short name of the runner, such as `direct` or `dataflow`."""
    name = str(options.view_as(StandardOptions).runner or LOCAL[0])
    return name.rpartition(".")[2].lower().removesuffix("runner")


def submitted(options: PipelineOptions, result: Any) -> None:
    """Print the command that shows the state of the job."""
    place = options.view_as(GoogleCloudOptions)
    where = f"--project={place.project} --region={place.region}"
    print(f"submitted: gcloud dataflow jobs describe {result.job_id()} {where}")


def report(job: Job, result: Any, seconds: float) -> None:
    """Print how many rows are good and bad, how long the job took, and where the output is."""
    chosen = MetricsFilter().with_namespace(NAMESPACE)
    counters = {each.key.metric.name: each.committed for each in result.metrics().query(chosen)["counters"]}
    good = counters.get("good", 0)
    bad = {name.removeprefix("bad_"): n for name, n in sorted(counters.items()) if name.startswith("bad_")}
    causes = f" ({', '.join(f'{name} {number:,}' for name, number in bad.items())})" if bad else ""
    print(f"{good:,} good rows, {sum(bad.values()):,} bad{causes}, in {seconds:.1f} s: {job.output}")


def _job(given: argparse.Namespace) -> Job:
    reader = load(given.name).reader
    for name, value in (("--input", given.input), ("--output", given.output)):
        if value.startswith(BIGQUERY) and not TABLE.fullmatch(value):
            raise JobError(f"{name} {value}: expected bq://project.dataset.table")
    form = "bigquery" if given.input.startswith(BIGQUERY) else given.format or format_of(given.input, reader)
    if given.column and form not in TABULAR:
        raise JobError(f"--column: {form} have no columns; leave this option out")
    if not re.fullmatch(r"[A-Za-z_]\w*|", given.prefix):
        raise JobError(
            f"--prefix {given.prefix}: expected letters, digits and _, beginning with a letter or _"
        )
    store = os.environ.get("MODEL_STORE", "")
    return Job(
        name=given.name,
        input=given.input,
        format=form,
        column=given.column,
        keep=None if given.keep is None else tuple(filter(None, given.keep.split(","))),
        output=given.output,
        output_format="bigquery" if given.output.startswith(BIGQUERY) else given.output_format,
        prefix=given.prefix,
        store=store if store.startswith("gs://") else "",
    )


def _check_beams(arguments: Sequence[str]) -> None:
    """Refuse options that Beam does not know, since Beam would ignore them; raises `JobError`."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise JobError(f"there is no option {unknown[0]}; see python -m batch --help")


if __name__ == "__main__":
    main()
