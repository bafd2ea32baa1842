"""One request on its way through the endpoint, and the routes it may take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from flask import Request, Response

from ..errors import ServiceError
from . import access
from .client import Client
from .responses import problem


@dataclass(frozen=True)
class Call:
    """One request, its route and client, what its log line says, and until when an answer is of use."""

    request: Request
    route: "Route"
    client: Client
    facts: access.Facts
    deadline: float

    def check(self) -> None:
        """Refuse to begin what nobody waits for."""
        self.client.check(self.deadline)


Handler = Callable[[Call], Response]


@dataclass(frozen=True)
class Route:
    """What a path answers.

    Attributes:
        methods: a handler for each method; none if there is no such path.
        problem: makes the response of an error, given the id of its log line (empty for a 4xx).
    """

    methods: Mapping[str, Handler]
    problem: Callable[[ServiceError, str], Response] = problem

    @cached_property
    def allow(self) -> str:
        """The header `Allow`."""
        return ", ".join([*(["HEAD"] if "GET" in self.methods else []), *self.methods, "OPTIONS"])


NOWHERE = Route({})
"""The route of a path that there is not."""
