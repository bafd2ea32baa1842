"""One request in the endpoint, and the routes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from flask import Request, Response

from ..errors import ServiceError
from ..turns import Slot
from . import access
from .client import Client
from .responses import problem


class Call(NamedTuple):
    """One request.

    Attributes:
        request: the request itself.
        route: the handlers of its path.
        client: its client.
        facts: what its log line says.
        deadline: when the answer must be ready, by `time.monotonic()`.
        slot: its slot, which it keeps until the answer is ready. If the next request began to compute
            before, both would compete for the GIL, and some answers would be late.
    """

    request: Request
    route: "Route"
    client: Client
    facts: access.Facts
    deadline: float
    slot: Slot

    def check(self) -> None:
        """Raise `TimedOut` or `ClientLeft` if nobody waits for the answer any more."""
        self.client.check(self.deadline)


Handler = Callable[[Call], Response]


@dataclass(frozen=True)
class Route:
    """The handlers of a path.

    Attributes:
        methods: a handler for each method; none if there is no such path.
        problem: makes the response of an error, given the ID of its log line (empty for a 4xx).
    """

    methods: Mapping[str, Handler]
    problem: Callable[[ServiceError, str], Response] = problem

    @cached_property
    def allow(self) -> str:
        """The header `Allow`."""
        return ", ".join([*(["HEAD"] if "GET" in self.methods else []), *self.methods, "OPTIONS"])


NOWHERE = Route({})
"""The route of an unknown path."""
