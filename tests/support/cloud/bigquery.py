"""BigQuery: datasets, connections, and remote functions that a CREATE FUNCTION statement makes."""

from __future__ import annotations

import functools
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .calls import NOW, Call, Refused, Reply, known, route

if TYPE_CHECKING:
    from . import Cloud

MULTI_REGIONS = ("us", "eu")
CREATE = re.compile(
    r"CREATE OR REPLACE FUNCTION `(?P<name>[^`]+)`\((?P<arguments>[^)]*)\)\s+RETURNS (?P<returns>\w+)\s+"
    r"REMOTE WITH CONNECTION `(?P<connection>[^`]+)`\s+"
    r"OPTIONS \(endpoint = '(?P<endpoint>[^'\\]+)', max_batching_rows = (?P<rows>\d+)\);?\s*"
)
"""The supported statements, which are those of deploy.sh."""


@functools.cache
def discovery(version: str) -> bytes:
    """Return the discovery document that bq requests first: its own, or a short one of connections."""
    if version == "v2":
        root = Path(str(shutil.which("bq"))).resolve().parents[1]
        return (root / "platform" / "bq" / "discovery_next" / "bigquery.json").read_bytes()
    name = {"type": "string", "location": "path", "required": True}

    def method(verb: str, path: str, *query: str) -> dict[str, Any]:
        place = re.findall(r"\{\+(\w+)\}", path)
        given = {each: {**name, "pattern": ".+"} for each in place}
        asked = {each: {"type": "string", "location": "query"} for each in query}
        found = {"id": path, "httpMethod": verb, "path": path, "parameterOrder": place}
        found["parameters"] = {**given, **asked}
        answer = {"response": {"$ref": "Any"}}
        return {**found, **answer, **({"request": {"$ref": "Any"}} if verb in ("POST", "PATCH") else {})}

    methods = {
        "create": method("POST", "v1/{+parent}/connections", "connectionId"),
        "list": method("GET", "v1/{+parent}/connections", "pageSize", "pageToken"),
        "get": method("GET", "v1/{+name}"),
        "patch": method("PATCH", "v1/{+name}", "updateMask"),
        "delete": method("DELETE", "v1/{+name}"),
    }
    connections = {"resources": {"connections": {"methods": methods}}}
    document = {
        **{"kind": "discovery#restDescription", "name": "bigqueryconnection", "version": "v1"},
        **{"rootUrl": "https://bigqueryconnection.googleapis.com/", "servicePath": "", "basePath": ""},
        **{"baseUrl": "https://bigqueryconnection.googleapis.com/", "batchPath": "batch"},
        "schemas": {"Any": {"id": "Any", "type": "object", "additionalProperties": {"type": "any"}}},
        "resources": {"projects": {"resources": {"locations": connections}}},
    }
    return json.dumps(document).encode()


@route("GET", "/$discovery/rest")
def get_discovery(self: Cloud, call: Call) -> Any:
    return Reply(200, discovery(call.query["version"]))


# --- Connections

CONNECTIONS = "/v1/projects/{}/locations/{}/connections"


def path_of(self: Cloud, location: str, name: str) -> str:
    return f"projects/{self.number}/locations/{location.lower()}/connections/{name}"


def connection(self: Cloud, location: str, name: str) -> dict[str, Any]:
    path = path_of(self, location, name)
    if path not in self.connections:
        raise Refused(404, f"Not found: Connection {path}")
    return self.connections[path]


@route("POST", CONNECTIONS, "bigqueryconnection")
def create_connection(self: Cloud, call: Call, project: str, location: str) -> Any:
    if location.lower() not in MULTI_REGIONS:
        known(location)
    name = call.query["connectionId"]
    path = path_of(self, location, name)
    if path in self.connections:
        raise Refused(409, f"Already Exists: Connection {path}")
    if "cloudResource" not in call.body:
        raise Refused(400, "Only connections of the type CLOUD_RESOURCE are pretended here.")
    account = f"bqcx-{self.number}-{len(self.connections):04}@gcp-sa-bigquery-condel.iam.gserviceaccount.com"
    self.connections[path] = {**call.body, "name": path, "cloudResource": {"serviceAccountId": account}}
    return self.connections[path]


@route("GET", CONNECTIONS, "bigqueryconnection")
def list_connections(self: Cloud, call: Call, project: str, location: str) -> Any:
    place = path_of(self, location, "")
    return {"connections": [each for path, each in self.connections.items() if path.startswith(place)]}


@route("GET PATCH DELETE", CONNECTIONS + "/{}", "bigqueryconnection")
def one_connection(self: Cloud, call: Call, project: str, location: str, name: str) -> Any:
    found = connection(self, location, name)
    if call.method == "DELETE":
        del self.connections[found["name"]]
        return {}
    if call.method == "PATCH":
        found |= {each: call.body[each] for each in call.query["updateMask"].split(",")}
    return found


