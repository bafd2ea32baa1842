"""Summarise a function's log entries: calls, cold starts, errors, latency."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .gcloud import dig, text

MAX_ENTRIES = 5000
"""The most entries to read: gcloud fetches this many in about ten seconds."""


def filter_of(name: str, region: str, *more: str) -> str:
    """Return the filter for a function's own log entries."""
    parts = (
        'resource.type="cloud_run_revision"',
        f'resource.labels.service_name="{name}"',
        f'resource.labels.location="{region}"',
        *more,
    )
    return " AND ".join(parts)


CALLS = ('logName:"run.googleapis.com%2Fstdout"', 'httpRequest.requestMethod="POST"')
"""Match the entries that functions write for calls, not the platform's own for the same requests."""


def summary(entries: Sequence[Mapping[str, Any]]) -> str:
    """Summarise calls in one line."""
    calls = [request(each) for each in entries]
    calls = [each for each in calls if each]
    if not calls:
        return "no calls"
    cold = sum(dig(each, "jsonPayload", "cold") is True for each in entries)
    errors = sum(int(each.get("status") or 0) >= 500 for each in calls)
    times = sorted(seconds for each in calls if (seconds := _seconds(text(each, "latency"))) is not None)
    count = f"the last {len(calls):,}" if len(entries) >= MAX_ENTRIES else f"{len(calls):,}"
    line = f"{count} calls, {cold:,} met a cold start, {errors:,} errors ({errors / len(calls):.1%})"
    if times:
        line += f", p95 {1000 * times[math.ceil(0.95 * len(times)) - 1]:.0f} ms"
    return line


def request(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the HTTP request of an entry, which Cloud Logging moves out of the payload."""
    request_fields = dig(entry, "httpRequest") or dig(entry, "jsonPayload", "httpRequest")
    return request_fields if isinstance(request_fields, dict) else {}


def _seconds(latency: str) -> float | None:
    try:
        return float(latency.removesuffix("s"))
    except ValueError:
        return None


def format_entry(entry: Mapping[str, Any]) -> str:
    """Format an entry for a terminal."""
    message = text(entry, "textPayload") or text(entry, "jsonPayload", "message")
    if not message and (http := request(entry)):
        message = f"{http.get('requestMethod', '')} {http.get('requestUrl', '')} {http.get('status', '')}"
    trace = text(entry, "jsonPayload", "stack_trace")
    # Control characters that a caller sent must not reach the terminal.
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
    head = f"{text(entry, 'timestamp')[:19]} {text(entry, 'severity') or 'DEFAULT':<8} {shown}"
    return f"{head}\n{trace}" if trace else head
