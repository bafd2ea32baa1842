"""The access log: one line for each request, never with its inputs."""

import time
import traceback
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from flask import Request, Response

from .. import logs
from ..errors import NotReady, ServiceError, Unexpected

LISTED = 10
"""The most labels in the message of a line; a field of the line has all labels."""


@dataclass
class Facts:
    """What the log line says about a request, besides the request and its response.

    Attributes:
        model: the version of the model.
        began: when a thread began to handle it, by `time.perf_counter()`.
        user: a hash of the user who signed in; empty if nobody did.
        request_id: the engine's own ID of this request; empty if it has none.
        cold: whether the model was not in memory yet; None if the request did not need it.
        labels: the label of each input, or None for an input with an error; None if there were no inputs.
        spans: how long each step took, in seconds by name.
        cause: the reason of a 5xx.
        stack_trace: its stack trace.
        id: the ID that a 5xx gives the caller, by which this line can be found.
    """

    model: str
    began: float = field(default_factory=time.perf_counter)
    user: str = ""
    request_id: str = ""
    cold: bool | None = None
    labels: list[str | None] | None = None
    spans: dict[str, float] = field(default_factory=dict)
    cause: str = ""
    stack_trace: str = ""
    id: str = ""

    def blame(self, error: Exception) -> str:
        """Keep the cause of a 5xx; return the ID under which the log has it."""
        self.id = self.id or uuid.uuid4().hex[:16]
        if isinstance(error, ServiceError):
            # Only the request that tried to load the model logs why that failed.
            self.cause = self.cause or ("" if isinstance(error, NotReady) else f"{error.code}: {error}")
            self.stack_trace = error.trace if isinstance(error, Unexpected) else self.stack_trace
        else:
            self.cause = f"{type(error).__name__}: {error}"
            self.stack_trace = "".join(traceback.format_exception(error))
        return self.id

    @property
    def fields(self) -> dict[str, object]:
        """The fields of the line, without those that are not known."""
        fields = {
            "model": self.model,
            "user": self.user or None,
            "requestId": self.request_id or None,
            "cold": self.cold,
            "labels": self.labels,
            "instances": None if self.labels is None else len(self.labels),
            "stack_trace": self.stack_trace or None,
            "id": self.id or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def _listed(labels: Sequence[str]) -> str:
    """The labels; if there are many, how often each occurs."""
    if len(labels) <= LISTED:
        return ", ".join(labels)
    return ", ".join(f"{count} {label}" for label, count in Counter(labels).most_common(LISTED))


def write(request: Request, response: Response, facts: Facts, project: str) -> None:
    """Write the log line of a request, linked to its trace in this project."""
    status, path = response.status_code, request.path[:300]
    seconds = time.perf_counter() - facts.began
    bad = "ERROR" if status >= 500 or facts.id else "WARNING"
    summary = facts.cause or _listed([label for label in facts.labels or () if label])
    http = {
        "requestMethod": request.method[:20],
        "requestUrl": path,
        "status": status,
        "requestSize": str(request.content_length or 0),
        "responseSize": str(response.content_length or 0),
        "userAgent": request.headers.get("User-Agent", "")[:300],
        "latency": f"{seconds:.6f}s",
    }
    logs.write(
        bad if status >= 400 or facts.id else "INFO",
        f"{request.method[:20]} {path} {status} {1000 * seconds:.1f} ms {summary}".rstrip(),
        httpRequest=http,
        milliseconds={name: round(1000 * value, 2) for name, value in list(facts.spans.items())},
        **facts.fields,
        **logs.trace(request.headers, project),
    )
