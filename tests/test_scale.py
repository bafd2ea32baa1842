"""docs/scale.md: its calls are made and their answers compared; its SQL must fit the answers."""

import json
import re
import shlex
import shutil
import subprocess

import pytest
from conftest import FUNCTIONS, ROOT

from shared.example import Example

TEXT = (ROOT / "docs" / "scale.md").read_text()


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_call_gets_the_answer_that_the_page_shows(start):
    server = start(ROOT / "functions" / "review" / "main.py")
    [shown] = [json.loads(block) for block in blocks("json") if '"replies"' in block]
    calls = [block.replace("\\\n", " ") for block in blocks("sh") if block.startswith("curl")]
    assert len(calls) == 3
    for call in calls:
        command = shlex.split(call.replace("http://localhost:8082", server.url))
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        answer = json.loads(run.stdout)
        assert "error" not in answer, answer
        if "/bigquery" in call:
            good, expected = answer["replies"][0], shown["replies"][0]
            assert good.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=2e-4)
            assert answer == shown
        if "instances" in call:
            assert [one["error"] for one in answer["predictions"]] == ["0", "0", "1"]
        if "/v2/" in call:
            assert answer["outputs"][0]["data"] == ["Positive", "Negative"]


def test_the_sql_has_the_right_fields_and_batch_size(load):
    scored = []
    for statements in blocks("sql"):
        name, argument = re.search(r"CREATE FUNCTION \w+\.(\w+)\((\w+ \w+)\)", statements).groups()
        path, rows = re.search(r"'https://[a-z0-9.-]+(/\w+)', max_batching_rows = (\d+)", statements).groups()
        assert argument.endswith(" STRING")
        value = Example.read(ROOT / "functions" / name).input
        answer = load(name).post(path, json={"calls": [[value]] * int(rows)}).get_json()
        assert len(answer["replies"]) == int(rows)
        assert f".{name}(" in statements.partition("SELECT")[2]
        for field in re.findall(r"\(score\.([\w.]+)\)", statements):
            found = answer["replies"][0]
            for part in field.split("."):
                found = found[part]
            scored.append(field)
    assert scored == ["review_sentiment", "probabilities.Positive", "message", "classification", "message"]


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_knows_the_commands_that_build_and_upload_a_container(tmp_path):
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    commands = [" ".join(line.split()) for line in lines if line.startswith("gcloud ")]
    assert [command.split()[1] for command in commands] == ["artifacts", "builds", "ai"]
    for command in commands:
        run = subprocess.run(
            ["gcloud", "meta", "lint-gcloud-commands", f"--command-string={command}"],
            env={"PATH": "/usr/bin:/bin", "CLOUDSDK_CONFIG": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        [found] = json.loads(run.stdout)
        assert found["success"] is True, found["error_message"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_stated_limits_are_those_of_the_functions(name, load):
    most = load(name).get("/").get_json()["max_instances"]
    assert f"{most:,} {'images' if name == 'malaria' else 'texts'}" in " ".join(TEXT.split())
