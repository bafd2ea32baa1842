"""A pretended Google Cloud on loopback, for gcloud and for the Cloud Storage client, on one state.

It checks what it is sent as far as Google's documentation says what Google would check, but has never been
compared with Google's servers. Of IAM, only the right to build is enforced; log filters are ignored.
"""

import base64
import contextlib
import copy
import hashlib
import http.server
import io
import json
import re
import threading
import traceback
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud_storage import NOW, REGIONS, ROUTES, Bucket, Call, Object, Policy, Refused, Reply, Storage, route

__all__ = ["Bucket", "Cloud", "Object", "Refused", "Service", "cloud"]

# On in every project from its first day.
BASIC = {"logging", "monitoring", "servicemanagement", "serviceusage", "storage", "storage-api"}
KNOWN = BASIC | {
    *("artifactregistry", "cloudbilling", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "compute"),
    *("eventarc", "iam", "iamcredentials", "pubsub", "run", "secretmanager", "sts"),
}
NEED_BILLING = {"artifactregistry", "cloudbuild", "cloudfunctions", "compute", "run", "secretmanager"}
RUNTIMES = ("python310", "python311", "python312", "python313", "python314", "nodejs22", "go124")
RESERVED = {
    "PORT",
    "K_SERVICE",
    "K_REVISION",
    "K_CONFIGURATION",
    "FUNCTION_TARGET",
    "FUNCTION_SIGNATURE_TYPE",
}
# CPU that a function gets for its memory in MiB, and the most memory that a CPU allows.
CPU_FOR = {128: 0.083, 256: 0.1666, 512: 0.3333, 1024: 0.5833, 2048: 1, 4096: 2, 8192: 2, 16384: 4, 32768: 8}
MEMORY_FOR = {0.5: 512, 1: 1024, 2: 4096, 4: 8192, 8: 16384}
MEMBER = re.compile(
    r"(user|group|serviceAccount|domain|deleted|principal|principalSet):.+|all(Authenticated)?Users"
)
OVERRIDDEN = (
    *("CLOUDFUNCTIONS", "SERVICEUSAGE", "CLOUDBUILD", "CLOUDRESOURCEMANAGER", "IAM", "IAMCREDENTIALS"),
    *("ARTIFACTREGISTRY", "LOGGING", "CLOUDBILLING"),
)


@dataclass
class Service:
    """A Cloud Run service: `traffic` as its specification has it, `urls` where each revision really runs."""

    name: str
    region: str
    revisions: dict[str, dict[str, Any]] = field(default_factory=dict)
    traffic: list[dict[str, Any]] = field(default_factory=lambda: [{"latestRevision": True, "percent": 100}])
    policy: Policy = field(default_factory=lambda: {"version": 1, "bindings": []})
    urls: dict[str, str] = field(default_factory=dict)
    generation: int = 1
    labels: dict[str, str] = field(default_factory=lambda: {"goog-managed-by": "cloudfunctions"})

    @property
    def latest(self) -> str:
        return next(reversed(self.revisions))

    @property
    def pinned(self) -> bool:
        """Whether new revisions get no traffic by themselves."""
        return not any(each.get("latestRevision") and each.get("percent") for each in self.traffic)

    @property
    def serving(self) -> dict[str, int]:
        """Revisions and the percentage of the traffic that each gets."""
        shares = [(each.get("revisionName") or self.latest, each.get("percent", 0)) for each in self.traffic]
        return {name: percent for name, percent in shares if percent}

    @property
    def url(self) -> str:
        """Where the revision with most of the traffic answers: a real address, if its deployment gave one."""
        most = max(self.serving, key=self.serving.__getitem__)
        return self.urls.get(most) or f"https://{self.name}-0123456789-ew.a.run.app"

    def revise(self, template: dict[str, Any], url: str = "") -> str:
        count = 1 + max([int(name.split("-")[-2]) for name in self.revisions], default=0)
        name = f"{self.name}-{count:05}-{'bcdfghjklm'[count % 10]}ab"
        self.revisions[name] = template
        self.urls[name] = url
        return name


