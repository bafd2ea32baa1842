"""App Engine's Admin API: versions of services, made from files that gcloud has put into a bucket."""

from __future__ import annotations

import hashlib
import io
import threading
import urllib.parse
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .calls import NOW, RUNTIMES, Call, Refused, route
from .storage import Bucket

if TYPE_CHECKING:
    from . import Cloud

INSTANCES = {"F1", "F2", "F4", "F4_1G", "B1", "B2", "B4", "B4_1G", "B8"}


@dataclass
class App:
    """An application: the versions of each service, and how its traffic is split between them."""

    versions: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    splits: dict[str, dict[str, float]] = field(default_factory=dict)


def app(self: Cloud) -> App:
    if self.app is None:
        raise Refused(404, f"Could not find Application '{self.project}'.")
    return self.app


def service(self: Cloud, name: str) -> dict[str, Any]:
    if name not in app(self).versions:
        raise Refused(404, f"Could not find Service '{name}' in Application '{self.project}'.")
    split = {"allocations": app(self).splits.get(name, {})}
    return {"name": f"apps/{self.project}/services/{name}", "id": name, "split": split}


def done(self: Cloud, response: dict[str, Any]) -> dict[str, Any]:
    """An operation that has ended with `response`."""
    name = f"apps/{self.project}/operations/{len(self.operations) + 1:08}"
    kind = "type.googleapis.com/google.appengine.v1.OperationMetadataV1"
    metadata = {"@type": kind, "insertTime": NOW, "user": "me@example.com", "target": response["name"]}
    operation = {"name": name, "metadata": metadata, "done": True, "response": response}
    self.operations[name] = (threading.Thread(), operation)
    return operation


def unpacked(self: Cloud, wanted: dict[str, Any]) -> bytes:
    """Return the files of a version as a zip; the bucket has them under their SHA-1."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for path, file in wanted["deployment"]["files"].items():
            bucket, name = urllib.parse.urlsplit(file["sourceUrl"]).path.lstrip("/").split("/", 1)
            content = self.object(bucket, name).content
            if hashlib.sha1(content).hexdigest() != file["sha1Sum"]:
                raise Refused(400, f"The SHA-1 of {path} is not the one that was announced.")
            target.writestr(path, content)
    return archive.getvalue()


@route("POST", "/v1/apps", "appengine")
def create_app(self: Cloud, call: Call) -> Any:
    if self.app is not None:
        raise Refused(409, f"This application already exists: '{self.project}'.")
    self.app = App()
    return done(self, {"name": f"apps/{self.project}", "id": call.body["id"]})


@route("GET", "/v1/apps/{}", "appengine")
def get_app(self: Cloud, call: Call, project: str) -> Any:
    app(self)
    bucket = f"staging.{self.project}.appspot.com"
    self.buckets.setdefault(bucket, Bucket(bucket))
    return {
        "name": f"apps/{self.project}",
        "id": self.project,
        "locationId": "europe-west",
        "codeBucket": bucket,
        "servingStatus": "SERVING",
        "serviceAccount": f"{self.project}@appspot.gserviceaccount.com",
        "defaultHostname": f"{self.project}.ew.r.appspot.com",
        "featureSettings": {"splitHealthChecks": True, "useContainerOptimizedOs": True},
    }


@route("GET", "/v1/apps/{}/services", "appengine")
def list_app_services(self: Cloud, call: Call, project: str) -> Any:
    return {"services": [service(self, name) for name in app(self).versions]}


@route("GET", "/v1/apps/{}/services/{}", "appengine")
def get_app_service(self: Cloud, call: Call, project: str, name: str) -> Any:
    return service(self, name)


@route("PATCH", "/v1/apps/{}/services/{}", "appengine")
def split_traffic(self: Cloud, call: Call, project: str, name: str) -> Any:
    allocations = call.body["split"]["allocations"]
    if strange := set(allocations) - set(app(self).versions.get(name, {})):
        raise Refused(404, f"Could not find Version '{strange.pop()}' in Service '{name}'.")
    app(self).splits[name] = allocations
    return done(self, service(self, name))


@route("GET", "/v1/apps/{}/services/{}/versions", "appengine")
def list_versions(self: Cloud, call: Call, project: str, name: str) -> Any:
    service(self, name)
    return {"versions": [*app(self).versions[name].values()]}


@route("GET", "/v1/apps/{}/services/{}/versions/{}", "appengine")
def get_version(self: Cloud, call: Call, project: str, name: str, version: str) -> Any:
    service(self, name)
    if version not in app(self).versions[name]:
        raise Refused(404, f"Could not find Version '{version}' in Service '{name}'.")
    return app(self).versions[name][version]


@route("POST", "/v1/apps/{}/services/{}/versions", "appengine")
def create_version(self: Cloud, call: Call, project: str, name: str) -> Any:
    wanted, versions = call.body, app(self).versions
    if name != "default" and "default" not in versions:
        raise Refused(400, "The first service (module) you upload to a new application must be 'default'.")
    if wanted.get("runtime") not in RUNTIMES:
        raise Refused(400, f"Invalid runtime '{wanted.get('runtime')}' specified.")
    if wanted.get("instanceClass", "F1") not in INSTANCES:
        raise Refused(400, f"Invalid instance class: {wanted['instanceClass']}.")
    self.account(wanted.get("serviceAccount") or f"{self.project}@appspot.gserviceaccount.com")
    content = unpacked(self, wanted)
    self.build(content, self.default_account)
    self.sources[name] = content
    path = f"apps/{self.project}/services/{name}/versions/{wanted['id']}"
    url = (self.on_deploy and self.on_deploy(name, wanted, content)) or f"https://{wanted['id']}-dot-{name}"
    more = {"name": path, "servingStatus": "SERVING", "createTime": NOW, "versionUrl": url, "env": "standard"}
    versions.setdefault(name, {})[wanted["id"]] = wanted | more
    app(self).splits.setdefault(name, {wanted["id"]: 1})
    return done(self, versions[name][wanted["id"]])


@route("GET", "/v1/apps/{}/operations/{}", "appengine")
def get_app_operation(self: Cloud, call: Call, project: str, name: str) -> Any:
    return self.operations[f"apps/{self.project}/operations/{name}"][1]
