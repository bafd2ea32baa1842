"""The client behind a request: whether it is still there, and how long each of its steps may take.

A thread that waits for a client cannot end its own wait. The worker's watchdog asks each client to `tick`,
and the tick shuts the connection down once the limit of the current step has passed, which wakes the thread.
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
"""Where the WSGI environment holds the client."""
HEAD_SECONDS = 8.0
"""For a request's line and headers: more than a slow network takes, less than a probe waits for `/health`."""
BODY_SECONDS = 15.0
"""For the body: 10 MB at 5 Mbit/s, or a photo at 1."""
WRITE_SECONDS = 10.0
"""For the client to take its answer."""
STOP_SECONDS = 8.0
"""From SIGTERM to the last answer; the platform kills the process after ten."""

# Seen without reading, so that a request which the client has already sent next stays where it is.
_CLOSED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Limit(NamedTuple):
    """When a step ends at the latest, and how: the answer that is sent then, and what is shut down."""

    end: float
    grace: float
    how: int
    answer: Callable[[], bytes] | None = None


class Client:
    """The client of one request; all times are those of `time.monotonic()`."""

    def __init__(self, connection: socket.socket | None = None, arrived: float | None = None) -> None:
        """Without a connection, as under another server than ours, it never leaves and is never slow."""
        self._connection = connection
        self._lock = threading.Lock()
        self._limit: Limit | None = None
        self._cut = False
        self._answered = False
        self.arrived = time.monotonic() if arrived is None else arrived

    @classmethod
    def of(cls, request: Request) -> "Client":
        """Return the client that the worker put beside this request."""
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
        """Refuse to begin what nobody waits for.

        Raises:
            TimedOut: the deadline has passed.
            ClientLeft: there is nobody to answer.
        """
        if self._answered or time.monotonic() >= deadline:
            raise TimedOut(f"not begun: {time.monotonic() - self.arrived:.1f} s after it arrived")
        if self.left:
            raise ClientLeft("expected the connection to stay open until the answer; the client closed it")

    def await_head(self) -> None:
        """Allow `HEAD_SECONDS` for the head; then answer 408 and close."""
        self._set(Limit(time.monotonic() + HEAD_SECONDS, 2.0, socket.SHUT_RDWR, _slow_head))

    def await_answer(self, deadline: float, answer: Callable[[], bytes]) -> None:
        """Give our side until the deadline; then send this answer instead, and close."""
        self._set(Limit(deadline, STOP_SECONDS, socket.SHUT_RDWR, answer))

    @contextlib.contextmanager
    def await_body(self) -> Iterator[None]:
        """Allow `BODY_SECONDS` for what is read here, within the limit there is.

        Raises:
            SlowRequest: it took longer; the connection is of no more use.
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
        """Lift the limit; whether the request is still to be answered, for its limit had not passed."""
        with self._lock:
            self._limit = None
            return not self._answered

    def await_reading(self) -> None:
        """Allow `WRITE_SECONDS` for the client to take its answer; then close."""
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
