"""The V1 protocol of TensorFlow Serving and KServe: `instances` in, `predictions` out."""

from functools import partial
from typing import TYPE_CHECKING

from flask import Response

from ...errors import ServiceError
from ..call import Call, Route
from ..responses import respond_json
from ..service import Service

if TYPE_CHECKING:
    from ..endpoint import Endpoint


def route(path: str, endpoint: "Endpoint") -> Route:
    """The route of a path below `/v1`."""
    service = endpoint.service
    if path == f"/v1/models/{service.name}:predict":
        read = partial(service.reader.read, kind="application/json")
        return Route({"POST": partial(endpoint.classify, read=read)}, problem)
    is_ready = {"GET": partial(ready, service)} if path == f"/v1/models/{service.name}" else {}
    return Route(is_ready, problem)


def ready(service: Service, _: Call) -> Response:
    """Load the model if necessary, and answer that it is ready; raises `ModelUnavailable`.

    Clients of these protocols check this before they send anything. If it did not load the model, they would
    wait for an idle function for ever.
    """
    service.classifier()
    return respond_json({"name": service.name, "ready": True})


def problem(error: ServiceError, identifier: str) -> Response:
    """Make the response of an error: clients of this protocol print the field `error`."""
    message = f"{error.detail} ({identifier})" if identifier else error.detail
    return respond_json({"error": message}, error.status, error.headers)
