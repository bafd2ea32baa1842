"""The workflows of GitHub: linted, and every step that runs something is run in a clean clone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from deployments import Deployment, change, succeed

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
STEP = re.compile(r"^ +(?:- )?run: (?:>-\n((?:^ {10}.*\n)+)|(.*))", re.MULTILINE)


def steps(workflow):
    """The commands of a workflow, in their order."""
    text = (ROOT / ".github" / "workflows" / workflow).read_text()
    found = [" ".join((folded or line).split()) for folded, line in STEP.findall(text)]
    assert len(found) == len(re.findall(r"^ +(?:- )?run:", text, re.MULTILINE))
    return found


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_the_workflows_are_valid():
    run = subprocess.run(["actionlint", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_no_workflow_may_write_or_has_a_key():
    for workflow in WORKFLOWS:
        text = workflow.read_text()
        assert "\npermissions:\n  contents: read\n" in text
        assert "secrets." not in text
        # The inputs of a workflow reach a shell only as variables.
        assert not any("${{" in step for step in steps(workflow.name))


@pytest.mark.parametrize("step", steps("ci.yml"))
def test_each_step_of_the_checks_workflow_runs(step, checkout):
    if step.startswith("pipx"):
        assert "actionlint" in step  # it would be fetched; the test above runs it
        return
    # Nothing is installed or tested here: make only prints its recipe, and pytest only collects.
    own = {"MAKEFLAGS": "n", "PIP_DRY_RUN": "1", "PYTEST_ADDOPTS": "--collect-only -q -p no:cacheprovider"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step],
        cwd=checkout,
        env={**os.environ, **own, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_commit_is_deployed_step_by_step(google, changed):
    canary, everything, status = steps("deploy.yml")
    google.settings |= {
        "FUNCTION": "review",
        "PERCENT": "10",
        "PUBLIC": "",
        "ALLOWED_ORIGINS": "",
        "REGION": "",
    }

    def follow(step):
        # The file that google-github-actions/auth leaves in the checkout.
        (changed / "gha-creds-0123456789abcdef.json").write_text("{}")
        run = Deployment(changed, "bash", "-eo", "pipefail", "-c", step, **google.settings).end()
        assert run.returncode == 0, run.stderr
        return run.stdout

    follow(everything)
    first = google.runs["review"].latest
    change(changed)
    follow(canary)
    second = google.runs["review"].latest
    assert google.runs["review"].serving == {first: 90, second: 10}
    follow(everything)
    assert google.runs["review"].serving == {second: 100}
    assert f"{second} 100 %" in follow(status)
    _, done = succeed(google, changed, "review")
    assert done == []
