"""Workload Identity Federation: pools, and the providers whose tokens they accept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .calls import Call, Refused, route

if TYPE_CHECKING:
    from . import Cloud

POOLS = "/v1/projects/{}/locations/{}/workloadIdentityPools"


def add(self: Cloud, name: str, identifier: str, given: dict[str, Any]) -> dict[str, Any]:
    """Store a pool or a provider; return an operation that is done."""
    if not re.fullmatch("[a-z0-9-]{4,32}", identifier) or identifier.startswith("gcp-"):
        raise Refused(
            400, f"Invalid ID {identifier!r}: 4 to 32 small letters, digits and hyphens were expected."
        )
    if name in self.pools:
        raise Refused(409, f"Requested entity already exists: {name}")
    self.pools[name] = {**given, "name": name, "state": "ACTIVE"}
    return {"name": f"{name}/operations/1", "done": True, "response": self.pools[name]}


def found(self: Cloud, name: str) -> dict[str, Any]:
    if name not in self.pools:
        raise Refused(404, f"Requested entity was not found: {name}")
    kept: dict[str, Any] = self.pools[name]
    return kept


def place(self: Cloud, *names: str) -> str:
    return f"projects/{self.number}/locations/global/workloadIdentityPools/" + "/providers/".join(names)


@route("POST", POOLS, "iam")
def create_pool(self: Cloud, call: Call, project: str, region: str) -> Any:
    name = call.query["workloadIdentityPoolId"]
    return add(self, place(self, name), name, call.body)


@route("GET", POOLS + "/{}", "iam")
def get_pool(self: Cloud, call: Call, project: str, region: str, pool: str) -> Any:
    return found(self, place(self, pool))


@route("POST", POOLS + "/{}:undelete", "iam")
def undelete_pool(self: Cloud, call: Call, project: str, region: str, pool: str) -> Any:
    found(self, place(self, pool))["state"] = "ACTIVE"
    return {
        "name": f"{place(self, pool)}/operations/1",
        "done": True,
        "response": found(self, place(self, pool)),
    }


@route("POST", POOLS + "/{}/providers", "iam")
def create_provider(self: Cloud, call: Call, project: str, region: str, pool: str) -> Any:
    found(self, place(self, pool))
    name = call.query["workloadIdentityPoolProviderId"]
    if "assertion.repository" not in call.body.get("attributeCondition", ""):
        raise Refused(400, "The attribute condition must reference one of the provider's claims.")
    return add(self, place(self, pool, name), name, call.body)


@route("GET", POOLS + "/{}/providers/{}", "iam")
def get_provider(self: Cloud, call: Call, project: str, region: str, pool: str, name: str) -> Any:
    return found(self, place(self, pool, name))


@route("GET", POOLS + "/{}/operations/{}", "iam")
@route("GET", POOLS + "/{}/providers/{}/operations/{}", "iam")
def pool_operation(self: Cloud, call: Call, *names: str) -> Any:
    name = place(self, *names[2:-1])
    return {"name": f"{name}/operations/1", "done": True, "response": found(self, name)}