class Cloud(Storage, http.server.ThreadingHTTPServer):
    """One project and what is in it; every public attribute may be read and set.

    Attributes:
        requests: (method, path with query, parsed body) of each call so far.
        unknown: calls that nothing here answers.
        services: names of enabled APIs, such as `run.googleapis.com`.
        accounts: service accounts by email; functions, sources (zip files) and runs (Cloud Run) by name.
        builders_may_build: whether the default account may build from the start, as outside an organisation.
        on_deploy: called with name, resource and zip; may start it and return its URL, or raise to fail.
        refuse: called with method and path; returns a status and a message to refuse the call with, or None.
        fail_operation: message with which the next deployment or deletion of a function ends.
        hang_up_after: from this call on (1 is the first), connections are closed without an answer.
        stop_after: at this call `on_stop` is called, before the call has had any effect; it gets no answer.
        logs: entries that Cloud Logging returns, whatever is asked for.
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
        self.policy: Policy = {
            "version": 1,
            "bindings": [{"role": "roles/owner", "members": ["user:me@example.com"]}],
        }
        self.account_policies: dict[str, Policy] = {}
        self.builders_may_build = False
        self.logs: list[dict[str, Any]] = []
        self.on_deploy: Callable[[str, dict[str, Any], bytes], str | None] | None = None
        self.refuse: Callable[[str, str], tuple[int, str] | None] = lambda _method, _path: None
        self.fail_operation: str | None = None
        self.hang_up_after: int | None = None
        self.stop_after: int | None = None
        self.on_stop: Callable[[], None] = lambda: None
        self.zips: dict[str, bytes] = {}
        self.images: dict[str, bytes] = {}
        self.repositories: set[str] = set()
        self.operations: dict[str, tuple[threading.Thread, dict[str, Any]]] = {}
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """A client that is stopped half-way is what is tested here."""

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables that send gcloud, with its files in `folder`, and the Cloud Storage client here."""
        settings = folder / "gcloud"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "token").write_text("token")
        host, port = self.server_address[:2]
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{self.url}/" for api in OVERRIDDEN}
        return overrides | {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{self.url}/storage/v1/",
            # gcloud puts the region in front of this name, so that only a proxy can answer for it.
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
        """Find the route of a call and follow it.

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

    def function(self, region: str, name: str) -> dict[str, Any]:
        path = f"projects/{self.project}/locations/{region}/functions/{name}"
        if self.functions.get(name, {}).get("name") != path:
            raise Refused(404, f"Resource '{path}' was not found")
        found = copy.deepcopy(self.functions[name])
        if name in self.runs and "serviceConfig" in found:
            run = self.runs[name]
            found["serviceConfig"] |= {"uri": run.url, "allTrafficOnLatestRevision": not run.pinned}
            local = run.url.startswith("http:")
            found["url"] = run.url if local else f"https://{region}-{self.project}.cloudfunctions.net/{name}"
        return found

    def operate(
        self, region: str, kind: str, target: str, work: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Start an operation on a function in a thread of its own; `work` returns its response or raises."""
        name = f"projects/{self.project}/locations/{region}/operations/operation-{len(self.operations) + 1}"
        metadata = {
            "@type": "type.googleapis.com/google.cloud.functions.v2.OperationMetadata",
            "createTime": NOW,
            "target": target,
            "verb": kind,
            "apiVersion": "v2",
            "stages": [],
        }
        operation: dict[str, Any] = {"name": name, "metadata": metadata, "done": False}
        failure, self.fail_operation = self.fail_operation, None

        def run() -> None:
            try:
                if failure is not None:
                    raise Refused(400, failure)
                operation["response"] = work()
            except Exception as error:
                operation["error"] = {"code": 3, "message": str(error)}
                self.failed(target.rsplit("/", 1)[1], kind, str(error))
            operation["done"] = True

        thread = threading.Thread(target=run, daemon=True)
        self.operations[name] = (thread, operation)
        thread.start()
        return {"name": name, "metadata": metadata, "done": False}

    def failed(self, name: str, kind: str, message: str) -> None:
        """What stays of a deployment that failed: a function that never ran is there, but FAILED."""
        if kind != "delete" and name in self.functions:
            if name not in self.runs:
                self.functions[name]["state"] = "FAILED"
            self.functions[name]["stateMessages"] = [
                {"severity": "ERROR", "type": "CloudRunService", "message": message}
            ]

    def build(self, content: bytes, builder: str) -> None:
        """Refuse what the build of a function in Python would fail on."""
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

    def deploy(self, region: str, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Build what is wanted and make it a revision that gets the traffic, unless that is pinned."""
        content = self.zips[wanted["buildConfig"]["source"]["storageSource"]["object"]]
        self.sources[name] = content
        self.build(content, wanted["buildConfig"]["serviceAccount"].rsplit("/", 1)[-1])
        url = self.on_deploy(name, wanted, content) if self.on_deploy else None
        run = self.runs.setdefault(name, Service(name, region))
        config = wanted["serviceConfig"]
        revision = run.revise(template(self, wanted), url or "")
        run.generation += 1
        if config.pop("allTrafficOnLatestRevision", None):
            run.traffic = [{"latestRevision": True, "percent": 100}]
        config |= {
            "service": f"projects/{self.project}/locations/{region}/services/{name}",
            "revision": revision,
        }
        self.functions[name] = wanted | {"state": "ACTIVE", "updateTime": NOW}
        self.functions[name].pop("stateMessages", None)
        return self.function(region, name)


def template(self: Cloud, function: dict[str, Any]) -> dict[str, Any]:
    """The template of the Cloud Run revision that serves a function."""
    config = function["serviceConfig"]
    limits = {"cpu": config["availableCpu"], "memory": config["availableMemory"]}
    variables = config.get("environmentVariables", {})
    region, name = (function["name"].split("/")[part] for part in (3, 5))
    image = f"{region}-docker.pkg.dev/{self.project}/gcf-artifacts/{name}"
    scale = {"minScale": config.get("minInstanceCount", 0), "maxScale": config.get("maxInstanceCount", 100)}
    return {
        "metadata": {
            "annotations": {f"autoscaling.knative.dev/{key}": str(value) for key, value in scale.items()}
        },
        "spec": {
            "containerConcurrency": config["maxInstanceRequestConcurrency"],
            "timeoutSeconds": config["timeoutSeconds"],
            "serviceAccountName": config["serviceAccountEmail"],
            "containers": [
                {
                    "image": image,
                    "env": [{"name": key, "value": value} for key, value in variables.items()],
                    "resources": {"limits": limits},
                }
            ],
        },
    }


def location_of(function: dict[str, Any]) -> str:
    return str(function["name"].split("/")[3])


# --- Service Usage, Cloud Resource Manager, Cloud Billing


def api(self: Cloud, name: str) -> dict[str, Any]:
    path = f"projects/{self.number}/services/{name}"
    state = "ENABLED" if name in self.services else "DISABLED"
    return {"name": path, "parent": f"projects/{self.number}", "config": {"name": name}, "state": state}


@route("GET", "/v1/projects/{}/services")
@route("GET", "/v1beta1/projects/{}/services")
def list_services(self: Cloud, call: Call, project: str) -> Any:
    return {"services": [api(self, name) for name in sorted(self.services)]}


@route("GET", "/v1/projects/{}/services/{}")
@route("GET", "/v1beta1/projects/{}/services/{}")
def get_service(self: Cloud, call: Call, project: str, name: str) -> Any:
    return api(self, name)


@route("GET", "/v1/projects/{}/services:batchGet")
def get_services(self: Cloud, call: Call, project: str) -> Any:
    names = [name.rsplit("/", 1)[1] for name in call.lists.get("names", [])]
    return {"services": [api(self, name) for name in names]}


@route("POST", "/v1/projects/{}/services/{}:enable")
def enable_service(self: Cloud, call: Call, project: str, name: str) -> Any:
    return enable(self, [name])


@route("POST", "/v1/projects/{}/services:batchEnable")
def enable_services(self: Cloud, call: Call, project: str) -> Any:
    if not 1 <= len(call.body.get("serviceIds", [])) <= 20:
        raise Refused(400, "Between 1 and 20 services may be enabled in one batch.")
    return enable(self, call.body["serviceIds"])


def enable(self: Cloud, names: list[str]) -> dict[str, Any]:
    short = {name.removesuffix(".googleapis.com") for name in names}
    if strange := [name for name in names if name.removesuffix(".googleapis.com") not in KNOWN]:
        raise Refused(403, f"Not found or permission denied for service(s): {', '.join(strange)}.")
    if not self.billing and short & NEED_BILLING:
        needy = ",".join(sorted(f"{name}.googleapis.com" for name in short & NEED_BILLING))
        raise Refused(
            400,
            f"Billing account for project '{self.number}' is not found. Billing must be enabled for"
            f" activation of service(s) '{needy}' to proceed.",
            "FAILED_PRECONDITION",
        )
    self.services |= {*names}
    if short & {"compute", "run", "cloudfunctions", "cloudbuild"}:
        self.add_account(self.default_account, displayName="Compute Engine default service account")
        if self.builders_may_build and not self.allows(self.default_account, "roles/editor"):
            member = f"serviceAccount:{self.default_account}"
            self.policy["bindings"].append({"role": "roles/editor", "members": [member]})
    return {
        "name": f"operations/acat.p2-{self.number}-1",
        "done": True,
        "response": {"services": [api(self, name) for name in names]},
    }


@route("GET", "/v1/operations/{}")
def get_service_operation(self: Cloud, call: Call, name: str) -> Any:
    return {"name": f"operations/{name}", "done": True, "response": {}}


@route("GET", "/v1/projects/{}")
def get_project(self: Cloud, call: Call, project: str) -> Any:
    known = {"projectNumber": self.number, "projectId": self.project, "lifecycleState": "ACTIVE"}
    return known | {"name": self.project, "createTime": NOW}


@route("GET", "/v3/projects/{}")
def get_project_v3(self: Cloud, call: Call, project: str) -> Any:
    known = {"name": f"projects/{self.number}", "projectId": self.project, "state": "ACTIVE"}
    return known | {"displayName": self.project, "createTime": NOW, "etag": "1"}


@route("POST", "/v1/projects/{}:getIamPolicy")
@route("POST", "/v3/projects/{}:getIamPolicy")
def get_project_policy(self: Cloud, call: Call, project: str) -> Any:
    return tagged(self.policy)


@route("POST", "/v1/projects/{}:setIamPolicy")
@route("POST", "/v3/projects/{}:setIamPolicy")
def set_project_policy(self: Cloud, call: Call, project: str) -> Any:
    policy = changed(self, self.policy, call)
    if any("allUsers" in each["members"] for each in policy["bindings"]):
        raise Refused(400, "Policy members must not be allUsers or allAuthenticatedUsers on a project.")
    self.policy = policy
    return tagged(policy)


def tagged(policy: Policy) -> Policy:
    """A policy with the tag that tells whether somebody else has changed it since."""
    return policy | {"etag": f"{hash(json.dumps(policy, sort_keys=True)) & 0xFFFFFF:08x}"}


def changed(self: Cloud, before: Policy, call: Call) -> Policy:
    """The policy that a setIamPolicy call carries, checked."""
    given = self.check(call.body["policy"])
    if given.get("etag", tagged(before)["etag"]) != tagged(before)["etag"]:
        raise Refused(
            409,
            "There were concurrent policy changes. Please retry the whole read-modify-write.",
            "ABORTED",
        )
    return {"version": given.get("version", 1), "bindings": given.get("bindings", [])}


@route("GET", "/v1/projects/{}/billingInfo")
def get_billing(self: Cloud, call: Call, project: str) -> Any:
    account = "billingAccounts/012345-6789AB-CDEF01" if self.billing else ""
    name = f"projects/{self.project}/billingInfo"
    return {
        "name": name,
        "projectId": self.project,
        "billingAccountName": account,
        "billingEnabled": self.billing,
    }


# --- IAM


@route("GET", "/v1/projects/{}/serviceAccounts", "iam")
def list_accounts(self: Cloud, call: Call, project: str) -> Any:
    return {"accounts": [*self.accounts.values()]}


@route("POST", "/v1/projects/{}/serviceAccounts", "iam")
def create_account(self: Cloud, call: Call, project: str) -> Any:
    short = call.body.get("accountId", "")
    email = f"{short}@{self.project}.iam.gserviceaccount.com"
    if not re.fullmatch(r"[a-z][-a-z0-9]{4,28}[a-z0-9]", short):
        raise Refused(
            400, f"Invalid service account ID {short!r}: 6 to 30 letters, digits and dashes were expected."
        )
    if email in self.accounts:
        raise Refused(409, f"Service account {short} already exists within project projects/{self.project}.")
    return self.add_account(email, **call.body.get("serviceAccount", {}))


@route("GET", "/v1/projects/{}/serviceAccounts/{}", "iam")
def get_account(self: Cloud, call: Call, project: str, email: str) -> Any:
    return self.account(email)


@route("DELETE", "/v1/projects/{}/serviceAccounts/{}", "iam")
def delete_account(self: Cloud, call: Call, project: str, email: str) -> Any:
    gone = f"deleted:serviceAccount:{email}?uid={self.account(email)['uniqueId']}"
    del self.accounts[email]
    holders = [*self.buckets.values(), *self.runs.values()]
    for policy in (self.policy, *self.account_policies.values(), *(each.policy for each in holders)):
        for binding in policy["bindings"]:
            members = binding["members"]
            binding["members"] = [gone if each == f"serviceAccount:{email}" else each for each in members]
    return {}


@route("POST GET", "/v1/projects/{}/serviceAccounts/{}:getIamPolicy", "iam")
def get_account_policy(self: Cloud, call: Call, project: str, email: str) -> Any:
    self.account(email)
    return tagged(self.account_policies.setdefault(email, {"version": 1, "bindings": []}))


@route("POST", "/v1/projects/{}/serviceAccounts/{}:setIamPolicy", "iam")
def set_account_policy(self: Cloud, call: Call, project: str, email: str) -> Any:
    get_account_policy(self, call, project, email)
    self.account_policies[email] = changed(self, self.account_policies[email], call)
    return get_account_policy(self, call, project, email)


@route("POST", "/v1/projects/-/serviceAccounts/{}:generateIdToken", "iamcredentials")
def generate_id_token(self: Cloud, call: Call, email: str) -> Any:
    self.account(email)
    claims = {
        "aud": call.body["audience"],
        "email": email,
        "iss": "https://accounts.google.com",
        "exp": 4102444800,
    }
    return {"token": ".".join([base64url({"alg": "none", "typ": "JWT"}), base64url(claims), "c2lnbmF0dXJl"])}


@route("POST", "/v1/projects/-/serviceAccounts/{}:generateAccessToken", "iamcredentials")
def generate_access_token(self: Cloud, call: Call, email: str) -> Any:
    self.account(email)
    return {"accessToken": f"token of {email}", "expireTime": "2100-01-01T00:00:00Z"}


def base64url(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


# --- Cloud Functions


@route("GET", "/v2/projects/{}/locations/{}/runtimes", "cloudfunctions")
def list_runtimes(self: Cloud, call: Call, project: str, region: str) -> Any:
    known(region)
    kind = {"environment": "GEN_2", "stage": "GA"}
    return {"runtimes": [{"name": name, "displayName": name.capitalize()} | kind for name in RUNTIMES]}


@route("GET", "/v1/projects/{}/locations", "cloudfunctions")
@route("GET", "/v2/projects/{}/locations", "cloudfunctions")
def list_regions(self: Cloud, call: Call, project: str) -> Any:
    name = f"projects/{self.project}/locations/"
    return {"locations": [{"name": name + region, "locationId": region} for region in sorted(REGIONS)]}


def known(region: str) -> None:
    if region not in REGIONS:
        raise Refused(403, f"Permission denied on 'locations/{region}' (or it may not exist).")


@route("POST", "/v2/projects/{}/locations/{}/functions:generateUploadUrl", "cloudfunctions")
def generate_upload_url(self: Cloud, call: Call, project: str, region: str) -> Any:
    known(region)
    name = f"{len(self.zips) + 1}.zip"
    self.zips[name] = b""
    source = {"bucket": f"gcf-v2-uploads-{self.number}.{region}.cloudfunctions.appspot.com", "object": name}
    return {"uploadUrl": f"{self.url}/uploaded/{name}", "storageSource": source}


@route("PUT", "/uploaded/{}")
def upload_source(self: Cloud, call: Call, name: str) -> Any:
    if name not in self.zips or "Authorization" in call.headers:
        raise Refused(403, "The signed URL does not allow this.")
    self.zips[name] = call.content
    return Reply()


@route("GET", "/v2/projects/{}/locations/{}/functions", "cloudfunctions")
def list_functions(self: Cloud, call: Call, project: str, region: str) -> Any:
    there = [(location_of(each), name) for name, each in self.functions.items()]
    return {"functions": [self.function(*each) for each in there if region in ("-", each[0])]}


@route("GET", "/v1/projects/{}/locations/{}/functions", "cloudfunctions")
def list_old_functions(self: Cloud, call: Call, project: str, region: str) -> Any:
    return {"functions": []}


@route("GET", "/v2/projects/{}/locations/{}/functions/{}", "cloudfunctions")
def get_function(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    known(region)
    return self.function(region, name)


@route("POST", "/v2/projects/{}/locations/{}/functions", "cloudfunctions")
def create_function(self: Cloud, call: Call, project: str, region: str) -> Any:
    known(region)
    name = call.query.get("functionId", "")
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        raise Refused(
            400, f"Could not create Cloud Run service {name}. metadata.name: Invalid resource name."
        )
    if name in self.functions or name in self.runs:
        raise Refused(
            409, f"Could not create Cloud Run service {name}. A service with this name already exists."
        )
    path = f"projects/{self.project}/locations/{region}/functions/{name}"
    wanted = completed(self, call.body) | {
        "name": path,
        "environment": "GEN_2",
        "state": "DEPLOYING",
        "createTime": NOW,
    }
    self.functions[name] = copy.deepcopy(wanted)
    return self.operate(region, "create", path, lambda: self.deploy(region, name, wanted))


@route("PATCH", "/v2/projects/{}/locations/{}/functions/{}", "cloudfunctions")
def patch_function(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    wanted = self.function(region, name)
    masks = [mask for mask in call.query.get("updateMask", "").split(",") if mask]
    for mask in masks or [*call.body]:
        *folders, last = [
            re.sub(r"_(\w)", lambda letter: letter[1].upper(), each) for each in mask.split(".")
        ]
        old, new = wanted, call.body
        for folder in folders:
            old, new = old.setdefault(folder, {}), new.get(folder, {})
        old.pop(last, None)
        if last in new:
            old[last] = new[last]
    if not any(mask.startswith("service_config.all_traffic") for mask in masks):
        wanted["serviceConfig"].pop("allTrafficOnLatestRevision", None)
    wanted = completed(self, wanted)
    return self.operate(region, "update", wanted["name"], lambda: self.deploy(region, name, wanted))


@route("DELETE", "/v2/projects/{}/locations/{}/functions/{}", "cloudfunctions")
def delete_function(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    path = self.function(region, name)["name"]

    def delete() -> dict[str, Any]:
        self.functions.pop(name, None)
        self.runs.pop(name, None)
        return {}

    return self.operate(region, "delete", path, delete)


@route("GET", "/v2/projects/{}/locations/{}/operations/{}", "cloudfunctions")
def get_operation(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    path = f"projects/{self.project}/locations/{region}/operations/{name}"
    if path not in self.operations:
        raise Refused(404, f"Operation {path} was not found.")
    thread, operation = self.operations[path]
    thread.join(5)
    return operation


def mebibytes(memory: str) -> float:
    units = {"M": 1, "Mi": 1, "G": 1024, "Gi": 1024, "k": 1 / 1024, "Ki": 1 / 1024, "": 1 / 2**20}
    found = re.fullmatch(r"([\d.]+)(Mi|M|Gi|G|Ki|k|)", memory)
    if not found:
        raise Refused(400, f"Could not parse the memory {memory!r}.")
    return float(found[1]) * units[found[2]]


def completed(self: Cloud, given: dict[str, Any]) -> dict[str, Any]:
    """A function with its defaults, after the checks that Google makes before it builds.

    Raises:
        Refused: a value is not allowed, or an account does not exist.
    """
    build, service = dict(given.get("buildConfig") or {}), dict(given.get("serviceConfig") or {})
    if build.get("runtime") not in RUNTIMES:
        raise Refused(400, f"Runtime {build.get('runtime')} is not supported on GCF Gen2.")
    uploaded = build.get("source", {}).get("storageSource", {}).get("object")
    if not self.zips.get(uploaded):
        raise Refused(400, "Cloud Storage source archive was not found.")
    if not re.fullmatch(r"[A-Za-z_]\w*", build.get("entryPoint", "")):
        raise Refused(400, f"The entry point {build.get('entryPoint')!r} is not a name.")
    memory = mebibytes(service.setdefault("availableMemory", "256M"))
    if "availableCpu" not in service:
        service["availableCpu"] = str(next((cpu for most, cpu in CPU_FOR.items() if memory <= most), 8))
    cpu = float(service["availableCpu"].removesuffix("m")) / (
        1000 if service["availableCpu"].endswith("m") else 1
    )
    concurrency = service.setdefault("maxInstanceRequestConcurrency", 1)
    least, most = service.get("minInstanceCount") or 0, service.setdefault("maxInstanceCount", 100)
    limits = [
        (1 <= concurrency <= 1000, "max_instance_request_concurrency: must be between 1 and 1000."),
        (concurrency == 1 or cpu >= 1, "Total cpu < 1 is not supported with concurrency > 1."),
        (
            1 <= service.setdefault("timeoutSeconds", 60) <= 3600,
            "timeout_seconds: must be between 1 and 3600.",
        ),
        (least <= most, "min_instance_count: must be less than or equal to max_instance_count."),
        (memory >= 128 and cpu <= 8, "Memory must be at least 128Mi, and CPU at most 8."),
        (
            memory <= next((top for over, top in MEMORY_FOR.items() if cpu < over), 32768),
            f"Invalid value specified for memory: more than {cpu} CPU allow.",
        ),
        (cpu < 4 or memory >= 512 * cpu, f"Invalid value specified for cpu: {cpu} CPU need more memory."),
    ]
    if wrong := [message for right, message in limits if not right]:
        raise Refused(400, f"Could not create Cloud Run service. {' '.join(wrong)}")
    if reserved := RESERVED & {*(service.get("environmentVariables") or {})}:
        raise Refused(400, f"The following reserved env names were provided: {', '.join(sorted(reserved))}.")
    runner = service.setdefault("serviceAccountEmail", self.default_account)
    builder = build.setdefault(
        "serviceAccount", f"projects/{self.project}/serviceAccounts/{self.default_account}"
    )
    for email in (runner, builder.rsplit("/", 1)[-1]):
        if email not in self.accounts:
            raise Refused(
                403,
                f"Permission 'iam.serviceaccounts.actAs' denied on service account {email}"
                " (or it may not exist).",
            )
    service.setdefault("ingressSettings", "ALLOW_ALL")
    return given | {"buildConfig": build, "serviceConfig": service}


# --- Cloud Run


def run_service(self: Cloud, name: str, call: Call) -> Service:
    region = re.match(r"([a-z]+-[a-z]+\d+)-run\.", call.host) or re.search(r"/locations/([^/]+)", call.path)
    found = self.runs.get(name)
    if found is None or (region and region[1] not in ("-", found.region)):
        raise Refused(
            404,
            f"Resource '{name}' of kind 'SERVICE' in region '{region and region[1]}' in project"
            f" '{self.project}' does not exist.",
        )
    return found


def run_resource(self: Cloud, it: Service) -> dict[str, Any]:
    ready = [
        {"type": kind, "status": "True", "lastTransitionTime": NOW}
        for kind in ("Ready", "ConfigurationsReady", "RoutesReady")
    ]
    shares = [each | {"revisionName": each.get("revisionName") or it.latest} for each in it.traffic]
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": it.name,
            "namespace": self.number,
            "generation": it.generation,
            "resourceVersion": f"V{it.generation}",
            "selfLink": f"/apis/serving.knative.dev/v1/namespaces/{self.number}/services/{it.name}",
            "uid": f"uid-{it.name}",
            "creationTimestamp": NOW,
            "labels": it.labels | {"cloud.googleapis.com/location": it.region},
            "annotations": {
                "run.googleapis.com/ingress": "all",
                "serving.knative.dev/creator": "me@example.com",
            },
        },
        "spec": {"template": it.revisions[it.latest], "traffic": it.traffic},
        "status": {
            "observedGeneration": it.generation,
            "conditions": ready,
            "latestReadyRevisionName": it.latest,
            "latestCreatedRevisionName": it.latest,
            "traffic": shares,
            "url": it.url,
            "address": {"url": it.url},
        },
    }


def revision_resource(self: Cloud, it: Service, name: str) -> dict[str, Any]:
    active = "True" if name in it.serving else "False"
    labels = {"serving.knative.dev/service": it.name, "serving.knative.dev/configuration": it.name}
    metadata = it.revisions[name]["metadata"] | {
        "name": name,
        "namespace": self.number,
        "creationTimestamp": NOW,
        "generation": 1,
        "labels": labels | {"cloud.googleapis.com/location": it.region},
    }
    conditions = [{"type": "Ready", "status": "True"}, {"type": "Active", "status": active}]
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": metadata,
        "spec": it.revisions[name]["spec"],
        "status": {"conditions": conditions, "observedGeneration": 1, "imageDigest": "sha256:0"},
    }


@route("GET", "/apis/serving.knative.dev/v1/namespaces/{}/services", "run")
@route("GET", "/v1/projects/{}/locations/{}/services", "run")
def list_runs(self: Cloud, call: Call, project: str, region: str = "-") -> Any:
    there = [run_resource(self, each) for each in self.runs.values() if region in ("-", each.region)]
    return {"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "metadata": {}, "items": there}


@route("GET", "/apis/serving.knative.dev/v1/namespaces/{}/services/{}", "run")
def get_run(self: Cloud, call: Call, project: str, name: str) -> Any:
    return run_resource(self, run_service(self, name, call))


@route("POST", "/apis/serving.knative.dev/v1/namespaces/{}/services", "run")
def create_run(self: Cloud, call: Call, project: str) -> Any:
    name, region = call.body["metadata"]["name"], call.host.partition("-run.")[0]
    known(region)
    if name in self.runs:
        raise Refused(409, f"Resource '{name}' already exists.")
    service = Service(name, region, labels={})
    service.revise(without_name(call.body["spec"]["template"]), started(self, name, call.body))
    self.runs[name] = service
    return run_resource(self, service)


def started(self: Cloud, name: str, wanted: dict[str, Any]) -> str:
    """Start the image of a Cloud Run service, if it was built here, and return its URL."""
    image = wanted["spec"]["template"]["spec"]["containers"][0]["image"].partition("@")[0]
    if image not in self.images:
        return ""
    self.sources[name] = self.images[image]
    return (self.on_deploy and self.on_deploy(name, wanted, self.images[image])) or ""


@route("PUT", "/apis/serving.knative.dev/v1/namespaces/{}/services/{}", "run")
def replace_run(self: Cloud, call: Call, project: str, name: str) -> Any:
    it, spec = run_service(self, name, call), call.body["spec"]
    traffic = spec.get("traffic") or it.traffic
    if sum(each.get("percent", 0) for each in traffic) != 100:
        raise Refused(400, "spec.traffic: the percentages must add up to 100.")
    for each in traffic:
        if not each.get("latestRevision") and each.get("revisionName") not in it.revisions:
            raise Refused(
                400,
                f"Revision named '{each.get('revisionName')}' not found, or not of service '{name}'.",
            )
    if without_name(spec["template"]) != without_name(it.revisions[it.latest]):
        it.revise(without_name(spec["template"]), started(self, name, call.body) or it.urls[it.latest])
    it.traffic, it.generation = traffic, it.generation + 1
    return run_resource(self, it)


def without_name(of: dict[str, Any]) -> dict[str, Any]:
    """A template as it is compared: gcloud adds its own name and version, which change nothing."""
    notes = {
        key: value
        for key, value in of.get("metadata", {}).get("annotations", {}).items()
        if "client." not in key
    }
    return {"metadata": {"annotations": notes}, "spec": filled(of["spec"])}


def filled(value: Any) -> Any:
    """A value without the empty fields in it, which gcloud leaves out."""
    if isinstance(value, dict):
        return {key: filled(each) for key, each in value.items() if each not in ({}, [], None)}
    return [*map(filled, value)] if isinstance(value, list) else value


@route("DELETE", "/apis/serving.knative.dev/v1/namespaces/{}/services/{}", "run")
def delete_run(self: Cloud, call: Call, project: str, name: str) -> Any:
    del self.runs[run_service(self, name, call).name]
    return {"kind": "Status", "status": "Success"}


@route("GET POST", "/v1/projects/{}/locations/{}/services/{}:getIamPolicy", "run")
def get_run_policy(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    return tagged(run_service(self, name, call).policy)


@route("POST", "/v1/projects/{}/locations/{}/services/{}:setIamPolicy", "run")
def set_run_policy(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    it = run_service(self, name, call)
    it.policy = changed(self, it.policy, call)
    return tagged(it.policy)


@route("GET", "/apis/serving.knative.dev/v1/namespaces/{}/revisions", "run")
def list_revisions(self: Cloud, call: Call, project: str) -> Any:
    asked = re.search(r"serving.knative.dev/service ?=+ ?([-\w]+)", call.query.get("labelSelector", ""))
    there = [it for it in self.runs.values() if not asked or it.name == asked[1]]
    items = [revision_resource(self, it, name) for it in there for name in reversed(it.revisions)]
    return {"apiVersion": "serving.knative.dev/v1", "kind": "RevisionList", "metadata": {}, "items": items}


@route("GET", "/apis/serving.knative.dev/v1/namespaces/{}/revisions/{}", "run")
def get_revision(self: Cloud, call: Call, project: str, name: str) -> Any:
    for it in self.runs.values():
        if name in it.revisions:
            return revision_resource(self, it, name)
    raise Refused(404, f"Revision '{name}' was not found.")


# --- Cloud Build, Artifact Registry, Cloud Logging


@route("GET", "/v1/projects/{}/locations/{}/defaultServiceAccount", "cloudbuild")
def get_builder(self: Cloud, call: Call, project: str, region: str) -> Any:
    name = f"projects/{self.number}/locations/{region}/defaultServiceAccount"
    return {
        "name": name,
        "serviceAccountEmail": f"projects/{self.project}/serviceAccounts/{self.default_account}",
    }


@route("GET", "/v1/projects/{}/locations/{}/repositories/{}", "artifactregistry")
def get_repository(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    path = f"projects/{self.project}/locations/{region}/repositories/{name}"
    if path not in self.repositories:
        raise Refused(404, f"Requested entity was not found: {path}")
    return {"name": path, "format": "DOCKER", "mode": "STANDARD_REPOSITORY"}


@route("POST", "/v1/projects/{}/locations/{}/repositories", "artifactregistry")
def create_repository(self: Cloud, call: Call, project: str, region: str) -> Any:
    known(region)
    place = f"projects/{self.project}/locations/{region}"
    path = f"{place}/repositories/{call.query['repositoryId']}"
    self.repositories.add(path)
    name = f"repository-{len(self.operations) + 1}"
    operation = {"name": f"{place}/operations/{name}", "done": True, "response": {"name": path}}
    self.operations[name] = (threading.Thread(), operation)
    return operation


@route("POST", "/v2/projects/{}/locations/{}/builds:submit", "run")
def submit_build(self: Cloud, call: Call, project: str, region: str) -> Any:
    known(region)
    source, image = call.body["storageSource"], call.body["imageUri"]
    content = self.object(source["bucket"], source["object"]).content
    builder = call.body.get("serviceAccount") or self.default_account
    name = f"{len(self.operations) + 1:08}-0000-4000-8000-000000000000"
    place = f"projects/{self.number}/locations/{region}"
    build = {"id": name, "name": f"{place}/builds/{name}", "projectId": self.project, "logUrl": self.url}
    kind = "type.googleapis.com/google.devtools.cloudbuild.v1"
    metadata = {"@type": f"{kind}.BuildOperationMetadata", "build": build | {"status": "WORKING"}}
    operation: dict[str, Any] = {"name": f"{place}/operations/{name}", "metadata": metadata, "done": True}
    try:
        self.build(content, builder.rsplit("/", 1)[-1])
        results = {"images": [{"name": image, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}]}
        operation["response"] = build | {"@type": f"{kind}.Build", "status": "SUCCESS", "results": results}
        self.images[image.partition(":")[0]] = self.images[image] = content
    except Refused as refused:
        operation["error"] = {"code": 3, "message": refused.message}
    self.operations[name] = (threading.Thread(), operation)
    return {
        "buildOperation": operation | {"done": False},
        "baseImageUri": call.body.get("buildpackBuild", {}).get("baseImage", ""),
    }


@route("GET", "/v1/projects/{}/locations/{}/operations/{}", "cloudbuild")
def get_build(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    if name not in self.operations:
        raise Refused(404, f"Operation {name} was not found.")
    return self.operations[name][1]


@route("POST", "/v2/entries:list", "logging")
def list_entries(self: Cloud, call: Call) -> Any:
    return {"entries": self.logs}


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads a request, and writes what the cloud answers; also as a proxy, whatever the host."""

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
        # What a proxy is asked to CONNECT to has no path: it is shown as one among the unknown calls.
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
            # A missing field, or a mistake here: without an answer gcloud would try again for half a minute.
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

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = handle_call  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def cloud(project: str = "demo-project") -> Iterator[Cloud]:
    """A cloud of its own, empty at first."""
    server = Cloud(project)
    try:
        yield server
    finally:
        server.close()
