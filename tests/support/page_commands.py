"""Run the commands of a page as a reader would, against the simulated cloud."""

import re
from pathlib import Path
from typing import Any

from deployments import Deployment


def blocks(page: str, kind: str = "sh") -> list[str]:
    """Return the code blocks of a kind, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def follow(google: Any, checkout: Path, *commands: str, typed: str = "") -> str:
    """Run commands in one shell, as the reader of a page does; return their output."""
    script = "".join(commands).replace("my-project", google.project)
    # This command opens a browser, in which nobody would sign in.
    script = script.replace("gcloud auth login\n", "")
    # The tests' environment replaces the one that the commands set up; its `python` is the first on PATH.
    script = script.replace("make setup\n", "").replace(". .venv/dev/bin/activate\n", "")
    run = Deployment(checkout, "bash", "-ec", script, **google.settings).end(typed)
    assert run.returncode == 0, run.stderr
    return run.stdout
