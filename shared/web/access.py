"""The access log: one line for a request. Never what it brought."""

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
"""Labels in the message of a line; all of them are in a field of it."""


@dataclass
class Facts:
    """What is known of a request by its end, beside the request and its response.

    Attributes:
        model: the version of the model.
        began: when its thread took it, by `time.perf_counter()`.
        user: a hash of who signed in; empty if nobody did.
        request_id: what an engine calls this request; empty if it gives no name.
        cold: whether it found the model not in memory; None if it did not ask for it.
        labels: the label of each input, None for one that could not be classified; None if it had none.
        spans: where the time went, in seconds by name.
        cause: what went wrong on our side.
        stack_trace: where.
        id: what a 5xx tells the caller, so that its line can be found.
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
        """Keep why a 5xx is one; returns the id under which it is found."""
        self.id = self.id or uuid.uuid4().hex[:16]
        if isinstance(error, ServiceError):
            # The one request that made the attempt says why it failed.
            self.cause = self.cause or ("" if isinstance(error, NotReady) else f"{error.code}: {error}")
            self.stack_trace = error.trace if isinstance(error, Unexpected) else self.stack_trace
        else:
            self.cause = f"{type(error).__name__}: {error}"
            self.stack_trace = "".join(traceback.format_exception(error))
        return self.id

    @property
    def fields(self) -> dict[str, object]:
        """What the line says, but for what is not known."""
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


def _said(labels: Sequence[str]) -> str:
    """The labels, or of many how often each was given."""
    if len(labels) <= LISTED:
        return ", ".join(labels)
    return ", ".join(f"{count} {label}" for label, count in Counter(labels).most_common(LISTED))


def write(request: Request, response: Response, facts: Facts, project: str) -> None:
    """Write the line of a request, tied to the trace in this project."""
    status, path = response.status_code, request.path[:300]
    seconds = time.perf_counter() - facts.began
    bad = "ERROR" if status >= 500 or facts.id else "WARNING"
    summary = facts.cause or _said([label for label in facts.labels or () if label])
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
