"""Service Usage, Cloud Resource Manager, Cloud Billing, IAM and Cloud Logging."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from .calls import NOW, Call, Policy, Refused, route

if TYPE_CHECKING:
    from . import Cloud

# The services that are enabled in every new project.
BASIC = {"bigquery", "logging", "monitoring", "servicemanagement", "serviceusage", "storage", "storage-api"}
KNOWN = BASIC | {
    *(
        "appengine",
        "artifactregistry",
        "cloudbilling",
        "cloudbuild",
        "cloudfunctions",
        "cloudresourcemanager",
        "compute",
    ),
    *(
        "bigqueryconnection",
        "dataflow",
        "eventarc",
        "iam",
        "iamcredentials",
        "pubsub",
        "run",
        "secretmanager",
        "sts",
    ),
}
NEED_BILLING = {
    "appengine",
    "artifactregistry",
    "cloudbuild",
    "cloudfunctions",
    "compute",
    "run",
    "secretmanager",
}


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
    if "appengine" in short:
        self.add_account(f"{self.project}@appspot.gserviceaccount.com")
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
    """Return a policy with its etag, which shows whether somebody else has changed it since."""
    return policy | {"etag": f"{hash(json.dumps(policy, sort_keys=True)) & 0xFFFFFF:08x}"}


def changed(self: Cloud, before: Policy, call: Call) -> Policy:
    """Return the policy in a setIamPolicy call, after its checks."""
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


# --- Cloud Logging


@route("POST", "/v2/entries:list", "logging")
def list_entries(self: Cloud, call: Call) -> Any:
    return {"entries": self.logs}
