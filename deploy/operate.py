"""What an operator does afterwards: look, read logs, go back, take away."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import alerts, day, look, plan, queries, report, traffic
from .answer import ask, token
from .execute import execute
from .gcloud import Gcloud, GcloudError, text
from .plan import Step
from .say import Refused, say
from .there import Service, There
from .wanted import Wanted

EVERY = 3
"""Seconds between two looks at new log lines: Cloud Logging allows 60 reads a minute."""


def status(wanted: Wanted, gcloud: Gcloud) -> None:
    """Print how each function is."""
    services = _look(wanted, gcloud).services
    for name in wanted.names:
        if name in services and not services[name].owner:
            _describe(wanted, gcloud, name, services[name])
        else:
            print(f"{name}: not deployed")


def _look(wanted: Wanted, gcloud: Gcloud) -> There:
    """What is deployed, and what belongs to it."""
    look.tools(gcloud)
    number, apis = queries.project_number(gcloud), queries.apis(gcloud)
    target = look.TARGETS[wanted.to]
    services = target.look(gcloud, wanted) if apis.issuperset(target.APIS) else {}
    return There(number=number, apis=apis, services=services)


def _describe(wanted: Wanted, gcloud: Gcloud, name: str, service: Service) -> None:
    shares = ", ".join(f"{revision} {percent} %" for revision, percent in service.traffic.items())
    print(f"{name}: {service.url}")
    print(f"  state and commit  {service.state}, {service.commit}")
    print(f"  revision          {shares or 'none'}")
    try:
        bearer = token(wanted, gcloud, service.url)
    except GcloudError:
        bearer = ""  # one that is public answers without
    code, answer = ask(service.url, bearer)
    if code == 200 and isinstance(answer, dict):
        memory = "in memory" if answer.get("ready") else "not in memory"
        print(f"  model             {text(answer, 'model', 'version')}, {memory}")
    else:
        print(f"  no answer: {code} {answer}")
    callers = queries.callers(gcloud, wanted, name)
    public = replace(service, callers=callers).public
    print(f"  who may call      {report.may_call(public, service.settings, callers)}")
    print(f"  last day          {_last_day(wanted, gcloud, name)}")


def _last_day(wanted: Wanted, gcloud: Gcloud, name: str) -> str:
    wanted_lines = day.filter_of(name, wanted.region, *day.CALLS)
    try:
        entries = gcloud.rows("logging", "read", wanted_lines, "--freshness=1d", f"--limit={day.MOST}")
    except GcloudError as error:
        return f"not known: {error}"
    return day.summary(entries)


def roll_back(wanted: Wanted, gcloud: Gcloud) -> None:
    """Give all traffic to the revision before the newest that has any."""
    [name] = wanted.names
    look.tools(gcloud)
    queries.project_number(gcloud)
    region = f"--region={wanted.region}"
    try:
        service = gcloud.one("run", "services", "describe", name, region)
    except GcloudError as error:
        if "Cannot find service" in error.text:
            raise Refused([f"{name} is not deployed: see './deploy.sh status'"]) from None
        raise
    revisions = gcloud.rows("run", "revisions", "list", f"--service={name}", region)
    newest, before = traffic.way_back(service, revisions)
    if before is None:
        raise Refused([f"{name} has no revision before {newest}: deploy an older commit instead"])
    _check_way_back(wanted, gcloud, revisions, newest, before)
    note = f"{name}: {before} has all the traffic, {newest} none; the next deploy gives it to the latest"
    command = ("run", "services", "update-traffic", name, region, f"--to-revisions={before}=100")
    execute(wanted, gcloud, [Step(command, note=note)])


def _check_way_back(
    wanted: Wanted, gcloud: Gcloud, revisions: Sequence[Mapping[str, Any]], newest: str | None, before: str
) -> None:
    """Refuse to go back to a revision that does not check its callers, if anyone reaches it."""
    [name] = wanted.names
    checks = {
        text(each, "metadata", "name"): {"SIGN_IN", "APP_CHECK"} & {*queries.settings(each)}
        for each in revisions
    }
    lost = checks.get(newest or "", set()) - checks.get(before, set())
    if lost and "allUsers" in queries.callers(gcloud, wanted, name):
        raise Refused(
            [
                f"{before} does not check its callers ({', '.join(sorted(lost))}), and anyone can reach it: "
                "deploy that commit again, with the options that it should have"
            ]
        )


def logs(wanted: Wanted, gcloud: Gcloud) -> None:
    """Print the last log lines, and with `--follow` new ones as they come."""
    [name] = wanted.names
    look.tools(gcloud)
    queries.project_number(gcloud)
    more = ["severity>=ERROR"] if wanted.errors else []
    seen: set[str] = set()
    newest = ""
    while True:
        since = [f'timestamp>="{newest}"'] if newest else []
        asked = day.filter_of(name, wanted.region, *more, *since)
        limit = "--limit=1000" if newest else "--limit=50"
        entries = gcloud.rows("logging", "read", asked, "--freshness=7d", limit)
        for entry in sorted(entries, key=lambda each: text(each, "timestamp")):
            if (key := text(entry, "insertId") + text(entry, "timestamp")) not in seen:
                print(day.line(entry), flush=True)
                seen.add(key)
        newest = max([newest, *(text(each, "timestamp") for each in entries)])
        if not wanted.follow:
            return
        time.sleep(EVERY)


def destroy(wanted: Wanted, gcloud: Gcloud) -> None:
    """Take away what was deployed here, after a question."""
    state = _doomed(wanted, gcloud)
    policies, channels = alerts.left(gcloud, state, wanted.names)
    ours = {name for name, each in state.services.items() if not each.owner}
    lines, steps = [], []
    for name in wanted.names:
        mine = [each for each in policies if alerts.function_of(each) == name]
        lines += [f"alert {text(each, 'displayName')}" for each in mine]
        if name in ours:
            lines.append(f"{look.TARGETS[wanted.to].KIND} {name}")
        if wanted.account(name) in state.accounts:
            lines.append(f"service account {wanted.account(name)}")
        delete = look.TARGETS[wanted.to].delete(wanted, name) if name in ours else None
        steps += plan.remove(wanted, name, state, delete, alerts.delete_policies(mine))
    steps += alerts.delete_channels(channels)
    lines += [f"notification channel {text(each, 'displayName')}" for each in channels]
    if wanted.with_bucket and state.bucket == "there":
        lines.append(f"bucket gs://{wanted.bucket} with all its models")
        steps.append(Step(("storage", "rm", "--recursive", f"gs://{wanted.bucket}")))
    if not steps:
        say(f"there is nothing to delete in {wanted.project}, {wanted.region}")
        return
    say(f"this deletes in {wanted.project}, {wanted.region}:")
    for line in lines:
        say(f"  {line}")
    if not wanted.dry_run and not wanted.yes:
        _confirm(wanted)
    execute(wanted, gcloud, steps)


def _doomed(wanted: Wanted, gcloud: Gcloud) -> There:
    state = _look(wanted, gcloud)
    bucket, readers = queries.bucket(gcloud, wanted.bucket)
    accounts = queries.accounts(gcloud) if "iam" in state.apis else frozenset()
    return There(
        number=state.number,
        apis=state.apis,
        services=state.services,
        bucket=bucket,
        readers=readers,
        accounts=accounts,
    )


def _confirm(wanted: Wanted) -> None:
    say("type the project's ID to go on:")
    try:
        answer = input()
    except EOFError:
        answer = ""
    if answer != wanted.project:
        raise Refused(["nothing was deleted"])
