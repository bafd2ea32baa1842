"""Routes, answers and errors of the simulated cloud's calls, and the existing regions and roles."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NOW = "2026-01-01T00:00:00.000Z"
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
REASONS = {400: "invalid", 403: "forbidden", 404: "notFound", 409: "conflict", 412: "conditionNotMet"}
REGIONS = {
    *("africa-south1", "asia-east1", "asia-northeast1", "asia-south1", "asia-southeast1"),
    *("australia-southeast1", "europe-north1", "europe-west1", "europe-west2", "europe-west3"),
    *("europe-west4", "europe-west9", "me-west1", "northamerica-northeast1", "southamerica-east1"),
    *("us-central1", "us-east1", "us-east4", "us-west1", "us-west2"),
}
RUNTIMES = ("python310", "python311", "python312", "python313", "python314", "nodejs22", "go124")
ROLES = {
    *("roles/owner", "roles/editor", "roles/viewer", "roles/cloudbuild.builds.builder", "roles/run.admin"),
    *("roles/run.builder", "roles/run.invoker", "roles/run.developer", "roles/run.viewer"),
    *("roles/cloudfunctions.admin", "roles/cloudfunctions.developer", "roles/cloudfunctions.viewer"),
    *("roles/artifactregistry.reader", "roles/artifactregistry.writer", "roles/logging.logWriter"),
    *("roles/logging.viewer", "roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator"),
    *("roles/serviceusage.serviceUsageAdmin", "roles/serviceusage.serviceUsageConsumer"),
    *("roles/storage.admin", "roles/storage.objectAdmin", "roles/storage.objectCreator"),
    *("roles/storage.objectUser", "roles/storage.objectViewer", "roles/storage.bucketViewer"),
    *("roles/storage.legacyBucketOwner", "roles/storage.legacyBucketReader"),
    *("roles/storage.legacyBucketWriter", "roles/storage.legacyObjectOwner"),
    *("roles/browser", "roles/cloudbuild.builds.editor", "roles/artifactregistry.admin"),
    *("roles/iam.workloadIdentityUser", "roles/iam.serviceAccountAdmin"),
    "roles/storage.legacyObjectReader",
}
Policy = dict[str, Any]


class Refused(Exception):
    """A call that Google would answer with an error."""

    def __init__(self, code: int, message: str, status: str = "", details: Any = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, list(details)
        self.status = status or STATUSES.get(code, "INTERNAL")

    @property
    def body(self) -> dict[str, Any]:
        reason = {
            "message": self.message,
            "domain": "global",
            "reason": REASONS.get(self.code, "backendError"),
        }
        error = {"code": self.code, "message": self.message, "status": self.status, "errors": [reason]}
        return {"error": error | ({"details": self.details} if self.details else {})}


@dataclass
class Call:
    """One request, with its path without host and query; `body` is parsed if it is JSON."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    content: bytes
    host: str = ""
    lists: dict[str, list[str]] = field(default_factory=dict)

    @property
    def body(self) -> Any:
        if "json" in self.headers.get("Content-Type", "") and self.content:
            return json.loads(self.content)
        return {}


@dataclass
class Reply:
    """An answer that is not simply JSON with status 200."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[..., Any]
ROUTES: list[tuple[str, re.Pattern[str], str, Answer]] = []


def route(methods: str, path: str, service: str = "") -> Callable[[Answer], Answer]:
    """Answer `methods` on `path`, whose {} are passed on unquoted, if `service` is enabled."""

    def register(answer: Answer) -> Answer:
        pattern = re.escape(path).replace(r"\{\}", "([^/:]+)")
        ROUTES.append((methods, re.compile(pattern), service and f"{service}.googleapis.com", answer))
        return answer

    return register


def known(region: str) -> None:
    if region not in REGIONS:
        raise Refused(403, f"Permission denied on 'locations/{region}' (or it may not exist).")
