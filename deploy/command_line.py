"""Parse the command line; options that it lacks come from the environment."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from shared.settings import SettingError, Settings

from .config import ROOT, Config
from .options import OPTIONS, Option


class UsageError(Exception):
    """An invalid command line; exit status 2."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if match := re.fullmatch(r"argument (\S+): expected one argument", message):
            message = f"{match[1]} needs a value"
        raise UsageError(message)


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Config | None:
    """Parse a command line; None if it asks for help.

    Raises:
        UsageError: it is invalid.
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
    if unknown := [word for word in words if word.startswith("-")]:
        raise UsageError(f"there is no option {unknown[0]}")
    values = {each.field: _value(each, getattr(given, each.field), environment) for each in OPTIONS}
    command = _command(words, sorted(path.parent.name for path in ROOT.glob("functions/*/main.py")))
    return _checked(Config(**{**values, **command}))


def _value(option: Option, given: str | None, environment: Mapping[str, str]) -> Any:
    name, value = (
        (option.variable, environment.get(option.variable)) if given is None else (option.flag, given)
    )
    try:
        return option.parse(value or option.default)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _command(words: Sequence[str], functions: Sequence[str]) -> dict[str, Any]:
    """Parse the command and its arguments."""
    first, *more = words or ["all"]
    parsed: dict[str, Any] = {"command": first, "names": (), "folder": Path(), "repository": ""}
    if first in ("all", "status", "destroy"):
        parsed["names"] = tuple(functions)
    elif first in ("rollback", "logs", "alerts", "bigquery", "batch"):
        if len(more) != 1:
            raise UsageError(f"{first} needs the name of a function")
        parsed["names"] = (more.pop(),)
    elif first == "stage":
        if len(more) != 2:
            raise UsageError("stage needs the name of a function and a folder")
        parsed["folder"] = Path(more.pop())
        parsed["names"] = (more.pop(),)
    elif first == "github":
        if len(more) != 1 or not re.fullmatch(r"[\w.-]+/[\w.-]+", more[0]):
            raise UsageError("github needs a repository, as OWNER/REPO")
        parsed["repository"] = more.pop()
    else:
        parsed["names"] = (first,)
    if more:
        raise UsageError(f"unexpected: {' '.join(more)}")
    for name in parsed["names"]:
        if name not in functions:
            raise UsageError(f"there is no function or command {name}")
    deploys = first == "all" or parsed["names"] == (first,)
    return {**parsed, "command": "deploy" if deploys else first}


def _checked(config: Config) -> Config:
    """Check options that depend on each other, and set the default bucket."""
    if config.min_instances > config.max_instances:
        raise UsageError("--min-instances is larger than --max-instances: expected at most as many")
    try:
        Settings.read({"ALLOWED_ORIGINS": config.origins, **config.checks})
    except SettingError as error:
        raise UsageError(str(error)) from None
    if config.public and config.sign_in:
        raise UsageError("--public lets anyone call, --sign-in only signed-in users: give one of them")
    if config.command == "stage":
        return config
    if not config.project:
        raise UsageError("PROJECT_ID: expected a project's ID, got '': set it, or give --project ID")
    if config.command == "alerts" and not config.email:
        raise UsageError("alerts needs an address: --email ADDRESS")
    if config.command == "bigquery" and not config.dataset:
        raise UsageError("bigquery needs a dataset: --dataset NAME")
    if config.to == "appengine":
        _check_app_engine(config)
    return replace(config, bucket=config.bucket or f"{config.project}-models")


def _check_app_engine(config: Config) -> None:
    if config.command != "deploy":
        raise UsageError(f"{config.command} is for functions and run; see 'gcloud app --help'")
    if len(config.names) != 1:
        raise UsageError("--to appengine needs the name of one function")
    if not config.open:
        raise UsageError("an App Engine app is open to anyone: give --public to agree, or --sign-in")
    if config.canary:
        raise UsageError("--canary is for functions and run")
