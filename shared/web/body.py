"""Read a request's body, within a limit for each body and a limit for all bodies in memory together."""

import io
import threading
from collections.abc import Callable, Iterator

from flask import Request

from ..errors import BadRequest, Overloaded, TooLarge

BODY = "classifier.body"
"""The key in the WSGI environment of a body that has been received."""
STEP = 1 << 20

Take = Callable[[int], None]
"""Reserves so many bytes of memory until the request ends; raises `Overloaded`."""


class Memory:
    """The memory for all bodies together: many slow uploads at once would otherwise fill it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken = 0

    def share(self) -> "_Share":
        """Return a context with a function that reserves memory, which is freed when the context ends."""
        return _Share(self)

    def take(self, count: int) -> None:
        """Reserve so many bytes, or free them if the number is negative; raises `Overloaded`."""
        with self._lock:
            if count > 0 and self._taken + count > self._limit:
                raise Overloaded(f"all bodies together would take more than {self._limit:,} bytes")
            self._taken += count


class _Share:
    """The bytes that one request has reserved."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._mine = 0

    def __enter__(self) -> Take:
        return self._take

    def __exit__(self, *_: object) -> None:
        self._memory.take(-self._mine)

    def _take(self, count: int) -> None:
        self._memory.take(count)
        self._mine += count


def receive(request: Request, limit: int, take: Take) -> None:
    """Read the body up to the limit into memory, from where everything else reads it.

    Raises:
        TooLarge: it is over the limit; if Content-Length says so, it is not read.
        BadRequest: it is shorter than Content-Length says, or its chunks are broken.
        Overloaded: there is no memory left for it.
    """
    declared = request.content_length
    if declared is not None and declared > limit:
        raise _too_large(limit, declared)
    if declared is None and not request.environ.get("wsgi.input_terminated"):
        declared = 0
    body = b"".join(_parts(request, limit + 1 if declared is None else declared, take))
    if len(body) > limit:
        raise _too_large(limit, len(body))
    if declared is not None and len(body) < declared:
        raise BadRequest(f"expected a body of {declared:,} bytes; got {len(body):,}")
    request.environ["wsgi.input"], request.environ[BODY] = io.BytesIO(body), body


def _parts(request: Request, rest: int, take: Take) -> Iterator[bytes]:
    while rest:
        take(min(rest, STEP))
        try:
            part: bytes = request.environ["wsgi.input"].read(min(rest, STEP))
        except Exception as error:  # the server's own errors for broken chunks and lost connections
            raise BadRequest(f"the body cannot be read: {type(error).__name__}") from None
        if not part:
            return
        yield part
        rest -= len(part)


def _too_large(limit: int, length: int) -> TooLarge:
    return TooLarge(f"expected a body of at most {limit:,} bytes; this one has {length:,} or more")
