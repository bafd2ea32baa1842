"""Scheduling: `THREADS` quick requests run at once; slow ones run one at a time, the least work first.

If slow requests could use all of the `THREADS`, that many of them would make every quick one wait.
"""

import collections
import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token

from . import budget
from .errors import TimedOut

QUICK = 12_000_000
"""A request with more work than this, in the unit of `budget.MAX_WORK`, is slow: 0.12 s."""


class LeastWork:
    """A fair lock: the waiter with the least work gets it; of equal ones, the one that came first.

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
            TimedOut: the lock was not free in time.
        """
        mine = work, next(self._numbers)
        with self._changed:
            heapq.heappush(self._waiting, mine)
            acquired = self._changed.wait_for(lambda: not self._taken and self._waiting[0] == mine, seconds)
            self._waiting.remove(mine)
            heapq.heapify(self._waiting)
            self._taken = acquired or self._taken
            self._changed.notify_all()
        if not acquired:
            raise TimedOut("no turn came for it in time")
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


class Turns:
    """The scheduler of all requests in one process.

    Slots for quick requests are given first come, first served. `threading.Semaphore` is not fair: with it,
    some requests wait for many that came later.
    """

    def __init__(self, threads: int) -> None:
        self._lock = threading.Lock()
        self._free = threads
        self._waiting: collections.deque[threading.Lock] = collections.deque()
        self.slow = LeastWork()

    def enter(self, seconds: float) -> None:
        """Take a slot for a quick request; raises `TimedOut` if none is free in time."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            given = threading.Lock()
            given.acquire()
            self._waiting.append(given)
        if given.acquire(timeout=max(0.0, seconds)):
            return
        with self._lock:
            if given in self._waiting:  # otherwise, the slot has just been given to it
                self._waiting.remove(given)
                raise TimedOut("no thread was free for it in time")

    def leave(self) -> None:
        """Release the slot: give it to the request that has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def request(self, deadline: float, check: Callable[[], None]) -> "Slot":
        """Return the slot of a request, also as a context that holds it.

        Args:
            deadline: when the answer must be ready, by `time.monotonic()`.
            check: raises if nobody waits for the answer any more; called after each wait.
        """
        return Slot(self, deadline, check)


class Slot:
    """A running request, and whether it holds a slot for quick requests or the lock for slow ones.

    It holds a slot until it is released, or until the request turns out to be slow.
    """

    def __init__(self, turns: Turns, deadline: float, check: Callable[[], None]) -> None:
        self._turns = turns
        self._deadline = deadline
        self._check = check
        self._token: Token[Slot | None] | None = None
        self.is_quick = self.has_turn = False

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> None:
        """Wait for a slot; raises `TimedOut` if none is free before the deadline."""
        self._turns.enter(self._deadline - time.monotonic())
        self.is_quick = True
        try:
            self._check()
        except BaseException:
            self._leave()
            raise
        self._token = _current.set(self)

    def release(self) -> None:
        """Release the slot, if the request has taken one."""
        if self._token:
            _current.reset(self._token)
            self._token = None
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


_current: ContextVar[Slot | None] = ContextVar("running request", default=None)
_NO_WAIT = contextlib.nullcontext()


def turn(large: bool = False) -> AbstractContextManager[None]:
    """Return a context for one step of a request.

    It waits for the lock of slow requests if the request is slow by its work so far, or the step is `large`.
    Without a server, as in a batch job, it never waits.
    """
    running = _current.get()
    if running is None or running.has_turn or (running.is_quick and not large and budget.total() <= QUICK):
        return _NO_WAIT
    return running.turn()
