"""So many requests and no more, and no thread for a client that sends its body drop by drop."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import thread as pools
from typing import Any

from ..errors import Overloaded, SlowRequest
from ..settings import Settings

THREADS = Settings.read().threads
"""Threads of the server, as functions-framework counts them."""
WAITING = 16 * THREADS
"""Requests that may wait for a thread."""
BODY_SECONDS = 15.0
"""How long a body may take; `HURRY_SECONDS` where other requests need the thread."""
HURRY_SECONDS = 1.0


def admit() -> None:
    """Refuse a request while more than `WAITING` others wait behind it.

    gunicorn accepts connections without end and queues them for its threads; only the pool that this
    thread belongs to knows how many.

    Raises:
        Overloaded: too many wait.
    """
    waiting = _waiting(threading.current_thread())
    if waiting > WAITING:
        raise Overloaded(f"{waiting} requests wait; at most {WAITING} may")


def _waiting(thread: threading.Thread) -> int:
    """How many requests wait for the pool that this thread belongs to."""
    # Private, and there since Python 3.2: how an interpreter that exits finds the pools to wake.
    queue = pools._threads_queues.get(thread)
    return queue.qsize() if queue is not None else 0


class Readers:
    """The requests whose bodies are being read, and a thread that ends those that take too long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, tuple[float, socket.socket]] = {}
        self._cut: set[threading.Thread] = set()
        self._watch: threading.Thread | None = None

    @contextlib.contextmanager
    def reading(self, environ: Mapping[str, Any]) -> Iterator[None]:
        """Read the body of the request with this WSGI environment.

        Raises:
            SlowRequest: it has taken too long; its connection is of no more use.
        """
        connection = environ.get("gunicorn.socket")
        if connection is None:  # another server, such as the one of `--debug`
            yield
            return
        key = threading.current_thread()
        with self._lock:
            self._open[key] = (time.monotonic(), connection)
            if self._watch is None:
                self._watch = threading.Thread(target=self._cut_slow, daemon=True)
                self._watch.start()
        cut = False
        try:
            yield
        except Exception:
            cut = self._done(key)
            if not cut:
                raise
        else:
            cut = self._done(key)
        if cut:
            raise SlowRequest("the body took too long to arrive; send it again, faster")

    def _done(self, key: threading.Thread) -> bool:
        """Whether the request had to be cut off."""
        with self._lock:
            self._open.pop(key, None)
            cut = key in self._cut
            self._cut.discard(key)
        return cut

    def _cut_slow(self) -> None:
        while True:
            time.sleep(HURRY_SECONDS / 2)
            with self._lock:
                if not self._open:
                    self._watch = None
                    return
                for key, (began, connection) in self._open.items():
                    patience = HURRY_SECONDS if _waiting(key) else BODY_SECONDS
                    if began < time.monotonic() - patience and key not in self._cut:
                        self._cut.add(key)
                        with contextlib.suppress(OSError):
                            connection.shutdown(socket.SHUT_RD)


readers = Readers()
