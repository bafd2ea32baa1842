"""The commands of a page, run as its reader runs them, against the simulated cloud."""

import re
from pathlib import Path
from typing import Any

from deploying import Deployment


def blocks(page: str, kind: str = "sh") -> list[str]:
    """The code blocks of a kind, in their order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def follow(google: Any, checkout: Path, *commands: str, typed: str = "") -> str:
    """Run commands in one shell, as the reader of a page does; returns what they print."""
    script = "".join(commands).replace("my-project", google.project)
    # It opens a browser, and there is nobody to sign in.
    script = script.replace("gcloud auth login\n", "")
    # The environment of the tests stands in for the one that they set up; its `python` is the first on PATH.
    script = script.replace("make setup\n", "").replace(". .venv/dev/bin/activate\n", "")
    run = Deployment(checkout, "bash", "-ec", script, **google.settings).end(typed)
    assert run.returncode == 0, run.stderr
    return run.stdout
