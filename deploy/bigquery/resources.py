"""What BigQuery has: a dataset's location, the connection of a function, and the function in SQL."""

from typing import Any

from ..config import Config
from ..console import DeployError
from ..gcloud import Bq, GcloudError, dig, text
from .function import RemoteFunction, contains, locations

MARK = "Made by deploy.sh for the datasets "
"""How the description of a connection begins that was created here; the names of the datasets follow."""


def _find(bq: Bq, *arguments: str) -> dict[str, Any] | None:
    """Run `bq show`; None if it finds nothing."""
    try:
        return bq.one("show", *arguments)
    except GcloudError as error:
        if "Not found" in error.text:
            return None
        raise


def location(config: Config, bq: Bq) -> str:
    """Return the location of the dataset.

    Raises:
        DeployError: there is no such dataset, or BigQuery cannot call the function from its location.
    """
    region, name = config.region, f"{config.project}:{config.dataset}"
    dataset = _find(bq, "--dataset", name)
    if dataset is None:
        create = f"bq mk --dataset --location={region} {name}"
        raise DeployError(
            [f"there is no dataset {name}: run '{create}' first, or name another with --dataset"]
        )
    place = text(dataset, "location")
    if not contains(place, region):
        regions = {"us": "a region such as us-central1", "eu": "a region such as europe-west1"}
        raise DeployError(
            [
                f"the dataset {config.dataset} is in {place}, the function in {region}: name a dataset in "
                f"{' or '.join(locations(region))}, or deploy the function to "
                f"{regions.get(place.lower(), place)} with --region"
            ]
        )
    return place


def connection(bq: Bq, function: RemoteFunction) -> dict[str, Any] | None:
    """Return the function's connection; None if there is none.

    Raises:
        DeployError: it was not created here.
    """
    place = f"--location={function.location}"
    found = _find(bq, "--connection", place, function.connection)
    if found and not (is_ours(found) and dig(found, "cloudResource")):
        remove = f"bq rm --connection {place} {function.connection}"
        raise DeployError(
            [
                f"the connection {function.location}.{function.connection} was not created by this script: "
                f"if nobody uses it, run '{remove}'"
            ]
        )
    return found


def is_ours(connection: Any) -> bool:
    """Return whether a connection was created here."""
    return text(connection, "description").startswith(MARK)


def datasets_of(connection: Any) -> list[str]:
    """Return the datasets that a connection was created for."""
    return text(connection, "description").removeprefix(MARK).split() if is_ours(connection) else []


def routine(bq: Bq, function: RemoteFunction) -> dict[str, Any] | None:
    """Return the function in SQL; None if the dataset has none of its name.

    Raises:
        DeployError: the dataset has one of its name that was not created here.
    """
    name = f"{function.project}:{function.dataset}.{function.name}"
    found = _find(bq, "--routine", name)
    if found and not is_connected(found, function.location, function.connection):
        raise DeployError(
            [
                f"the function {name} was not created by this script: name another dataset with --dataset, "
                f"or, if nobody uses it, run 'bq rm --routine {name}'"
            ]
        )
    return found


def connected_routine(bq: Bq, name: str, location: str, connection: str) -> bool:
    """Return whether there is a function of this name that calls through the connection."""
    found = _find(bq, "--routine", name)
    return found is not None and is_connected(found, location, connection)


def is_connected(routine: Any, location: str, connection: str) -> bool:
    """Return whether a function calls through the connection."""
    path = text(routine, "remoteFunctionOptions", "connection").lower()
    return path.endswith(f"/locations/{location.lower()}/connections/{connection}")
