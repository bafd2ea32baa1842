"""Run gcloud and bq: arguments in, JSON out; on any failure, a one-line error."""

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

CHANGE_FACTOR = 15
"""How many times longer a command that changes something may take than one that reads: builds are slow."""
INSTALL = {
    "gcloud": "see https://cloud.google.com/sdk/docs/install",
    "bq": "run 'gcloud components install bq'",
}

INCOMPLETE = "List results may be incomplete"
"""In a warning of gcloud, if some of the regions do not respond."""


class GcloudError(Exception):
    """A command failed. `str(error)` is one line; `text` is all that the command wrote about it."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text or message


@dataclass(frozen=True)
class Gcloud:
    """gcloud for one project.

    Attributes:
        project: the project's ID.
        timeout: seconds that a command which only reads may take.
        program: the name of the executable.
    """

    project: str
    timeout: int
    program: ClassVar[str] = "gcloud"

    @property
    def bq(self) -> "Bq":
        """BigQuery's command line for the same project; it signs in with gcloud's credentials."""
        return Bq(self.project, self.timeout)

    def __call__(self, *arguments: str, changes: bool = False) -> Any:
        """Run a command, and return its output, parsed as JSON; None if there is no output.

        Raises:
            GcloudError: the program is missing, fails, takes too long, or prints something else.
        """
        text = self.text(*self._with_format(arguments), changes=changes)
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            raise GcloudError(
                f"{self._name(arguments)}: expected JSON, got {text[:60]!r}: run it by hand, then run this "
                "again"
            ) from None

    def _with_format(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        return (*arguments, "--format=json")

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that lists objects."""
        value = self(*arguments)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise GcloudError(f"{self._name(arguments)}: expected a list of objects, got {str(value)[:60]!r}")
        return value

    def one(self, *arguments: str, changes: bool = False) -> dict[str, Any]:
        """Run a command that describes one object."""
        value = self(*arguments, changes=changes)
        if not isinstance(value, dict):
            raise GcloudError(f"{self._name(arguments)}: expected an object, got {str(value)[:60]!r}")
        return value

    def version(self) -> str:
        """Return gcloud's version, such as 528.0.0."""
        printed = self.text("version", "--format=json")
        match = re.search(r'(?:"Google Cloud SDK": "|^)([0-9]+\.[0-9.]+)', printed)
        if match is None:
            raise GcloudError(f"gcloud version: expected a version, got {printed[:60]!r}: run it by hand")
        return match[1]

    def text(self, *arguments: str, changes: bool = False) -> str:
        """Run a command, and return its output as it is."""
        environment = {"CLOUDSDK_CORE_PROJECT": self.project, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        seconds = self.timeout * (CHANGE_FACTOR if changes else 1)
        # Files, not pipes: a child of gcloud may keep a pipe open after gcloud itself has ended.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(  # noqa: S603
                    [self.program, *arguments],
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    process_group=0,
                )
            except OSError:
                raise GcloudError(f"{self.program} is not installed: {INSTALL[self.program]}") from None
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise GcloudError(
                    f"{self._name(arguments)}: it did not finish within {seconds} s: check your connection, "
                    "then run this again, or allow more time with --gcloud-timeout"
                ) from None
            finally:
                _kill(process)
            out.seek(0)
            err.seek(0)
            printed, log = (each.read().decode(errors="replace") for each in (out, err))
        if status != 0:
            log = self._errors(printed, log)
            raise GcloudError(f"{self._name(arguments)}: {_cause(log) or f'exit status {status}'}", log)
        if INCOMPLETE in log:
            raise GcloudError(f"{self._name(arguments)}: {_cause(log)} Run this again later", log)
        return printed

    def _errors(self, printed: str, log: str) -> str:  # noqa: ARG002
        """Return the part of the output that says what went wrong."""
        return log

    def _name(self, arguments: Sequence[str]) -> str:
        """Return the command without its options, for messages."""
        words = [word for word in arguments if not word.startswith("-")]
        return shlex.join([self.program, *words[:5]])


@dataclass(frozen=True)
class Bq(Gcloud):
    """BigQuery's command line for one project: its global options stand before the command."""

    program: ClassVar[str] = "bq"

    def _with_format(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        return ("--format=json", *arguments)

    def _errors(self, printed: str, log: str) -> str:
        """Return standard output, to which bq writes its errors, without its line breaks."""
        words = " ".join((printed if "rror" in printed else log).split())
        return re.sub(r"^(BigQuery error in \w+ operation|Error in query string): ", "", words)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _cause(log: str) -> str:
    """Return the last error that gcloud logged, as one line."""
    cause = log[log.rfind("ERROR:") :].removeprefix("ERROR:") if "ERROR:" in log else log
    cause = re.sub(r"^\s*\(gcloud[\w.-]*\)", "", cause)
    return " ".join(cause.split())[:600]


def dig(value: Any, *path: str) -> Any:
    """Return the value at a path in nested objects; None if there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text(value: Any, *path: str) -> str:
    """Return the text at a path; empty if there is none."""
    value = dig(value, *path)
    return value if isinstance(value, str) else ""


def objects(value: Any, *path: str) -> list[dict[str, Any]]:
    """Return the objects of the list at a path."""
    value = dig(value, *path)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def has_role(policy: Any, member: str, *roles: str) -> bool:
    """Return whether an IAM policy gives the member one of the roles."""
    return any(
        each.get("role") in roles and member in (each.get("members") or [])
        for each in objects(policy, "bindings")
    )
