"""A simulated Google Cloud on loopback, for gcloud and the Cloud Storage client, with one state.

It checks what it is sent as far as Google's documentation says what Google would check, but has never been
compared with Google's servers. Of IAM, only the right to build is enforced; log filters are ignored.
"""

import contextlib
import http.server
import io
import json
import re
import threading
import traceback
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import bigquery, monitoring, pools  # noqa: F401 (their routes)
from .appengine import App
from .calls import ROUTES, Call, Policy, Refused, Reply
from .functions import Functions
from .projects import BASIC
from .run import Service
from .storage import Bucket, Object, Storage

__all__ = ["BASIC", "App", "Bucket", "Cloud", "Object", "Refused", "Service", "cloud"]

MEMBER = re.compile(
    r"(user|group|serviceAccount|domain|deleted|principal|principalSet):.+|all(Authenticated)?Users"
)
OVERRIDDEN = (
    *(
        "APPENGINE",
        "CLOUDFUNCTIONS",
        "SERVICEUSAGE",
        "CLOUDBUILD",
        "CLOUDRESOURCEMANAGER",
        "IAM",
        "IAMCREDENTIALS",
    ),
    *("ARTIFACTREGISTRY", "LOGGING", "CLOUDBILLING", "MONITORING", "BIGQUERY"),
)


