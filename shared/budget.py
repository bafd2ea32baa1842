"""How much work one request may cause: a sum over all its inputs, held where they are decoded."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from .errors import TooMuchWork

MAX_WORK = 60_000_000
"""Work of one input. The unit is about 10 ns of one core: a pixel of an uncompressed image. 0.6 s in all."""

MAX_REQUEST = 2 * MAX_WORK
"""Work of all inputs of one request."""

_left: ContextVar[list[int] | None] = ContextVar("work left to this request", default=None)


@contextlib.contextmanager
def one_request() -> Iterator[None]:
    """Hold everything that is spent within to `MAX_REQUEST`, together."""
    token = _left.set([MAX_REQUEST])
    try:
        yield
    finally:
        _left.reset(token)


def spend(work: int, name: str) -> None:
    """Count work that is about to be done, in units of `MAX_WORK`; `name` is what it is done for.

    Raises:
        TooMuchWork: it is over the limit of one input, or of what is left to the request.
    """
    if work > MAX_WORK:
        raise TooMuchWork(
            f"expected at most {MAX_WORK // 1_000_000} million steps of decoding; "
            f"this {name} takes about {work // 1_000_000:,} million"
        )
    left = _left.get()
    if left is None:
        return
    if work > left[0]:
        raise TooMuchWork(
            f"expected at most {MAX_REQUEST // 1_000_000} million steps of decoding in one request; with "
            f"this {name} it would be {(MAX_REQUEST - left[0] + work) // 1_000_000:,} million: "
            "send it in another request"
        )
    left[0] -= work
