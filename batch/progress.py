"""Prints every few seconds how many rows a local run has scored, in all its processes together."""

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

VARIABLE = "BATCH_PROGRESS"
SECONDS = 5.0
"""Seconds between two lines."""


def count(rows: int) -> None:
    """Count rows, if `shown` is active: each process appends a byte to a file for each row."""
    if path := os.environ.get(VARIABLE):
        with contextlib.suppress(OSError):
            os.write(_opened(path), b"." * rows)


@cache
def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND)


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Write a line to standard error every few seconds while the context lasts."""
    with tempfile.NamedTemporaryFile(prefix="batch-") as file:
        over = threading.Event()
        began = time.monotonic()

        def show() -> None:
            while not over.wait(SECONDS):
                rows, passed = Path(file.name).stat().st_size, time.monotonic() - began
                sys.stderr.write(f"{rows:,} rows in {passed:.0f} s, {rows / passed:,.0f} a second\n")

        watcher = threading.Thread(target=show, name="progress", daemon=True)
        os.environ[VARIABLE] = file.name
        watcher.start()
        try:
            yield
        finally:
            del os.environ[VARIABLE]
            over.set()
            watcher.join()