# --- Datasets and functions

DATASETS = "/bigquery/v2/projects/{}/datasets/{}"


def dataset(self: Cloud, name: str) -> str:
    """Return the location of a dataset."""
    if name not in self.datasets:
        raise Refused(404, f"Not found: Dataset {self.project}:{name}")
    return self.datasets[name]


@route("GET", DATASETS, "bigquery")
def get_dataset(self: Cloud, call: Call, project: str, name: str) -> Any:
    reference = {"projectId": self.project, "datasetId": name}
    full = {"id": f"{self.project}:{name}", "datasetReference": reference, "location": dataset(self, name)}
    return {"kind": "bigquery#dataset", "creationTime": "0", "lastModifiedTime": "0", **full}


@route("POST", "/bigquery/v2/projects/{}/datasets", "bigquery")
def create_dataset(self: Cloud, call: Call, project: str) -> Any:
    name = call.body["datasetReference"]["datasetId"]
    if name in self.datasets:
        raise Refused(409, f"Already Exists: Dataset {self.project}:{name}")
    self.datasets[name] = call.body.get("location", "US")
    return get_dataset(self, call, project, name)


@route("GET DELETE", DATASETS + "/routines/{}", "bigquery")
def one_routine(self: Cloud, call: Call, project: str, name: str, routine: str) -> Any:
    dataset(self, name)
    if f"{name}.{routine}" not in self.routines:
        raise Refused(404, f"Not found: Routine {self.project}:{name}.{routine}")
    if call.method == "DELETE":
        del self.routines[f"{name}.{routine}"]
        return {}
    return self.routines[f"{name}.{routine}"]


@route("POST", "/bigquery/v2/projects/{}/jobs", "bigquery")
def insert_job(self: Cloud, call: Call, project: str) -> Any:
    """Run a statement; an error is in the job, as with Google."""
    reference = {**call.body["jobReference"], "location": call.body["jobReference"].get("location", "US")}
    query = call.body["configuration"]["query"]
    status: dict[str, Any] = {"state": "DONE"}
    try:
        if query.get("useLegacySql", True):
            raise Refused(400, "Legacy SQL has no functions.")
        create_function(self, query["query"], reference["location"])
    except Refused as refused:
        status["errorResult"] = {"reason": "invalidQuery", "message": refused.message}
        status["errors"] = [status["errorResult"]]
    statistics = {"creationTime": "0", "query": {"statementType": "CREATE_FUNCTION"}}
    job = {"kind": "bigquery#job", "jobReference": reference, "status": status, "statistics": statistics}
    self.jobs[reference["jobId"]] = {**job, "configuration": call.body["configuration"]}
    return self.jobs[reference["jobId"]]


@route("GET", "/bigquery/v2/projects/{}/jobs/{}", "bigquery")
def get_job(self: Cloud, call: Call, project: str, name: str) -> Any:
    return self.jobs[name]


@route("GET", "/bigquery/v2/projects/{}/queries/{}", "bigquery")
def get_rows(self: Cloud, call: Call, project: str, name: str) -> Any:
    return {"jobReference": self.jobs[name]["jobReference"], "jobComplete": True, "totalRows": "0"}


def create_function(self: Cloud, statement: str, location: str) -> None:
    """Create the function, after the checks that Google makes.

    Raises:
        Refused: its dataset or connection does not exist, or is elsewhere.
    """
    found = CREATE.fullmatch(statement)
    if not found:
        raise Refused(400, f"Syntax error: {statement}")
    project, name, routine = found["name"].split(".")
    place = dataset(self, name).lower()
    if project != self.project or location.lower() != place:
        raise Refused(404, f"Not found: Dataset {project}:{name} was not found in location {location}")
    _, where, connected = found["connection"].split(".")
    held_in = connection(self, where, connected)
    if where.lower() != place:
        raise Refused(400, f"The connection is in {where}, the dataset in {place}.")
    arguments = [each.rpartition(" ") for each in found["arguments"].split(", ")]
    if not re.fullmatch(r"\w+", routine) or not all(re.fullmatch(r"\w+", each[0]) for each in arguments):
        raise Refused(400, f"Invalid name in {found['name']} or its arguments.")
    kinds = [{"name": each, "dataType": {"typeKind": kind}} for each, _, kind in arguments]
    remote = {"endpoint": found["endpoint"], "maxBatchingRows": found["rows"], "connection": held_in["name"]}
    reference = {"projectId": project, "datasetId": name, "routineId": routine}
    self.routines[f"{name}.{routine}"] = {
        **{"routineReference": reference, "routineType": "SCALAR_FUNCTION", "etag": NOW},
        **{"arguments": kinds, "returnType": {"typeKind": found["returns"]}},
        **{"creationTime": "0", "lastModifiedTime": "0", "remoteFunctionOptions": remote},
    }
