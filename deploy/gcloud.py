"""The one way in which gcloud is asked: arguments in, JSON out; on any failure, one line."""

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CHANGE_FACTOR = 15
"""How many times as long as a look something may take that changes: a build takes minutes."""


class GcloudError(Exception):
    """gcloud could not do it. `str(error)` is one line; `text` is all that gcloud wrote."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text or message


@dataclass(frozen=True)
class Gcloud:
    """gcloud for one project.

    Attributes:
        project: the project's ID.
        timeout: seconds that a look may take.
    """

    project: str
    timeout: int

    def __call__(self, *arguments: str, changes: bool = False) -> Any:
        """Run a command, and return what it prints as JSON; None if it prints nothing.

        Raises:
            GcloudError: it is missing, fails, takes too long, or prints something else.
        """
        text = self.text(*arguments, "--format=json", changes=changes)
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            raise GcloudError(
                f"{_name(arguments)}: expected JSON, got {text[:60]!r}: run it by hand, then run this again"
            ) from None

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that lists objects."""
        found = self(*arguments)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise GcloudError(f"{_name(arguments)}: expected a list of objects, got {str(found)[:60]!r}")
        return found

    def one(self, *arguments: str, changes: bool = False) -> dict[str, Any]:
        """Run a command that describes one object."""
        found = self(*arguments, changes=changes)
        if not isinstance(found, dict):
            raise GcloudError(f"{_name(arguments)}: expected an object, got {str(found)[:60]!r}")
        return found

    def version(self) -> str:
        """The version, such as 528.0.0."""
        told = self.text("version", "--format=json")
        found = re.search(r'(?:"Google Cloud SDK": "|^)([0-9]+\.[0-9.]+)', told)
        if found is None:
            raise GcloudError(f"gcloud version: expected a version, got {told[:60]!r}: run it by hand")
        return found[1]

    def text(self, *arguments: str, changes: bool = False) -> str:
        """Run a command, and return what it prints."""
        environment = {"CLOUDSDK_CORE_PROJECT": self.project, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        seconds = self.timeout * (CHANGE_FACTOR if changes else 1)
        # Files, not pipes: what gcloud has started may keep a pipe open after its end.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(  # noqa: S603
                    ["gcloud", *arguments],  # noqa: S607 (whichever is installed)
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    process_group=0,
                )
            except OSError:
                raise GcloudError(
                    "gcloud is not installed: see https://cloud.google.com/sdk/docs/install"
                ) from None
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise GcloudError(
                    f"{_name(arguments)}: no end within {seconds} s: look at your connection, then run this "
                    "again, or give it longer with --gcloud-timeout"
                ) from None
            finally:
                _end(process)
            out.seek(0)
            err.seek(0)
            printed, told = (each.read().decode(errors="replace") for each in (out, err))
        if status != 0:
            raise GcloudError(f"{_name(arguments)}: {_line(told) or f'exit status {status}'}", told)
        return printed


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it has started, if it is there still."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _name(arguments: Sequence[str]) -> str:
    """The command without its options, as messages name it."""
    words = [word for word in arguments if not word.startswith("-")]
    return shlex.join(["gcloud", *words[:5]])


def _line(told: str) -> str:
    """What gcloud says is wrong, as one line."""
    cause = told[told.rfind("ERROR:") :].removeprefix("ERROR:") if "ERROR:" in told else told
    cause = re.sub(r"^\s*\(gcloud[\w.-]*\)", "", cause)
    return " ".join(cause.split())[:600]


def dig(value: Any, *path: str) -> Any:
    """What lies there in nested objects; None if there is nothing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text(value: Any, *path: str) -> str:
    """The text that lies there; empty if there is none."""
    found = dig(value, *path)
    return found if isinstance(found, str) else ""


def objects(value: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of a list that lies there."""
    found = dig(value, *path)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def has_role(policy: Any, member: str, *roles: str) -> bool:
    """Whether an IAM policy gives the member one of the roles."""
    return any(
        each.get("role") in roles and member in (each.get("members") or [])
        for each in objects(policy, "bindings")
    )
