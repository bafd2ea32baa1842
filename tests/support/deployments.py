"""Run deploy.sh in its own clone, and the source that it uploads in its own environment."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, commit

from deploy import command_line, options, smoke_test, source
from deploy.config import Config
from shared.example import Example
from shared.pin import Pin

SETTINGS = {"MODEL_STORE", "THREADS", *(each.variable for each in options.OPTIONS)}


class Deployment(subprocess.Popen[str]):
    """deploy.sh, or another command, running in its own process group, which can be stopped as a whole."""

    def __init__(self, checkout: Path, *command: object, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        # A `python3` that starts quickly, which the one on PATH may not.
        path = f"{Path(sys.executable).parent}:{environment.pop('PATH', clean['PATH'])}"
        super().__init__(
            [*map(str, command)],
            cwd=checkout,
            env={**clean, **environment, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def stop(self) -> None:
        """End it and all processes that it has started."""
        os.killpg(self.pid, signal.SIGTERM)

    def end(self, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Wait for its end, and return its output."""
        out, err = self.communicate(typed, timeout=600)
        return subprocess.CompletedProcess(self.args, self.returncode, out, err)


def without_gcloud(folder: Path) -> Path:
    """Return a folder for PATH with every program that deploy.sh needs, except gcloud and python3."""
    folder.mkdir(exist_ok=True)
    for name in ("bash", "git", "dirname", "env"):
        if not (folder / name).exists():
            (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def deploy(checkout: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return Deployment(checkout, checkout / "deploy.sh", *arguments, **environment).end()


def configured(*arguments: str, **environment: str) -> Config:
    """Return the parsed options of a command line."""
    found = command_line.read(arguments, environment)
    assert found is not None
    return found


def check_served(url: str, name: str, **example: str) -> list[str]:
    """Check a served function with its example, or a changed one; return the smoke test's remarks."""
    folder = ROOT / "functions" / name
    changed = dataclasses.replace(Example.read(folder), **example)
    function = source.Function(name, Pin.read(folder / "model.json"), changed, folder, None)
    return smoke_test.check_example(url, "", function, 10, split=False)


READS = ("getIamPolicy", "generateIdToken", "generateAccessToken", "entries:list")


def drive(google, checkout, *arguments, typed="", **environment):
    """Run deploy.sh against the simulated cloud; return its result, and its calls that change something."""
    before = len(google.requests)
    settings = {**google.settings, **environment}
    run = Deployment(checkout, "./deploy.sh", *arguments, **settings).end(typed)
    done = [f"{method} {path.split('?')[0]}" for method, path, _ in google.requests[before:]]
    return run, [call for call in done if changes(*call.split(" "))]


def changes(method, path):
    return method not in ("GET", "CONNECT") and not path.endswith(READS)


def succeed(google, checkout, *arguments, **environment):
    run, done = drive(google, checkout, *arguments, **environment)
    assert run.returncode == 0, run.stderr
    return run, done


def change(folder):
    source = folder / "functions" / "review" / "classifier.py"
    source.write_text(source.read_text() + "\n# changed\n")
    commit(folder)


def pin(folder, name):
    return json.loads((folder / "functions" / name / "model.json").read_text())


def changed_pin(folder, name, **fields):
    """Change fields of a pin, without a commit."""
    (folder / "functions" / name / "model.json").write_text(json.dumps({**pin(folder, name), **fields}))
