"""Where the time of a request goes, for its `Server-Timing` header and its log line."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

_current: ContextVar[dict[str, float] | None] = ContextVar("spans", default=None)


@contextlib.contextmanager
def collected() -> Iterator[dict[str, float]]:
    """Collect the spans of what is done here: name to seconds, those of one name added up."""
    outer = _current.get()
    spans: dict[str, float] = {}
    token = _current.set(spans)
    try:
        yield spans
    finally:
        _current.reset(token)
        for name, seconds in spans.items():
            if outer is not None:
                outer[name] = outer.get(name, 0.0) + seconds


@contextlib.contextmanager
def span(name: str) -> Iterator[None]:
    """Count the time spent here under `name`."""
    began = time.perf_counter()
    try:
        yield
    finally:
        spans = _current.get()
        if spans is not None:
            spans[name] = spans.get(name, 0.0) + time.perf_counter() - began


def header(spans: dict[str, float], cold: bool) -> str:
    """Return the value of `Server-Timing`: milliseconds for each span, and the marker `cold`."""
    parts = [f"{name};dur={1000 * seconds:.2f}" for name, seconds in spans.items()]
    return ", ".join([*parts, "cold"] if cold else parts)
