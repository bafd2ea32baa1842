"""A remote function: what SQL calls it, what it takes, and from where BigQuery may call."""

from dataclasses import dataclass
from typing import Any

from shared.example import Example

from ..config import Config
from ..gcloud import dig, objects, text

BATCHES = {"text": 1000, "image": 32, "row": 1000}
"""Rows in one call, by the argument: about a third of a second of work. For images it is the number of signed
URLs, which are fetched eight at a time; 128 images fit if they come as base64."""
OUTSIDE_EU = ("europe-west2", "europe-west6")
"""London and Zurich: the multi-region EU has the regions of its member states only."""


@dataclass(frozen=True)
class RemoteFunction:
    """A function in SQL that calls a deployed one.

    Attributes:
        project: the project's ID.
        dataset: the dataset's name.
        name: the function's name in SQL, without hyphens.
        argument: what it takes: a `text`, an `image` or a `row`.
        connection: the ID of the connection.
        location: the location of the dataset and of the connection, in small letters.
        endpoint: the URL that BigQuery calls.
        rows: the most rows in one call.
    """

    project: str
    dataset: str
    name: str
    argument: str
    connection: str
    location: str
    endpoint: str
    rows: int

    @property
    def type(self) -> str:
        """The SQL type of the argument."""
        return "JSON" if self.argument == "row" else "STRING"

    @property
    def statement(self) -> str:
        """The statement that creates it, or replaces what has its name."""
        return (
            f"CREATE OR REPLACE FUNCTION `{self.project}.{self.dataset}.{self.name}`"
            f"({self.argument} {self.type}) RETURNS JSON\n"
            f"REMOTE WITH CONNECTION `{self.project}.{self.location}.{self.connection}`\n"
            f"OPTIONS (endpoint = '{self.endpoint}', max_batching_rows = {self.rows})"
        )

    @property
    def usage(self) -> str:
        """A call in a query."""
        argument = {"text": "text", "image": "signed_url", "row": "TO_JSON(STRUCT(column, ...))"}
        return f"`{self.project}.{self.dataset}.{self.name}`({argument[self.argument]})"

    def is_same(self, routine: Any) -> bool:
        """Return whether a routine, as BigQuery describes it, is this function."""
        arguments = [
            (text(each, "name"), text(each, "dataType", "typeKind")) for each in objects(routine, "arguments")
        ]
        options = dig(routine, "remoteFunctionOptions")
        return (
            arguments == [(self.argument, self.type)]
            and text(routine, "returnType", "typeKind") == "JSON"
            and text(options, "endpoint") == self.endpoint
            and str(dig(options, "maxBatchingRows")) == str(self.rows)
        )


def remote_function(config: Config, name: str, example: Example, url: str, location: str) -> RemoteFunction:
    """Describe the remote function of a deployed function, whose example tells what it takes."""
    argument = "image" if example.file else "text" if isinstance(example.input, str) else "row"
    return RemoteFunction(
        project=config.project,
        dataset=config.dataset or "DATASET",
        name=name_in_sql(name),
        argument=argument,
        connection=connection_of(name, config.region),
        location=location.lower(),
        endpoint=f"{url}/bigquery",
        rows=config.max_batching_rows or BATCHES[argument],
    )


def name_in_sql(name: str) -> str:
    """Return the name of a function's remote function, which must not have hyphens."""
    return name.replace("-", "_")


def connection_of(name: str, region: str) -> str:
    """Return the ID of a function's connection: one name may be deployed to several regions of the EU."""
    return f"{name}-{region}"


def contains(location: str, region: str) -> bool:
    """Return whether a dataset's location is a function's region or contains it, as BigQuery demands."""
    if location.lower() == "us":
        return region.startswith("us-")
    if location.lower() == "eu":
        return region.startswith("europe-") and region not in OUTSIDE_EU
    return location.lower() == region


def locations(region: str) -> list[str]:
    """Return the locations of datasets from which BigQuery calls functions of a region."""
    return [region, *(each for each in ("EU", "US") if contains(each, region))]
