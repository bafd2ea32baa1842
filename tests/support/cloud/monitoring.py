"""Cloud Monitoring: alert policies, and the channels that they notify."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .calls import Call, Refused, route

if TYPE_CHECKING:
    from . import Cloud

KINDS = {"alertPolicies": "policies", "notificationChannels": "channels"}


def kept(self: Cloud, kind: str) -> dict[str, Any]:
    """The resources of one kind, by name."""
    resources: dict[str, Any] = getattr(self, KINDS[kind])
    return resources


def checked(self: Cloud, kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Refuse, as Google does, a channel without an address, or a policy with unknown channels or metrics."""
    if kind == "notificationChannels":
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", given.get("labels", {}).get("email_address", "")):
            raise Refused(400, "Field notification_channel.labels: email_address is no address.")
        return given
    for each in given["conditions"]:
        threshold = each["conditionThreshold"]
        for expression in (threshold["filter"], threshold.get("denominatorFilter", threshold["filter"])):
            if not {"resource.type=", "metric.type="} <= set(re.findall(r"[a-z]+\.type=", expression)):
                raise Refused(400, "The filter must name a resource type and a metric type.")
        if not re.fullmatch(r"\d+s", threshold["duration"]) or "thresholdValue" not in threshold:
            raise Refused(400, "The condition needs a duration and a threshold.")
    if strange := set(given.get("notificationChannels", [])) - set(self.channels):
        raise Refused(404, f"Notification channel {strange.pop()} was not found.")
    return given


@route("GET", "/v3/projects/{}/{}", "monitoring")
def list_resources(self: Cloud, call: Call, project: str, kind: str) -> Any:
    return {kind: [*kept(self, kind).values()]}


@route("POST", "/v3/projects/{}/{}", "monitoring")
def create_resource(self: Cloud, call: Call, project: str, kind: str) -> Any:
    self.count += 1
    name = f"projects/{self.project}/{kind}/{self.count}"
    kept(self, kind)[name] = {**checked(self, kind, call.body), "name": name}
    return kept(self, kind)[name]


@route("GET DELETE PATCH", "/v3/projects/{}/{}/{}", "monitoring")
def one_resource(self: Cloud, call: Call, project: str, kind: str, number: str) -> Any:
    name = f"projects/{self.project}/{kind}/{number}"
    if name not in kept(self, kind):
        raise Refused(404, f"{name} was not found.")
    if call.method == "DELETE":
        if any(name in each.get("notificationChannels", []) for each in self.policies.values()):
            raise Refused(400, "A channel that a policy notifies cannot be deleted.")
        del kept(self, kind)[name]
        return {}
    if call.method == "PATCH":
        kept(self, kind)[name] = checked(self, kind, {**kept(self, kind)[name], **call.body})
    return kept(self, kind)[name]
