"""Structured logs: one JSON object a line for Cloud Logging, plain text in a terminal."""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # programs without a server, and without werkzeug, write logs too
    from werkzeug.datastructures import Headers


def write(severity: str, message: str, **fields: Any) -> None:
    """Write one log entry to standard output. Threads do not interleave their entries."""
    now = datetime.datetime.now(datetime.UTC)
    if sys.stdout.isatty():
        trace = fields.get("stack_trace", "")
        # Escape control characters, because a message may contain what a caller sent.
        shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
        line = f"{now.astimezone():%H:%M:%S} {severity:<7} {shown}" + (f"\n{trace}" if trace else "")
    else:
        content = {"severity": severity, "time": now.isoformat(timespec="milliseconds"), "message": message}
        line = json.dumps({**content, **fields})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


_FORMAT = logging.Formatter()
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2}).*")
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/(\d{1,20}))?(?:;o=(\d))?")


class Library(logging.Handler):
    """Writes the log records and warnings of libraries in our format.

    At most `LINES` in a process, because a client may be able to cause one with each request.
    """

    LINES = 50

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._left = self.LINES

    def emit(self, record: logging.LogRecord) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        message = record.getMessage()[:1000] if self._left else "further warnings of libraries are not logged"
        extra = {"stack_trace": _FORMAT.formatException(record.exc_info)} if record.exc_info else {}
        write(record.levelname, message, logger=record.name, **extra)


def capture() -> None:
    """Route the log records and warnings of libraries through `Library`."""
    logging.basicConfig(handlers=[Library()], force=True)
    logging.captureWarnings(True)
    # By default Python remembers each distinct warning for ever, to show it once: a memory leak.
    warnings.simplefilter("always", append=True)


def trace(headers: Mapping[str, str] | Headers, project: str) -> dict[str, Any]:
    """Return the log fields that link an entry to the platform's trace.

    The trace is in the header `traceparent` or `X-Cloud-Trace-Context`.
    """
    if (value := headers.get("Traceparent")) and (match := _TRACEPARENT.fullmatch(value)):
        name, span, sampled = match[1], match[2], int(match[3], 16) & 1 == 1
    elif (value := headers.get("X-Cloud-Trace-Context")) and (match := _CLOUD_TRACE.fullmatch(value)):
        name, span, sampled = match[1].lower(), f"{int(match[2] or 0):016x}", match[3] == "1"
    else:
        return {}
    return {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{name}" if project else name,
        "logging.googleapis.com/spanId": span,
        "logging.googleapis.com/trace_sampled": sampled,
    }
