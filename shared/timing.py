"""Measure the steps of a request, for its `Server-Timing` header and its log line.

The context managers here are classes: as generators they would take three times as long.
"""

import time
from contextvars import ContextVar

_current: ContextVar[dict[str, float] | None] = ContextVar("spans", default=None)


class collected:  # noqa: N801 (read as a verb, like contextlib.suppress)
    """Collect the spans inside this context: a mapping of name to seconds, summed if a name occurs again."""

    def __enter__(self) -> dict[str, float]:
        self._outer = _current.get()
        self._spans: dict[str, float] = {}
        self._token = _current.set(self._spans)
        return self._spans

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        for name, seconds in self._spans.items():
            if self._outer is not None:
                self._outer[name] = self._outer.get(name, 0.0) + seconds


class span:  # noqa: N801
    """Add the time spent inside this context to the span `name`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spans = _current.get()
        if spans is not None:
            spans[self._name] = spans.get(self._name, 0.0) + time.perf_counter() - self._began


def header(spans: dict[str, float], cold: bool) -> str:
    """Return the value of `Server-Timing`: milliseconds for each span, and the marker `cold`."""
    parts = [f"{name};dur={1000 * seconds:.2f}" for name, seconds in spans.items()]
    return ", ".join([*parts, "cold"] if cold else parts)
