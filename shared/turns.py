"""Scheduling: `THREADS` quick requests run at once; slow ones run one at a time, the least work first.

If slow requests could use all of the `THREADS`, that many of them would make every quick one wait.
"""

import contextlib
import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar

from . import budget
from .errors import TimedOut

QUICK = 12_000_000
"""A request with more work than this is slow, in the unit of `budget.MAX_WORK`: 0.12 s."""


class LeastWork:
    """A fair lock: the waiter with the least work gets it; among equals, the first one.

    With `threading.Lock`, a thread that has just released the lock may get it again at once (starvation).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self._taken = False

    @contextlib.contextmanager
    def held(self, work: int, seconds: float | None = None) -> Iterator[None]:
        """Acquire the lock, waiting at most `seconds`, and hold it inside this context.

        Raises:
            TimedOut: it was not free in time.
        """
        mine = work, next(self._numbers)
        with self._changed:
            heapq.heappush(self._waiting, mine)
            had = self._changed.wait_for(lambda: not self._taken and self._waiting[0] == mine, seconds)
            self._waiting.remove(mine)
            heapq.heapify(self._waiting)
            self._taken = had or self._taken
            self._changed.notify_all()
        if not had:
            raise TimedOut("no turn came for it in time")
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


class Turns:
    """The scheduler of all requests of one process."""

    def __init__(self, threads: int) -> None:
        # A semaphore in C: each request passes it.
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(threads):
            self._places.put(None)
        self.slow = LeastWork()

    def enter(self, seconds: float) -> None:
        """Take a place among the quick ones; raises `TimedOut` if there is none in time."""
        try:
            self._places.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise TimedOut("no thread was free for it in time") from None

    def leave(self) -> None:
        """Give the place to another."""
        self._places.put(None)

    def request(self, deadline: float, check: Callable[[], None]) -> "_Request":
        """Wait for a place among the quick ones, and keep it until the request turns out to be slow.

        Args:
            deadline: until when an answer is of use, by `time.monotonic()`.
            check: raises if nobody waits for the answer any more; called after each wait.

        Raises:
            TimedOut: there was no place in time; raised as the context is entered.
        """
        return _Request(self, deadline, check)


class _Request:
    """A running request: whether it holds a slot for quick requests, or the lock for slow ones."""

    def __init__(self, turns: Turns, deadline: float, check: Callable[[], None]) -> None:
        self._turns = turns
        self._deadline = deadline
        self._check = check
        self.is_quick = self.has_turn = False

    def __enter__(self) -> None:
        self._turns.enter(self._deadline - time.monotonic())
        self.is_quick = True
        try:
            self._check()
        except BaseException:
            self._leave()
            raise
        self._token = _current.set(self)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        self._leave()

    def _leave(self) -> None:
        if self.is_quick:
            self.is_quick = False
            self._turns.leave()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        self._leave()
        with self._turns.slow.held(budget.total(), max(0.0, self._deadline - time.monotonic())):
            self._check()
            self.has_turn = True
            try:
                yield
            finally:
                self.has_turn = False


_current: ContextVar[_Request | None] = ContextVar("request at work", default=None)
_AT_ONCE = contextlib.nullcontext()


def turn(large: bool = False) -> AbstractContextManager[None]:
    """Do a step of a request here: in a turn, if its work so far makes it slow, or if the step is `large`.

    Who calls without a server, as a batch job does, never waits.
    """
    mine = _current.get()
    if mine is None or mine.has_turn or (mine.is_quick and not large and budget.total() <= QUICK):
        return _AT_ONCE
    return mine.turn()
