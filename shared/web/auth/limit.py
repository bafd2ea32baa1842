"""How often one caller may call: a token bucket for each, in the memory of one instance."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from ...errors import TooManyRequests
from ...settings import Rate

MOST = 10_000
"""Callers to remember at most; beyond that, the least recent caller is forgotten."""


class Limit:
    """Counts the calls of each caller. Any number of threads may use it at once."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        # For each caller: how many calls are left, and when they were counted.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, caller: str) -> None:
        """Count one call; raises `TooManyRequests` if the caller has none left."""
        now, rate = self._clock(), self._rate
        with self._lock:
            left, counted = self._left.pop(caller, (float(rate.calls), now))
            left = min(rate.calls, left + (now - counted) * rate.calls / rate.seconds)
            enough = left >= 1
            self._left[caller] = (left - 1 if enough else left, now)
            if len(self._left) > MOST:
                self._left.popitem(last=False)
        if not enough:
            wait = (1 - left) * rate.seconds / rate.calls
            raise TooManyRequests(
                f"expected at most {rate.calls} requests in {rate.seconds:.0f} seconds from one caller", wait
            )
