"""How long the parts of a cold start take, told once each on standard output."""

import contextlib
import json
import time
from collections.abc import Iterator

_told: set[str] = set()


@contextlib.contextmanager
def part(name: str) -> Iterator[None]:
    """Tell how long this took, the first time in this process that it is done."""
    began = time.perf_counter()
    yield
    if name not in _told:
        _told.add(name)
        print(json.dumps({"part": name, "seconds": time.perf_counter() - began}), flush=True)
