"""Two alert policies for a function: the share of 5xx responses, and the p95 latency."""

import json
from collections.abc import Sequence
from typing import Any

from . import inspection, plan, queries
from .config import Config
from .console import DeployError, info
from .execute import execute
from .gcloud import Gcloud, dig, objects, text
from .plan import Step
from .state import State

LABEL = "deployed-function"
"""The user label that marks policies and channels created here."""
SHARE, LATENCY, MINUTES = 0.05, 2000, 5
"""An alert fires above this share of 5xx responses, or this p95 latency in ms, for this many minutes."""


def create(config: Config, gcloud: Gcloud) -> None:
    """Create what is missing: a notification channel for the address, and the policies that notify it."""
    [name] = config.names
    inspection.check_gcloud(gcloud)
    _components(gcloud)
    queries.project_number(gcloud)
    if "monitoring" not in queries.apis(gcloud):
        execute(config, gcloud, [plan.enable_apis(["monitoring"])])
    existing_policies, channels = _list(gcloud)
    ours = [each for each in channels if text(each, "labels", "email_address") == config.email]
    if not ours:
        create = Step(
            (
                *("beta", "monitoring", "channels", "create", "--type=email"),
                *(f"--display-name={config.email}", f"--channel-labels=email_address={config.email}"),
                f"--user-labels={LABEL}=any",
            )
        )
        execute(config, gcloud, [create])
        ours = [] if config.dry_run else [each for each in _list(gcloud)[1] if _address(each) == config.email]
    channel = text(ours[0], "name") if ours else "CHANNEL"
    ending = f" in {config.region}"  # which the names of policies of version 0.1.0 do not have
    existing = {
        text(each, "displayName").removesuffix(ending): each
        for each in existing_policies
        if function_of(each) == name and _watches(each, config.region)
    }
    steps = []
    for title, condition in conditions(name, config.region).items():
        same = existing.get(title.removesuffix(ending))
        if same is None:
            policy = {
                "displayName": title,
                "combiner": "OR",
                "conditions": [condition],
                "userLabels": {LABEL: name},
            }
            create_policy = ("alpha", "monitoring", "policies", "create", f"--policy={json.dumps(policy)}")
            steps.append(Step((*create_policy, f"--notification-channels={channel}")))
        elif channel not in (dig(same, "notificationChannels") or []):
            update = ("alpha", "monitoring", "policies", "update", text(same, "name"))
            steps.append(Step((*update, f"--add-notification-channels={channel}")))
    execute(config, gcloud, steps)
    info(f"{name}: alerts go to {config.email}" if steps else f"{name}: unchanged")


def conditions(name: str, region: str) -> dict[str, dict[str, Any]]:
    """Return the condition of each policy by the policy's name, on Cloud Run's own metrics."""
    where = (
        f'resource.type="cloud_run_revision" AND resource.labels.service_name="{name}" '
        f'AND resource.labels.location="{region}"'
    )
    count = f'{where} AND metric.type="run.googleapis.com/request_count"'
    latencies = f'{where} AND metric.type="run.googleapis.com/request_latencies"'
    rate = {"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_RATE", "crossSeriesReducer": "REDUCE_SUM"}
    slowest = {
        "alignmentPeriod": "60s",
        "perSeriesAligner": "ALIGN_DELTA",
        "crossSeriesReducer": "REDUCE_PERCENTILE_95",
    }
    over = {"comparison": "COMPARISON_GT", "duration": f"{60 * MINUTES}s"}
    errors = {
        "filter": f'{count} AND metric.labels.response_code_class="5xx"',
        "aggregations": [rate],
        "denominatorFilter": count,
        "denominatorAggregations": [rate],
        "thresholdValue": SHARE,
        **over,
    }
    slow = {"filter": latencies, "aggregations": [slowest], "thresholdValue": LATENCY, **over}
    titles = (
        f"{name}: more than {SHARE:.0%} are 5xx in {region}",
        f"{name}: p95 over {LATENCY / 1000:g} s in {region}",
    )
    return {
        title: {"displayName": title, "conditionThreshold": each}
        for title, each in zip(titles, (errors, slow), strict=True)
    }


def to_delete(
    config: Config, gcloud: Gcloud, state: State, names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the policies of these functions in this region, and the channels that no other policy uses."""
    if "monitoring" not in state.apis:
        return [], []
    try:
        _components(gcloud)
        policies, channels = _list(gcloud)
    except DeployError as error:
        info(f"warning: alerts are not deleted, if there are any: {error}")
        return [], []
    ours = [each for each in policies if function_of(each) in names and _watches(each, config.region)]
    used = {name for each in policies if each not in ours for name in dig(each, "notificationChannels") or []}
    return ours, [each for each in channels if function_of(each) and text(each, "name") not in used]


def _list(gcloud: Gcloud) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    policies = gcloud.rows("alpha", "monitoring", "policies", "list")
    return policies, gcloud.rows("beta", "monitoring", "channels", "list")


def _components(gcloud: Gcloud) -> None:
    """Check that gcloud has the commands for alerts.

    Raises:
        DeployError: a component is missing.
    """
    components = gcloud.one("version")
    if missing := [each for each in ("alpha", "beta") if each not in components]:
        raise DeployError([f"gcloud lacks a component: run 'gcloud components install {' '.join(missing)}'"])


def function_of(resource: Any) -> str:
    """Return the function that a policy or a channel was created for; empty if it was not created here."""
    return text(resource, "userLabels", LABEL)


def _watches(policy: Any, region: str) -> bool:
    """Return whether a policy watches a service of this region: the region is in its condition's filter."""
    return any(
        f'location="{region}"' in text(each, "conditionThreshold", "filter")
        for each in objects(policy, "conditions")
    )


def _address(channel: Any) -> str:
    return text(channel, "labels", "email_address")


def delete_policy(policy: Any) -> tuple[str, Step]:
    """Return a line and the step that deletes a policy."""
    delete = ("alpha", "monitoring", "policies", "delete", text(policy, "name"), "--quiet")
    return f"alert {text(policy, 'displayName')}", Step(delete)


def delete_channel(channel: Any) -> tuple[str, Step]:
    """Return a line and the step that deletes a channel, which no policy may use any more."""
    delete = ("beta", "monitoring", "channels", "delete", text(channel, "name"), "--quiet")
    return f"notification channel {text(channel, 'displayName')}", Step(delete)
