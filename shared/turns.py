"""Scheduling: `THREADS` quick requests run at once; slow ones run one at a time, the least work first.

If slow requests could use all of the `THREADS`, that many of them would make every quick one wait.
"""

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

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
        self.quick = threading.BoundedSemaphore(threads)
        self.slow = LeastWork()

    @contextlib.contextmanager
    def request(self, deadline: float, check: Callable[[], None]) -> Iterator[None]:
        """Wait for a place among the quick ones, and keep it until the request turns out to be slow.

        Args:
            deadline: until when an answer is of use, by `time.monotonic()`.
            check: raises if nobody waits for the answer any more; called after each wait.

        Raises:
            TimedOut: there was no place in time.
        """
        if not self.quick.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimedOut("no thread was free for it in time")
        mine = _Request(self, deadline, check)
        token = _current.set(mine)
        try:
            check()
            yield
        finally:
            _current.reset(token)
            mine.leave()


@dataclass
class _Request:
    """A running request: whether it holds a slot for quick requests, or the lock for slow ones."""

    turns: Turns
    deadline: float
    check: Callable[[], None]
    is_quick: bool = True
    has_turn: bool = False

    def leave(self) -> None:
        if self.is_quick:
            self.is_quick = False
            self.turns.quick.release()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        self.leave()
        with self.turns.slow.held(budget.total(), max(0.0, self.deadline - time.monotonic())):
            self.check()
            self.has_turn = True
            try:
                yield
            finally:
                self.has_turn = False


_current: ContextVar[_Request | None] = ContextVar("request at work", default=None)


@contextlib.contextmanager
def turn(large: bool = False) -> Iterator[None]:
    """Do a step of a request here: in a turn, if its work so far makes it slow, or if the step is `large`.

    Who calls without a server, as a batch job does, never waits.
    """
    mine = _current.get()
    if mine is None or mine.has_turn or (mine.is_quick and not large and budget.total() <= QUICK):
        yield
        return
    with mine.turn():
        yield
