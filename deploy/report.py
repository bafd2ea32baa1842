"""The report after a deployment: URL, example calls, who may call, idle cost, how to undo it."""

import json
import mimetypes
import shlex
from collections.abc import Mapping, Sequence

from . import sizes, stage
from .bigquery.function import locations, remote_function
from .config import ROOT, Config
from .options import OPTIONS
from .source import Function

SECONDS = 2_628_000
"""Seconds in a month."""
CPU_SECOND, GIB_SECOND = 0.000024, 0.0000025
"""US dollars while a request is processed (Cloud Run, tier 1); an idle minimum instance costs no more."""


def print_report(config: Config, function: Function, url: str, callers: Sequence[str]) -> None:
    """Print the report; it is the same for the same deployment."""
    print(f"{function.name}: {url}")
    for call in calls(config, function, url):
        print(f"  {call}")
    print(f"  who may call  {who_may_call(config, callers)}")
    print(f"  idle          {idle_cost(config, function)}")
    for line in in_sql(config, function, url):
        print(line)
    print(f"  undo          {undo(config, function.name)}", flush=True)


def in_sql(config: Config, function: Function, url: str) -> list[str]:
    """Return how to call it from BigQuery: the command, and the statement that it runs."""
    if config.to == "appengine" or config.sign_in or config.app_check:
        return []  # BigQuery calls Cloud Run only, and cannot sign in
    places = locations(config.region)
    remote = remote_function(config, function.name, function.example, url, config.region)
    command = f"./deploy.sh bigquery {function.name} --dataset DATASET{same_place(config)}"
    head = f"  in BigQuery   {command}; for a dataset in {' or '.join(places)} it runs, with its location:"
    return [head, *(f"    {line}" for line in remote.statement.splitlines())]


def calls(config: Config, function: Function, url: str) -> list[str]:
    """Return shell commands that call it."""
    own = "" if config.open else ' -H "Authorization: Bearer $(gcloud auth print-identity-token)"'
    token = ' -H "Authorization: Bearer $USER_TOKEN"' if config.sign_in else own
    token += ' -H "X-Firebase-AppCheck: $APP_TOKEN"' if config.app_check else ""
    if file := function.example.file:
        path = (ROOT / "functions" / function.name / file.name).relative_to(ROOT)
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        body = f"-H 'Content-Type: {kind}' --data-binary @{shlex.quote(str(path))}"
    else:
        content = json.dumps({"instances": [function.example.input]})
        body = f"-H 'Content-Type: application/json' -d {shlex.quote(content)}"
    commands = [f"curl{token} {body} {url}", f"curl{own} {url}"]
    return [*commands, f"open {url} in a browser"] if config.open else commands


def who_may_call(config: Config, callers: Sequence[str]) -> str:
    """Return who may call what was just deployed."""
    return may_call(config.open, stage.environment(config), callers)


def may_call(public: bool, settings: Mapping[str, str], callers: Sequence[str]) -> str:
    """Return who may call a function: first Google's check, then the function's own."""
    origins = settings.get("ALLOWED_ORIGINS", "")
    pages = f"; pages of {origins}" if origins else ""
    app = f", from apps of project {settings['APP_CHECK']}" if settings.get("APP_CHECK") else ""
    sign_in, allow = settings.get("SIGN_IN", ""), settings.get("SIGN_IN_ALLOW", "")
    some = f" ({allow})" if allow else ", not anonymous ones" if sign_in.startswith("firebase:") else ""
    users = f"users of {sign_in}{some}"
    if public:
        return f"{users if sign_in else 'anyone, at your expense'}{app}{pages}"
    named = [each for each in callers if each not in ("allUsers", "allAuthenticatedUsers")]
    if "allAuthenticatedUsers" in callers:
        return "anyone with a Google account"
    return "callers with roles/run.invoker: " + ", ".join([*named, "the project's owners and editors"])


def idle_cost(config: Config, function: Function) -> str:
    """Return what it costs while nobody calls."""
    if config.to == "appengine" or not config.min_instances:
        return "only the storage of its model and its image"
    memory, cpus = stage.memory(config, function) / 1024, stage.cpu(config, function)
    dollars = config.min_instances * (cpus * CPU_SECOND + memory * GIB_SECOND) * SECONDS
    size = sizes.format_size(stage.memory(config, function))
    return f"{config.min_instances} x {cpus} CPU and {size}, at most {dollars:.0f} dollars a month"


def undo(config: Config, name: str) -> str:
    """Return how to undo the deployment."""
    if config.to == "appengine":
        return "gcloud app versions list, then gcloud app services set-traffic SERVICE --splits=VERSION=1"
    more = same_place(config)
    return f"./deploy.sh rollback {name}{more}, or ./deploy.sh destroy{more}"


def same_place(config: Config) -> str:
    """Return the options for region and target that differ from the defaults."""
    options = ""
    for each in OPTIONS:
        if each.field in ("region", "to") and getattr(config, each.field) != each.default:
            options += f" {each.flag} {getattr(config, each.field)}"
    return options
