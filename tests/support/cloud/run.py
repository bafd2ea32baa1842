"""Cloud Run, and the builds and images of its sources."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .calls import NOW, Call, Policy, Refused, known, route
from .projects import changed, tagged

if TYPE_CHECKING:
    from . import Cloud


@dataclass
class Service:
    """A Cloud Run service: `traffic` is that of its specification, `urls` are the revisions' real ones."""

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
        """Whether the traffic is pinned, so that new revisions get none."""
        return not any(each.get("latestRevision") and each.get("percent") for each in self.traffic)

    @property
    def serving(self) -> dict[str, int]:
        """Revisions and the percentage of the traffic that each gets."""
        shares = [(each.get("revisionName") or self.latest, each.get("percent", 0)) for each in self.traffic]
        return {name: percent for name, percent in shares if percent}

    @property
    def url(self) -> str:
        """The address of the revision with most traffic: a real one, if its deployment returned one."""
        most = max(self.serving, key=self.serving.__getitem__)
        return self.urls.get(most) or f"https://{self.name}-0123456789-ew.a.run.app"

    def revise(self, template: dict[str, Any], url: str = "") -> str:
        count = 1 + max([int(name.split("-")[-2]) for name in self.revisions], default=0)
        name = f"{self.name}-{count:05}-{'bcdfghjklm'[count % 10]}ab"
        self.revisions[name] = template
        self.urls[name] = url
        return name


def region_of(call: Call) -> str:
    """The region in a call's host or path; `-` is all regions."""
    region = re.match(r"([a-z]+-[a-z]+\d+)-run\.", call.host) or re.search(r"/locations/([^/]+)", call.path)
    return region[1] if region else "-"


def run_service(self: Cloud, name: str, call: Call) -> Service:
    region, found = region_of(call), self.runs.get(name)
    if found is None or region not in ("-", found.region):
        raise Refused(
            404,
            f"Resource '{name}' of kind 'SERVICE' in region '{region}' in project"
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
    wanted = region_of(call)
    there = [run_resource(self, each) for each in self.runs.values() if wanted in ("-", each.region)]
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
    service = Service(name, region, labels=call.body["metadata"].get("labels") or {})
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
    it.labels = {**it.labels, **(call.body["metadata"].get("labels") or {})}
    it.traffic, it.generation = traffic, it.generation + 1
    return run_resource(self, it)


def without_name(of: dict[str, Any]) -> dict[str, Any]:
    """Return a template for comparison, without gcloud's name and version, which have no effect."""
    notes = {
        key: value
        for key, value in of.get("metadata", {}).get("annotations", {}).items()
        if "client." not in key
    }
    return {"metadata": {"annotations": notes}, "spec": filled(of["spec"])}


def filled(value: Any) -> Any:
    """Return a value without its empty fields, which gcloud omits."""
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


# --- Cloud Build and Artifact Registry


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


@route("GET", "/v1/projects/{}/locations/{}/repositories/{}/packages/{}/tags", "artifactregistry")
def list_tags(self: Cloud, call: Call, project: str, region: str, name: str, package: str) -> Any:
    get_repository(self, call, project, region, name)
    image = f"{region}-docker.pkg.dev/{self.project}/{name}/{package}"
    tags = [each.rpartition(":")[2] for each in self.images if each.startswith(f"{image}:")]
    if not tags:
        raise Refused(404, f"Requested entity was not found: {package}")
    place = f"projects/{self.project}/locations/{region}/repositories/{name}/packages/{package}"
    return {"tags": [{"name": f"{place}/tags/{tag}"} for tag in tags]}


@route("POST", "/v1/projects/{}/locations/{}/builds", "cloudbuild")
def create_build(self: Cloud, call: Call, project: str, region: str) -> Any:
    """Record an image from the Dockerfile of an uploaded folder; nothing is built."""
    known(region)
    source, [image] = call.body["source"]["storageSource"], call.body["images"]
    place, name = f"projects/{self.number}/locations/{region}", f"{len(self.builds) + 1:08}-0000-4000-8000"
    build = {**call.body, "id": name, "name": f"{place}/builds/{name}", "projectId": self.project}
    failure, self.fail_operation = self.fail_operation, None
    with tarfile.open(fileobj=io.BytesIO(self.object(source["bucket"], source["object"]).content)) as files:
        content = {each.name.removeprefix("./"): each for each in files.getmembers()}
        readable = {name: files.extractfile(each) for name, each in content.items() if each.isfile()}
        self.contexts[image] = {name: each.read() for name, each in readable.items() if each}
    builder = self.allows(self.default_account, "roles/cloudbuild.builds.builder", "roles/editor")
    repository = f"projects/{self.project}/locations/{region}/repositories/{image.split('/')[2]}"
    right = builder and repository in self.repositories and "Dockerfile" in self.contexts[image]
    status = "SUCCESS" if right and not failure else "FAILURE"
    if status == "SUCCESS":
        self.images[image] = b""
    logs = f"gs://{self.number}.cloudbuild-logs.googleusercontent.com"
    more = {"status": status, "logUrl": self.url, "logsBucket": logs, "createTime": NOW}
    self.builds[name] = build | more
    metadata = {"@type": "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"}
    return {"name": f"{place}/operations/{name}", "metadata": {**metadata, "build": self.builds[name]}}


@route("GET", "/v1/projects/{}/locations/{}/builds/{}", "cloudbuild")
def get_one_build(self: Cloud, call: Call, project: str, region: str, name: str) -> Any:
    return self.builds[name]
