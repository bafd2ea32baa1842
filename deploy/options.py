"""The options, each declared once: flag, environment variable, default, parser, help."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

TARGETS = ("functions", "run", "appengine")


def _text(pattern: str, expected: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected {expected}, got {value!r}")
        return value

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", value) or int(value) < low:
            raise ValueError(f"expected a whole number, got '{value}'")
        if int(value) > high:
            raise ValueError(f"at most {high}, got '{value}'")
        return int(value)

    return parse


def _rows(value: str) -> int:
    return _whole(1, 100_000)(value) if value else 0


def _cpus(value: str) -> int:
    return _whole(1, 8)(value) if value else 0


def _percent(value: str) -> int | None:
    if value and not re.fullmatch("[1-9][0-9]?", value):
        raise ValueError(f"expected 1 to 99 percent, got '{value}'")
    return int(value) if value else None


def _yes(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f"expected 0 or 1, got '{value}'")
    return value == "1"


class Option(NamedTuple):
    """One option; `value` names its value in the help, empty for a switch."""

    flag: str
    value: str
    variable: str
    default: str
    parse: Callable[[str], Any]
    meaning: str

    @property
    def field(self) -> str:
        """The field of `Config` that it sets."""
        return self.flag.removeprefix("--").replace("-", "_")


_PROJECT = _text("(|[a-z][a-z0-9-]{4,28}[a-z0-9])", "a project's ID")
_REGION = _text("[a-z]+-[a-z]+[0-9]+", "a region such as europe-west1")
_NAME = _text("(|[a-z0-9][a-z0-9._-]{1,61}[a-z0-9])", "the name of a bucket")
_FOLDERS = _text(r"[\w.-]+(/[\w.-]+)*", "folders such as models/v1")
_TARGET = _text("|".join(TARGETS), "functions, run or appengine")
_RUNTIME = _text("python3[0-9]+", "a runtime such as python311")
_SIZE = _text("(|[1-9][0-9]*(Mi|Gi))", "a size such as 512Mi or 2Gi")
_DATASET = _text(
    "(|[A-Za-z0-9_]{1,1024})", "a dataset of the project by its name: letters, digits and underscores"
)
_ADDRESS = _text(r"(|[^@\s,=]+@[^@\s,=]+)", "an address such as name@example.org")
OPTIONS = (
    Option("--project", "ID", "PROJECT_ID", "", _PROJECT, "the project"),
    Option("--region", "REGION", "REGION", "europe-west1", _REGION, "default europe-west1"),
    Option("--bucket", "NAME", "BUCKET", "", _NAME, "default PROJECT_ID-models; where the models are stored"),
    Option("--prefix", "PREFIX", "PREFIX", "models", _FOLDERS, "default models; the folder in the bucket"),
    Option("--origins", "LIST", "ALLOWED_ORIGINS", "", str, "web pages that may call, comma separated, or *"),
    Option(
        "--public", "", "PUBLIC", "0", _yes, "anyone may call; default: only callers with roles/run.invoker"
    ),
    Option(
        "--sign-in",
        "PROVIDER",
        "SIGN_IN",
        "",
        str,
        "signed-in users of firebase:PROJECT or oidc:https://issuer/ may call; the function verifies them",
    ),
    Option(
        "--sign-in-audience",
        "ID",
        "SIGN_IN_AUDIENCE",
        "",
        str,
        "the audience (aud) of the oidc provider's tokens",
    ),
    Option("--sign-in-allow", "LIST", "SIGN_IN_ALLOW", "", str, "only these signed-in users may call"),
    Option(
        "--firebase-config",
        "JSON",
        "FIREBASE_CONFIG",
        "",
        str,
        "the console's firebaseConfig, as JSON: the functions' own pages sign users in with it",
    ),
    Option(
        "--app-check",
        "NUMBER",
        "APP_CHECK",
        "",
        str,
        "only apps of this Firebase project may call, by its number",
    ),
    Option("--rate-limit", "RATE", "RATE_LIMIT", "", str, "such as 60/min, for each user or address"),
    Option("--user-token", "TOKEN", "USER_TOKEN", "", str, "a user's ID token, for the test call"),
    Option("--to", "TARGET", "TARGET", "functions", _TARGET, "functions (default), run or appengine"),
    Option(
        "--runtime",
        "RUNTIME",
        "RUNTIME",
        "python311",
        _RUNTIME,
        "default python311, which the tests use; or python312, python313, python314",
    ),
    Option(
        "--memory",
        "SIZE",
        "MEMORY",
        "",
        _SIZE,
        "default: what the model's format and size need, at least 512Mi",
    ),
    Option(
        "--cpu",
        "N",
        "CPU",
        "",
        _cpus,
        "default 1, or as many as the memory needs; one worker process for each",
    ),
    Option(
        "--concurrency",
        "N",
        "CONCURRENCY",
        "8",
        _whole(1, 1000),
        "default 8: requests, and threads, in one instance; take 2 if calls bring hundreds of inputs",
    ),
    Option("--min-instances", "N", "MIN_INSTANCES", "0", _whole(0, 1000), "default 0: no cost while idle"),
    Option("--max-instances", "N", "MAX_INSTANCES_PER_FUNCTION", "4", _whole(1, 1000), "default 4"),
    Option("--timeout", "SECONDS", "TIMEOUT", "60", _whole(1, 3600), "default 60"),
    Option(
        "--canary",
        "PERCENT",
        "CANARY",
        "",
        _percent,
        "send this share of the traffic to the new revision, the rest to the old one",
    ),
    Option(
        "--invoker", "ACCOUNT", "INVOKER", "", _ADDRESS, "a service account to impersonate for the test call"
    ),
    Option("--email", "ADDRESS", "ALERT_EMAIL", "", _ADDRESS, "where alerts are sent"),
    Option("--dataset", "NAME", "DATASET", "", _DATASET, "the dataset that bigquery creates its function in"),
    Option(
        "--max-batching-rows",
        "N",
        "MAX_BATCHING_ROWS",
        "",
        _rows,
        "rows in one call of BigQuery; default 1000, 32 images (128 fit as base64)",
    ),
    Option("--follow", "", "FOLLOW", "0", _yes, "print new log entries until Ctrl-C"),
    Option("--errors", "", "ERRORS_ONLY", "0", _yes, "only log entries of severity ERROR and above"),
    Option("--fix", "", "FIX", "0", _yes, "run the commands that fix failed checks"),
    Option("--allow-dirty", "", "ALLOW_DIRTY", "0", _yes, "deploy HEAD, without uncommitted changes"),
    Option("--dry-run", "", "DRY_RUN", "0", _yes, "print the commands, and change nothing"),
    Option(
        "--with-bucket",
        "",
        "WITH_BUCKET",
        "0",
        _yes,
        "also delete the bucket with all its models, unless something else uses it",
    ),
    Option("--yes", "", "YES", "0", _yes, "do not ask before deleting"),
    Option(
        "--patience",
        "SECONDS",
        "PATIENCE",
        "60",
        _whole(0, 3600),
        "default 60; how long to wait until a new URL answers",
    ),
    Option(
        "--gcloud-timeout",
        "SECONDS",
        "GCLOUD_TIMEOUT",
        "120",
        _whole(1, 3600),
        "default 120; time limit of a gcloud command that reads; 15 times that for one that changes",
    ),
)
COMMANDS = (
    ("NAME | all", "deploy one function, or all (the default)"),
    ("status", "URL, revision, commit, model, readiness and the last day's calls of each function"),
    ("rollback NAME", "send all traffic to the previous revision"),
    ("logs NAME", "print the last log entries"),
    ("alerts NAME", "send an email if more than 5 % of the responses are 5xx, or p95 latency is over 2 s"),
    ("destroy", "delete the region's functions, and all that only they use; the bucket stays"),
    ("bigquery NAME", "create a SQL function in --dataset that calls this function"),
    (
        "batch NAME",
        "build the container for Dataflow's workers, and print the command that uses it",
    ),
    (
        "stage NAME DIR",
        "write the files for another host to DIR; with the model, unless BUCKET is set",
    ),
    ("github OWNER/REPO", "let that repository's workflows deploy to the project, without a key"),
)


def usage() -> str:
    """Return the help, made from the tables above."""
    lines = ["usage: PROJECT_ID=my-project ./deploy.sh [COMMAND] [OPTION ...]", "", "commands"]
    lines += [f"  {words:<24} {meaning}" for words, meaning in COMMANDS]
    lines += ["", "options, each also an environment variable"]
    for each in OPTIONS:
        variable = each.variable if each.value else f"{each.variable}=1"
        lines.append(f"  {each.flag + ' ' + each.value:<25} {variable:<27} {each.meaning}")
    return "\n".join(lines)
