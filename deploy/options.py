"""Every option, declared once: its flag, its environment variable, its default, what it may be, its help."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

TARGETS = ("functions", "run", "appengine")


def _text(pattern: str, expected: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected {expected}, got '{value}'")
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
    """One option; `value` is what it takes in the help, empty for a switch."""

    flag: str
    value: str
    variable: str
    default: str
    parse: Callable[[str], Any]
    meaning: str

    @property
    def field(self) -> str:
        """The field of `Wanted` that it sets."""
        return self.flag.removeprefix("--").replace("-", "_")


_PROJECT = _text("(|[a-z][a-z0-9-]{4,28}[a-z0-9])", "a project's ID")
_REGION = _text("[a-z]+-[a-z]+[0-9]+", "a region such as europe-west1")
_NAME = _text("(|[a-z0-9][a-z0-9._-]{1,61}[a-z0-9])", "the name of a bucket")
_FOLDERS = _text(r"[\w.-]+(/[\w.-]+)*", "folders such as models/v1")
_TARGET = _text("|".join(TARGETS), "functions, run or appengine")
_RUNTIME = _text("python3[0-9]+", "a runtime such as python311")
_SIZE = _text("(|[1-9][0-9]*(Mi|Gi))", "a size such as 512Mi or 2Gi")
_ADDRESS = _text(r"(|[^@\s,=]+@[^@\s,=]+)", "an address such as name@example.org")
OPTIONS = (
    Option("--project", "ID", "PROJECT_ID", "", _PROJECT, "the project"),
    Option("--region", "REGION", "REGION", "europe-west1", _REGION, "default europe-west1"),
    Option("--bucket", "NAME", "BUCKET", "", _NAME, "default PROJECT_ID-models; holds the models"),
    Option(
        "--prefix", "PREFIX", "PREFIX", "models", _FOLDERS, "default models; where in the bucket they lie"
    ),
    Option("--origins", "LIST", "ALLOWED_ORIGINS", "", str, "web pages that may call, comma separated, or *"),
    Option(
        "--public", "", "PUBLIC", "0", _yes, "anyone may call; without it, only who has roles/run.invoker"
    ),
    Option(
        "--sign-in",
        "PROVIDER",
        "SIGN_IN",
        "",
        str,
        "users of firebase:PROJECT or oidc:https://issuer/ may call, from anywhere; the function checks them",
    ),
    Option("--sign-in-audience", "ID", "SIGN_IN_AUDIENCE", "", str, "the aud of an oidc provider's tokens"),
    Option("--sign-in-allow", "LIST", "SIGN_IN_ALLOW", "", str, "of the users, only these may call"),
    Option(
        "--firebase-config",
        "JSON",
        "FIREBASE_CONFIG",
        "",
        str,
        "the console's firebaseConfig, as JSON: the functions' own pages sign users in with it",
    ),
    Option("--app-check", "NUMBER", "APP_CHECK", "", str, "only apps of this Firebase project may call"),
    Option("--rate-limit", "RATE", "RATE_LIMIT", "", str, "such as 60/min, of one user or one address"),
    Option("--user-token", "TOKEN", "USER_TOKEN", "", str, "a user's ID token, to make the test calls with"),
    Option("--to", "TARGET", "TARGET", "functions", _TARGET, "functions (default), run or appengine"),
    Option(
        "--runtime",
        "RUNTIME",
        "RUNTIME",
        "python311",
        _RUNTIME,
        "default python311, on which the tests run; python312, python313, python314",
    ),
    Option(
        "--memory",
        "SIZE",
        "MEMORY",
        "",
        _SIZE,
        "default what the format and the size of the model need: 512Mi and more",
    ),
    Option(
        "--cpu", "N", "CPU", "", _cpus, "default 1, or as many as the memory needs; as many workers serve"
    ),
    Option(
        "--concurrency",
        "N",
        "CONCURRENCY",
        "8",
        _whole(1, 1000),
        "default 8; as many threads serve; 2 for calls with hundreds of inputs",
    ),
    Option(
        "--min-instances", "N", "MIN_INSTANCES", "0", _whole(0, 1000), "default 0: nothing to pay when idle"
    ),
    Option("--max-instances", "N", "MAX_INSTANCES_PER_FUNCTION", "4", _whole(1, 1000), "default 4"),
    Option("--timeout", "SECONDS", "TIMEOUT", "60", _whole(1, 3600), "default 60"),
    Option(
        "--canary",
        "PERCENT",
        "CANARY",
        "",
        _percent,
        "give a new revision that much traffic, the old one the rest",
    ),
    Option("--invoker", "ACCOUNT", "INVOKER", "", _ADDRESS, "a service account to make the test calls as"),
    Option("--email", "ADDRESS", "ALERT_EMAIL", "", _ADDRESS, "who is told by alerts"),
    Option("--follow", "", "FOLLOW", "0", _yes, "go on with new log lines until Ctrl-C"),
    Option("--errors", "", "ERRORS_ONLY", "0", _yes, "only log lines of severity ERROR and above"),
    Option("--fix", "", "FIX", "0", _yes, "do what the checks say is missing, if a command can"),
    Option("--allow-dirty", "", "ALLOW_DIRTY", "0", _yes, "deploy HEAD without what is not committed"),
    Option("--dry-run", "", "DRY_RUN", "0", _yes, "look, and print what would be done"),
    Option("--with-bucket", "", "WITH_BUCKET", "0", _yes, "destroy the bucket with all its models too"),
    Option("--yes", "", "YES", "0", _yes, "do not ask before destroying"),
    Option(
        "--patience",
        "SECONDS",
        "PATIENCE",
        "60",
        _whole(0, 3600),
        "default 60; how long a new address may take to answer",
    ),
    Option(
        "--gcloud-timeout",
        "SECONDS",
        "GCLOUD_TIMEOUT",
        "120",
        _whole(1, 3600),
        "default 120; how long gcloud may take to look, and 15 times that to change",
    ),
)
COMMANDS = (
    ("NAME | all", "deploy one function, or all of them (the default)"),
    ("status", "URL, revision, commit, model, readiness, and the last day's calls, of each"),
    ("rollback NAME", "send all traffic to the revision before the one that has it"),
    ("logs NAME", "the last log lines"),
    ("alerts NAME", "email if more than 5 % of the answers are 5xx, or the slowest 5 % take over 2 s"),
    ("destroy", "delete the functions, their service accounts and alerts; the bucket stays"),
    (
        "stage NAME DIR",
        "write what is uploaded to DIR, for another host; with the model, unless BUCKET is given",
    ),
    ("github OWNER/REPO", "let that repository's workflows deploy here, without a key"),
)


def usage() -> str:
    """The help, from the tables above."""
    lines = ["usage: PROJECT_ID=my-project ./deploy.sh [COMMAND] [OPTION ...]", "", "commands"]
    lines += [f"  {words:<24} {meaning}" for words, meaning in COMMANDS]
    lines += ["", "options, each also an environment variable"]
    for each in OPTIONS:
        variable = each.variable if each.value else f"{each.variable}=1"
        lines.append(f"  {each.flag + ' ' + each.value:<25} {variable:<27} {each.meaning}")
    return "\n".join(lines)
