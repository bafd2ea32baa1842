"""The client of a request: whether it is still connected, and how long each step may take.

A thread that waits for a client cannot end its own wait. So the worker's watchdog calls `tick` on each
client, which shuts the connection down once the time limit of the current step has passed, and so wakes the
thread.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from flask import Request

from .. import logs
from ..errors import ClientLeft, SlowRequest, TimedOut
from .responses import problem, serialized

KEY = "classifier.client"
"""The key of the client in the WSGI environment."""
HEAD_SECONDS = 8.0
"""For a request's line and headers: longer than slow networks need, shorter than probes of `/health` wait."""
BODY_SECONDS = 15.0
"""For the body: 10 MB at 5 Mbit/s, or a photo at 1."""
WRITE_SECONDS = 10.0
"""For the client to receive its answer."""
STOP_SECONDS = 8.0
"""From SIGTERM to the last answer; the platform kills the process after ten."""

# `poll` sees this without reading, so that the client's next request, if it is there, stays unread.
_CLOSED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Limit(NamedTuple):
    """The time limit of a step: when it ends, the answer to send then, and which side to shut down."""

    end: float
    grace: float
    how: int
    answer: Callable[[], bytes] | None = None


class Client:
    """The client of one request; all times are those of `time.monotonic()`."""

    def __init__(self, connection: socket.socket | None = None, arrived: float | None = None) -> None:
        """Without a connection (under another server), a client never leaves and is never slow."""
        self._connection = connection
        self._lock = threading.Lock()
        self._limit: Limit | None = None
        self._cut = False
        self._answered = False
        self.arrived = time.monotonic() if arrived is None else arrived

    @classmethod
    def of(cls, request: Request) -> "Client":
        """Return the client that the worker put into the request's environment."""
        client = request.environ.get(KEY)
        return client if isinstance(client, cls) else cls()

    @property
    def left(self) -> bool:
        """Whether it has closed its side of the connection."""
        if self._connection is None:
            return False
        poll = select.poll()
        poll.register(self._connection, _CLOSED)
        return bool(poll.poll(0))

    def check(self, deadline: float) -> None:
        """Raise an error if nobody waits for the answer any more.

        Raises:
            TimedOut: the deadline has passed.
            ClientLeft: the client has closed the connection.
        """
        if self._answered or time.monotonic() >= deadline:
            raise TimedOut(f"not begun {time.monotonic() - self.arrived:.1f} s after the request arrived")
        if self.left:
            raise ClientLeft("expected the connection to stay open until the answer; the client closed it")

    def await_head(self) -> None:
        """Allow `HEAD_SECONDS` for the request's line and headers; then answer 408 and close."""
        self._set(Limit(time.monotonic() + HEAD_SECONDS, 2.0, socket.SHUT_RDWR, _slow_head))

    def await_answer(self, deadline: float, answer: Callable[[], bytes]) -> None:
        """Allow the function until the deadline; then send this answer instead, and close."""
        self._set(Limit(deadline, STOP_SECONDS, socket.SHUT_RDWR, answer))

    @contextlib.contextmanager
    def await_body(self) -> Iterator[None]:
        """Allow `BODY_SECONDS` for the body, but no longer than the current limit.

        Raises:
            SlowRequest: it took longer; the connection cannot be used any more.
        """
        before, end = self._limit, time.monotonic() + BODY_SECONDS
        self._set(Limit(min(end, before.end) if before else end, 5.0, socket.SHUT_RD))
        try:
            yield
        except Exception:
            if not self._cut:
                raise
        finally:
            self._set(before)
        if self._cut:
            raise SlowRequest("the body took too long to arrive; send it again, faster")

    def claim(self) -> bool:
        """Remove the limit; return whether the request still needs an answer (its limit had not passed)."""
        with self._lock:
            self._limit = None
            return not self._answered

    def await_reading(self) -> None:
        """Allow `WRITE_SECONDS` for the client to receive its answer; then close."""
        self._set(Limit(time.monotonic() + WRITE_SECONDS, STOP_SECONDS, socket.SHUT_RDWR))

    def tick(self, stopped: float | None) -> None:
        """Enforce the limit; sooner if the process was told to stop at the moment `stopped`."""
        with self._lock:
            limit = self._limit
            if limit is None or self._connection is None:
                return
            end = limit.end if stopped is None else min(limit.end, stopped + limit.grace)
            if time.monotonic() < end:
                return
            self._cut, self._answered, self._limit = True, limit.how == socket.SHUT_RDWR, None
            with contextlib.suppress(OSError):
                if limit.answer:
                    self._connection.send(limit.answer(), socket.MSG_DONTWAIT)
                self._connection.shutdown(limit.how)

    def _set(self, limit: Limit | None) -> None:
        with self._lock:
            self._limit = limit


def _slow_head() -> bytes:
    error = SlowRequest("the request's headers took too long to arrive; send it again, faster")
    logs.write("WARNING", f"{error.status}: {error}")
    return serialized(problem(error))
