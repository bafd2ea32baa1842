"""What is wanted: every option, declared once, from the command line or else from the environment."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from shared.settings import SettingError, Settings

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("functions", "run", "appengine")


class UsageError(Exception):
    """A command line that makes no sense; exit status 2."""


@dataclass(frozen=True)
class Wanted:
    """What one run is to bring about. Each field below `folder` is an option of `OPTIONS`.

    Attributes:
        command: deploy, status, rollback, logs, alerts, destroy, stage or github.
        names: the functions that are meant.
        folder: where `stage` writes.
        repository: the GitHub repository, as OWNER/REPO.
        memory: as Google writes it, such as 512Mi; empty: what the model needs.
        cpu: whole CPUs; 0: what the memory needs.
        canary: percent of the traffic for a new revision; None: all.
    """

    command: str
    names: tuple[str, ...]
    folder: Path
    repository: str
    project: str
    region: str
    bucket: str
    prefix: str
    origins: str
    public: bool
    to: str
    runtime: str
    memory: str
    cpu: int
    concurrency: int
    min_instances: int
    max_instances: int
    timeout: int
    canary: int | None
    invoker: str
    email: str
    follow: bool
    errors: bool
    fix: bool
    allow_dirty: bool
    dry_run: bool
    with_bucket: bool
    yes: bool
    patience: int
    gcloud_timeout: int

    @property
    def store(self) -> str:
        """Where the functions find their models; empty: beside their code."""
        return f"gs://{self.bucket}/{self.prefix}" if self.bucket else ""

    def account(self, name: str) -> str:
        """The service account that a function runs as."""
        return f"{name}-fn@{self.project}.iam.gserviceaccount.com"


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


_BUCKET = "(|[a-z0-9][a-z0-9._-]{1,61}[a-z0-9])"
_ACCOUNT = r"(|[^@\s,=]+@[^@\s,=]+)"
OPTIONS = (
    Option(
        "--project",
        "ID",
        "PROJECT_ID",
        "",
        _text("(|[a-z][a-z0-9-]{4,28}[a-z0-9])", "a project's ID"),
        "the project",
    ),
    Option(
        "--region",
        "REGION",
        "REGION",
        "europe-west1",
        _text("[a-z]+-[a-z]+[0-9]+", "a region such as europe-west1"),
        "default europe-west1",
    ),
    Option(
        "--bucket",
        "NAME",
        "BUCKET",
        "",
        _text(_BUCKET, "the name of a bucket"),
        "default PROJECT_ID-models; holds the models",
    ),
    Option(
        "--prefix",
        "PREFIX",
        "PREFIX",
        "models",
        _text(r"[\w.-]+(/[\w.-]+)*", "folders such as models/v1"),
        "default models; where in the bucket they lie",
    ),
    Option("--origins", "LIST", "ALLOWED_ORIGINS", "", str, "web pages that may call, comma separated, or *"),
    Option(
        "--public", "", "PUBLIC", "0", _yes, "anyone may call; without it, only who has roles/run.invoker"
    ),
    Option(
        "--to",
        "TARGET",
        "TARGET",
        "functions",
        _text("|".join(TARGETS), "functions, run or appengine"),
        "functions (default), run or appengine",
    ),
    Option(
        "--runtime",
        "RUNTIME",
        "RUNTIME",
        "python311",
        _text("python3[0-9]+", "a runtime such as python311"),
        "default python311, on which the tests run; python312, python313, python314",
    ),
    Option(
        "--memory",
        "SIZE",
        "MEMORY",
        "",
        _text("(|[1-9][0-9]*(Mi|Gi))", "a size such as 512Mi or 2Gi"),
        "default what the format and the size of the model need: 512Mi and more",
    ),
    Option(
        "--cpu",
        "N",
        "CPU",
        "",
        lambda value: _whole(1, 8)(value) if value else 0,
        "default 1, or as many as the memory needs; as many workers serve",
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
    Option(
        "--invoker",
        "ACCOUNT",
        "INVOKER",
        "",
        _text(_ACCOUNT, "a service account's address"),
        "a service account to make the test calls as",
    ),
    Option(
        "--email", "ADDRESS", "ALERT_EMAIL", "", _text(_ACCOUNT, "an email address"), "who is told by alerts"
    ),
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if found := re.fullmatch(r"argument (\S+): expected one argument", message):
            message = f"{found[1]} needs a value"
        raise UsageError(message)


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Wanted | None:
    """Read a command line; None if help is what it asks for.

    Raises:
        UsageError: it makes no sense.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    for each in OPTIONS:
        if each.value:
            parser.add_argument(each.flag)
        else:
            parser.add_argument(each.flag, action="store_const", const="1")
    given, words = parser.parse_known_args(list(arguments))
    if given.help:
        return None
    if strange := [word for word in words if word.startswith("-")]:
        raise UsageError(f"there is no option {strange[0]}")
    values = {each.field: _value(each, getattr(given, each.field), environment) for each in OPTIONS}
    command = _command(words, sorted(path.parent.name for path in ROOT.glob("functions/*/main.py")))
    return _checked(Wanted(**{**values, **command}))


