"""Build a value once, however many threads ask for it at the same time."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Calling it returns `build()`, built by the first caller while the others wait.

    A failure is not kept: it is raised to the caller, and the next call builds again.
    """

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._built: list[T] = []

    @property
    def ready(self) -> bool:
        """Whether the value is there, so that a call would return at once."""
        return bool(self._built)

    def __call__(self) -> T:
        if not self._built:
            with self._lock:
                if not self._built:
                    self._built.append(self._build())
        return self._built[0]
