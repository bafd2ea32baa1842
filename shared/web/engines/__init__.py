"""The protocols of engines that score many rows; each has its own paths, bodies and errors.

Each module is imported when the first request needs it.
"""

from typing import TYPE_CHECKING

from ..call import NOWHERE, Route

if TYPE_CHECKING:
    from ..endpoint import Endpoint


def paths(name: str) -> tuple[str, ...]:
    """The paths to which engines send inputs for the function of this name."""
    return "/bigquery", f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"


def route(path: str, endpoint: "Endpoint") -> Route:
    """The route of an engine's path; `NOWHERE` for any other path."""
    if path == "/bigquery":
        from . import bigquery

        return bigquery.route(endpoint)
    if path.startswith("/v1/"):
        from . import v1

        return v1.route(path, endpoint)
    if path == "/v2" or path.startswith("/v2/"):
        from . import open_inference

        return open_inference.route(path, endpoint)
    return NOWHERE
