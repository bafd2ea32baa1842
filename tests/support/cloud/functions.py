"""Cloud Functions, 2nd gen: each is built from an uploaded zip and served by a Cloud Run service."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .calls import NOW, REGIONS, RUNTIMES, Call, Refused, Reply, known, route
from .run import Service

if TYPE_CHECKING:
    from . import Cloud

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


class Functions:
    """Functions and the operations on them."""

    def function(self: Cloud, region: str, name: str) -> dict[str, Any]:
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
        self: Cloud, region: str, kind: str, target: str, work: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Start an operation on a function in its own thread; `work` returns the response or raises.

        Raises:
            Refused: another one on that function is under way.
        """
        others = [each for _, each in self.operations.values() if not each["done"]]
        if any(each["metadata"].get("target") == target for each in others):
            raise Refused(409, "unable to queue the operation", "ABORTED")
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
        if kind == "update":
            self.functions[target.rsplit("/", 1)[1]]["state"] = "DEPLOYING"

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

    def failed(self: Cloud, name: str, kind: str, message: str) -> None:
        """Record a failed deployment: a function that never ran exists, in the state FAILED."""
        if kind != "delete" and name in self.functions:
            self.functions[name]["state"] = "ACTIVE" if name in self.runs else "FAILED"
            self.functions[name]["stateMessages"] = [
                {"severity": "ERROR", "type": "CloudRunService", "message": message}
            ]

    def deploy(self: Cloud, region: str, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Build the source and make it a revision, which gets the traffic unless that is pinned."""
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
