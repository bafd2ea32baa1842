"""The V1 protocol of TensorFlow Serving and KServe: `instances` in, `predictions` out."""

from typing import TYPE_CHECKING

from flask import Response

from ...errors import ServiceError
from ..call import Call, Route
from ..responses import respond_json

if TYPE_CHECKING:
    from ..endpoint import Endpoint


def route(path: str, endpoint: "Endpoint") -> Route:
    """The route of a path below `/v1`."""
    service = endpoint.service
    if path == f"/v1/models/{service.name}:predict":
        return Route({"POST": endpoint.classify}, problem)

    def ready(_: Call) -> Response:
        return respond_json({"name": service.name, "ready": service.classifier.ready})

    return Route({"GET": ready} if path == f"/v1/models/{service.name}" else {}, problem)


def problem(error: ServiceError, identifier: str) -> Response:
    """Make the response of an error: `error` says what is wrong, as clients of this protocol print it."""
    message = f"{error.detail} ({identifier})" if identifier else error.detail
    return respond_json({"error": message}, error.status, error.headers)
