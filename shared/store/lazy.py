"""A thread-safe lazy value with back-off."""

import os
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from .. import logs
from ..errors import ModelUnavailable, NotReady

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Back-off: seconds of pause after the first failure in a row, after the second, and so on."""

T = TypeVar("T")


class Lazy(Generic[T]):
    """A callable that returns the value of `build()`; the first caller builds it while the others wait.

    A failure is not cached. The waiting callers get it as `NotReady`. During the back-off every call raises
    `NotReady` at once; the first call after the back-off builds again.
    """

    def __init__(self, build: Callable[[], T], pauses: tuple[float, ...] = PAUSES) -> None:
        self._build = build
        self._pauses = pauses
        self._lock = threading.Lock()
        self._attempt: Future[T] | None = None
        self._built: list[T] = []
        self._failures = 0
        self._cause = ""
        self._retry_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether the value has been built, so that a call returns at once."""
        return bool(self._built)

    def __call__(self) -> T:
        if self._built:
            return self._built[0]
        with self._lock:
            if self._built:
                return self._built[0]
            running = self._attempt
            if running is None:
                wait = self._retry_at - time.monotonic()
                if self._failures and wait > 0:
                    raise NotReady(f"the last attempt failed: {self._cause}", wait)
                mine = self._attempt = Future()
        if running is None:
            return self._try(mine)
        try:
            return running.result()
        except Exception as error:
            wait = self._retry_at - time.monotonic()
            raise NotReady(f"the attempt in progress failed: {error}", wait) from None

    def _try(self, attempt: Future[T]) -> T:
        try:
            value = self._build()
        except BaseException as error:
            with self._lock:
                pause = self._pauses[min(self._failures, len(self._pauses) - 1)]
                self._failures += 1
                self._cause = str(error)
                self._retry_at = time.monotonic() + pause
                self._attempt = None
            if isinstance(error, ModelUnavailable):
                error.retry_after = pause
            attempt.set_exception(error)
            raise
        with self._lock:
            self._built.append(value)
            self._attempt = None
        attempt.set_result(value)
        return value


def warm_up(lazy: Lazy[T]) -> None:
    """Make each worker build the value as soon as it is forked, and retry until it succeeds.

    This cannot be done earlier: neither a thread nor a loaded network survives gunicorn's fork.
    """

    def build() -> None:
        while not lazy.ready:
            try:
                lazy()
            except ModelUnavailable as error:
                if not isinstance(error, NotReady):
                    logs.write("ERROR", f"{error.code}: {error}")
                time.sleep(max(error.retry_after, 0.1))
            except Exception:
                logs.write("ERROR", traceback.format_exc())
                time.sleep(PAUSES[-1])

    os.register_at_fork(after_in_child=lambda: threading.Thread(target=build, daemon=True).start())