class Cloud(Storage, Functions, http.server.ThreadingHTTPServer):
    """One project and its resources; every public attribute may be read and set.

    Attributes:
        requests: (method, path with query, parsed body) of each call so far.
        unknown: calls that nothing here answers.
        services: names of enabled APIs, such as `run.googleapis.com`.
        app: what App Engine has, once there is an application.
        accounts: service accounts by email; functions, sources (zip files) and runs (Cloud Run) by name.
        builders_may_build: whether the default account may build from the start, as outside an organisation.
        on_deploy: called with name, resource and zip; may start it and return its URL, or raise to fail.
        refuse: called with method and path; returns a status and a message to refuse the call with, or None.
        fail_operation: message with which the next deployment or deletion of a function ends.
        hang_up_after: from this call on (1 is the first), connections are closed without an answer.
        stop_after: at this call `on_stop` is called, before the call has had any effect; it gets no answer.
        policies, channels: what Cloud Monitoring has; pools: those of Workload Identity Federation.
        contexts: by image, the files that it was built from with a Dockerfile.
        datasets: where each dataset of BigQuery lies, by name; routines by DATASET.NAME; connections by path.
        logs: entries that Cloud Logging returns, whatever is asked for.
        settings: the environment of whoever calls; for the tests alone.
    """

    daemon_threads = True

    def __init__(self, project: str = "demo-project") -> None:
        Storage.__init__(self)
        http.server.ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.project, self.number, self.billing = project, "123456789012", True
        self.requests: list[tuple[str, str, Any]] = []
        self.unknown: list[str] = []
        self.services = {f"{name}.googleapis.com" for name in BASIC}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.functions: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, bytes] = {}
        self.runs: dict[str, Service] = {}
        self.app: App | None = None
        self.policy: Policy = {
            "version": 1,
            "bindings": [{"role": "roles/owner", "members": ["user:me@example.com"]}],
        }
        self.account_policies: dict[str, Policy] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, dict[str, Any]] = {}
        self.pools: dict[str, dict[str, Any]] = {}
        self.datasets: dict[str, str] = {}
        self.routines: dict[str, dict[str, Any]] = {}
        self.connections: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.count = 0
        self.builders_may_build = False
        self.logs: list[dict[str, Any]] = []
        self.settings: dict[str, str] = {}
        self.on_deploy: Callable[[str, dict[str, Any], bytes], str | None] | None = None
        self.refuse: Callable[[str, str], tuple[int, str] | None] = lambda _method, _path: None
        self.fail_operation: str | None = None
        self.hang_up_after: int | None = None
        self.stop_after: int | None = None
        self.on_stop: Callable[[], None] = lambda: None
        self.zips: dict[str, bytes] = {}
        self.images: dict[str, bytes] = {}
        self.contexts: dict[str, dict[str, bytes]] = {}
        self.builds: dict[str, dict[str, Any]] = {}
        self.repositories: set[str] = set()
        self.operations: dict[str, tuple[threading.Thread, dict[str, Any]]] = {}
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that disconnect, which the tests do on purpose."""

    def environment(self, folder: Path) -> dict[str, str]:
        """Return variables that connect gcloud (its files are in `folder`) and the client to this cloud."""
        settings = folder / "gcloud"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "token").write_text("token")
        host, port = self.server_address[:2]
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{self.url}/" for api in OVERRIDDEN}
        return overrides | {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{self.url}/storage/v1/",
            # gcloud puts the region in front of this host name, so that only a proxy can answer for it.
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN": "http://run.fake.invalid/",
            "CLOUDSDK_PROXY_TYPE": "http",
            "CLOUDSDK_PROXY_ADDRESS": str(host),
            "CLOUDSDK_PROXY_PORT": str(port),
            "CLOUDSDK_CONFIG": str(settings),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(settings / "token"),
            "CLOUDSDK_CORE_PROJECT": self.project,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_METRICS_ENVIRONMENT": "x",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "STORAGE_EMULATOR_HOST": self.url,
            "GOOGLE_CLOUD_PROJECT": self.project,
            "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
        }

    def enabled(self, service: str) -> None:
        if service and service not in self.services:
            where = f"https://console.developers.google.com/apis/api/{service}/overview?project={self.number}"
            message = (
                f"{service} has not been used in project {self.number} before or it is disabled."
                f" Enable it by visiting {where} then retry."
                " If you enabled this API recently, wait a few minutes for the action to"
                " propagate to our systems and retry."
            )
            metadata = {"service": service, "consumer": f"projects/{self.number}", "activationUrl": where}
            kind = "type.googleapis.com/google.rpc.ErrorInfo"
            detail = {
                "@type": kind,
                "reason": "SERVICE_DISABLED",
                "domain": "googleapis.com",
                "metadata": metadata,
            }
            raise Refused(403, message, details=[detail])

    def answer(self, call: Call) -> Any:
        """Find the route of a call and run its handler.

        Raises:
            Refused: nothing answers it, or what does says no.
        """
        if refusal := self.refuse(call.method, call.path):
            raise Refused(*refusal)
        named = re.search(r"/(?:projects|namespaces)/([^/:]+)", call.path)
        for methods, pattern, service, answer in ROUTES:
            found = pattern.fullmatch(call.path)
            if found and call.method in methods.split():
                if named and named[1] not in (self.project, self.number, "-", "_"):
                    raise Refused(
                        403, f"Permission denied on resource project {named[1]} (or it may not exist)."
                    )
                self.enabled(service)
                return answer(self, call, *map(urllib.parse.unquote, found.groups()))
        self.unknown.append(f"{call.method} {call.path}")
        raise Refused(405, f"This pretended cloud does not know {call.method} {call.path}.")

    def check(self, policy: Policy) -> Policy:
        super().check(policy)
        for member in (each for binding in policy.get("bindings", []) for each in binding.get("members", [])):
            email = member.removeprefix("serviceAccount:")
            ours = member != email and email.endswith(f"@{self.project}.iam.gserviceaccount.com")
            if not MEMBER.fullmatch(member):
                raise Refused(400, f"Invalid value: member {member!r} is of an unknown type.")
            if ours and email not in self.accounts:
                raise Refused(400, f"Service account {email} does not exist.")
        return policy

    def allows(self, email: str, *roles: str) -> bool:
        """Whether the project's policy gives the service account one of the roles."""
        member = f"serviceAccount:{email}"
        return any(member in each["members"] for each in self.policy["bindings"] if each["role"] in roles)

    @property
    def default_account(self) -> str:
        return f"{self.number}-compute@developer.gserviceaccount.com"

    def account(self, email: str) -> dict[str, Any]:
        if email not in self.accounts:
            raise Refused(404, f"Unknown service account: {email}")
        return self.accounts[email]

    def add_account(self, email: str, **more: str) -> dict[str, Any]:
        name = f"projects/{self.project}/serviceAccounts/{email}"
        known = {
            "name": name,
            "projectId": self.project,
            "email": email,
            "uniqueId": str(10**20 + len(self.accounts)),
        }
        return self.accounts.setdefault(email, known | more | {"etag": "MDEwMjE5MjA="})

    def build(self, content: bytes, builder: str) -> None:
        """Refuse sources that Google's build of a Python function would fail on."""
        if not self.allows(builder, "roles/cloudbuild.builds.builder", "roles/editor", "roles/owner"):
            raise Refused(
                400,
                "Build failed with status: FAILURE. Could not build the function due to a missing"
                " permission on the build service account.",
            )
        files = zipfile.ZipFile(io.BytesIO(content)).namelist()
        if "main.py" not in files:
            raise Refused(
                400,
                "Build failed with status: FAILURE and message: missing main.py and"
                " GOOGLE_FUNCTION_SOURCE not specified. Either create the function in main.py or specify"
                " GOOGLE_FUNCTION_SOURCE to point to the file that contains the function.",
            )


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads a request and writes the cloud's answer; also acts as a proxy for any host."""

    protocol_version = "HTTP/1.1"
    server: Cloud

    def content(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def handle_call(self) -> None:
        # The target of a CONNECT has no path; it is recorded among the unknown calls.
        asked = urllib.parse.urlsplit(self.path if self.command != "CONNECT" else f"/{self.path}")
        lists = urllib.parse.parse_qs(asked.query, keep_blank_values=True)
        query = {name: values[-1] for name, values in lists.items()}
        host = asked.netloc or self.headers.get("Host", "")
        call = Call(self.command, asked.path, query, self.headers, self.content(), host, lists)
        with self.server.lock:
            self.server.requests.append(
                (call.method, asked._replace(scheme="", netloc="").geturl(), call.body)
            )
            count = len(self.server.requests)
        if count == self.server.stop_after:
            self.server.on_stop()
        if count == self.server.stop_after or count >= (self.server.hang_up_after or count + 1):
            self.close_connection = True
            return
        try:
            answer = self.server.answer(call)
        except Refused as refused:
            answer = Reply(refused.code, json.dumps(refused.body).encode())
        except Exception:
            # A missing field, or a bug here: without an answer gcloud would retry for half a minute.
            self.server.unknown.append(f"{call.method} {call.path}\n{traceback.format_exc()}")
            answer = Reply(400, b'{"error": {"code": 400, "message": "The call was not understood."}}')
        if not isinstance(answer, Reply):
            answer = Reply(200, json.dumps(answer).encode())
        answer.headers.setdefault("Content-Type", "application/json; charset=UTF-8")
        self.send_response(answer.status)
        for name, value in (answer.headers | {"Content-Length": str(len(answer.content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_call  # noqa: N815

    def do_CONNECT(self) -> None:
        """Answer gcloud's request for a tunnel: a tunnel to this server is this connection itself."""
        if self.path != self.server.url.removeprefix("http://"):
            self.handle_call()
        else:
            self.send_response(200)
            self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def cloud(project: str = "demo-project") -> Iterator[Cloud]:
    """Run a new, empty cloud."""
    server = Cloud(project)
    try:
        yield server
    finally:
        server.close()