def _value(option: Option, given: str | None, environment: Mapping[str, str]) -> Any:
    name, value = (
        (option.variable, environment.get(option.variable)) if given is None else (option.flag, given)
    )
    try:
        return option.parse(value or option.default)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _command(words: Sequence[str], functions: Sequence[str]) -> dict[str, Any]:
    """The command, and what it is for."""
    first, *more = words or ["all"]
    found: dict[str, Any] = {"command": first, "names": (), "folder": Path(), "repository": ""}
    if first in ("all", "status", "destroy"):
        found["names"] = tuple(functions)
    elif first in ("rollback", "logs", "alerts"):
        if len(more) != 1:
            raise UsageError(f"{first} needs the name of a function")
        found["names"] = (more.pop(),)
    elif first == "stage":
        if len(more) != 2:
            raise UsageError("stage needs the name of a function and a folder")
        found["folder"] = Path(more.pop())
        found["names"] = (more.pop(),)
    elif first == "github":
        if len(more) != 1 or not re.fullmatch(r"[\w.-]+/[\w.-]+", more[0]):
            raise UsageError("github needs a repository, as OWNER/REPO")
        found["repository"] = more.pop()
    else:
        found["names"] = (first,)
    if more:
        raise UsageError(f"unexpected: {' '.join(more)}")
    for name in found["names"]:
        if name not in functions:
            raise UsageError(f"there is no function or command {name}")
    deploys = first == "all" or found["names"] == (first,)
    return {**found, "command": "deploy" if deploys else first}


def _checked(wanted: Wanted) -> Wanted:
    """Check what several options say together, and name the bucket."""
    if wanted.min_instances > wanted.max_instances:
        raise UsageError("there are more minimum than maximum instances")
    try:
        Settings.read({"ALLOWED_ORIGINS": wanted.origins})
    except SettingError as error:
        raise UsageError(str(error)) from None
    if wanted.command == "stage":
        return wanted
    if not wanted.project:
        raise UsageError("PROJECT_ID: expected a project's ID, got ''")
    if wanted.command == "alerts" and not wanted.email:
        raise UsageError("alerts needs an address: --email ADDRESS")
    if wanted.to == "appengine":
        _check_app_engine(wanted)
    return replace(wanted, bucket=wanted.bucket or f"{wanted.project}-models")


def _check_app_engine(wanted: Wanted) -> None:
    if wanted.command != "deploy":
        raise UsageError(f"{wanted.command} is for functions and run; see 'gcloud app --help'")
    if len(wanted.names) != 1:
        raise UsageError("--to appengine needs the name of one function")
    if not wanted.public:
        raise UsageError("anyone may call what is on App Engine: say so with --public")
    if wanted.canary:
        raise UsageError("--canary is for functions and run")
