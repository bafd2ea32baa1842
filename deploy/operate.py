"""Operate what is deployed: status, logs, rollback."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import inspection, log_summary, queries, report, traffic
from .config import Config
from .console import DeployError
from .execute import execute
from .gcloud import Gcloud, GcloudError, text
from .plan import Step
from .smoke_test import identity_token, request
from .state import Service

POLL_SECONDS = 3
"""Seconds between reads of new log entries: Cloud Logging allows 60 reads a minute."""


def status(config: Config, gcloud: Gcloud) -> None:
    """Print the status of each function."""
    services = inspection.inspect_deployed(config, gcloud).services
    for name in config.names:
        if name in services and not services[name].owner:
            _describe(config, gcloud, name, services[name])
        else:
            print(f"{name}: not deployed")


def _describe(config: Config, gcloud: Gcloud, name: str, service: Service) -> None:
    shares = ", ".join(f"{revision} {percent} %" for revision, percent in service.traffic.items())
    print(f"{name}: {service.url}")
    print(f"  state and commit  {service.state}, {service.commit}")
    print(f"  revision          {shares or 'none'}")
    try:
        bearer = identity_token(config, gcloud, service.url)
    except GcloudError:
        bearer = ""  # a public function needs none
    code, answer = request(service.url, bearer)
    if code == 200 and isinstance(answer, dict):
        memory = "in memory" if answer.get("ready") else "not in memory"
        print(f"  model             {text(answer, 'model', 'version')}, {memory}")
    else:
        print(f"  no answer: {code} {answer}")
    callers = queries.callers(gcloud, config, name)
    public = replace(service, callers=callers).public
    print(f"  who may call      {report.may_call(public, service.settings, callers)}")
    print(f"  last day          {_last_day(config, gcloud, name)}")


def _last_day(config: Config, gcloud: Gcloud, name: str) -> str:
    query = log_summary.filter_of(name, config.region, *log_summary.CALLS)
    try:
        entries = gcloud.rows(
            "logging", "read", query, "--freshness=1d", f"--limit={log_summary.MAX_ENTRIES}"
        )
    except GcloudError as error:
        return f"unknown: {error}"
    return log_summary.summary(entries)


def roll_back(config: Config, gcloud: Gcloud) -> None:
    """Send all traffic to the revision before the newest one that has any."""
    [name] = config.names
    inspection.check_gcloud(gcloud)
    queries.project_number(gcloud)
    region = f"--region={config.region}"
    try:
        service = gcloud.one("run", "services", "describe", name, region)
    except GcloudError as error:
        if "Cannot find service" in error.text:
            raise DeployError([f"{name} is not deployed: see './deploy.sh status'"]) from None
        raise
    revisions = gcloud.rows("run", "revisions", "list", f"--service={name}", region)
    newest, before = traffic.rollback_target(service, revisions)
    if before is None:
        raise DeployError([f"{name} has no revision before {newest}: deploy an older commit instead"])
    _check_rollback_target(config, gcloud, revisions, newest, before)
    note = f"{name}: {before} has all traffic, {newest} none; the next deploy sends it to the latest again"
    command = ("run", "services", "update-traffic", name, region, f"--to-revisions={before}=100")
    execute(config, gcloud, [Step(command, note=note)])


def _check_rollback_target(
    config: Config, gcloud: Gcloud, revisions: Sequence[Mapping[str, Any]], newest: str | None, before: str
) -> None:
    """Refuse to go back to a revision that does not verify its callers while the function is public."""
    [name] = config.names
    checks = {
        text(each, "metadata", "name"): {"SIGN_IN", "APP_CHECK"} & {*queries.settings(each)}
        for each in revisions
    }
    lost = checks.get(newest or "", set()) - checks.get(before, set())
    if lost and "allUsers" in queries.callers(gcloud, config, name):
        raise DeployError(
            [
                f"{before} does not verify its callers ({', '.join(sorted(lost))}), and anyone can reach it: "
                "deploy that commit again with these options"
            ]
        )


def logs(config: Config, gcloud: Gcloud) -> None:
    """Print the last log entries, and with `--follow` new ones as they arrive."""
    [name] = config.names
    inspection.check_gcloud(gcloud)
    queries.project_number(gcloud)
    more = ["severity>=ERROR"] if config.errors else []
    seen: set[str] = set()
    newest = ""
    while True:
        since = [f'timestamp>="{newest}"'] if newest else []
        query = log_summary.filter_of(name, config.region, *more, *since)
        limit = "--limit=1000" if newest else "--limit=50"
        entries = gcloud.rows("logging", "read", query, "--freshness=7d", limit)
        for entry in sorted(entries, key=lambda each: text(each, "timestamp")):
            if (key := text(entry, "insertId") + text(entry, "timestamp")) not in seen:
                print(log_summary.format_entry(entry), flush=True)
                seen.add(key)
        newest = max([newest, *(text(each, "timestamp") for each in entries)])
        if not config.follow:
            return
        time.sleep(POLL_SECONDS)
