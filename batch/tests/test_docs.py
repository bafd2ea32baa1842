"""The commands of docs/scale.md and batch/README.md: local ones are run, those for Dataflow submitted."""

import re
import shlex
import shutil

import pyarrow as pa
import pytest
from conftest import ROOT
from google.cloud import bigquery
from pyarrow import parquet

PAGES = ("docs/scale.md", "batch/README.md")


def commands(page):
    """The lines of the page's shell blocks, those that go on joined, and each by itself."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]


BATCHES = [
    pytest.param(shlex.split(line)[3:], id=f"{page}-{number}")
    for page in PAGES
    for number, line in enumerate(commands(page))
    if line.startswith(".venv/batch/bin/python -m batch ")
]


@pytest.mark.parametrize("words", BATCHES)
def test_a_command_does_what_the_page_says(words, batch, rows, gcs, dataflow, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # people are in that folder
    monkeypatch.chdir(tmp_path)
    table = pa.table({"id": [1, 2], "text": ["A good film.", None]})
    (tmp_path / "reviews").mkdir()
    parquet.write_table(table, tmp_path / "reviews" / "a.parquet")
    cells = tmp_path / "cells" / "deep"
    cells.mkdir(parents=True)
    shutil.copy(ROOT / "models" / "malaria" / "examples" / "infected.png", cells)
    if "DataflowRunner" not in words:
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
        batch(*words)
        [good] = rows(tmp_path / words[words.index("--output") + 1])
        assert good["label"] in ("Infected", "Positive")
        return
    gcs.blob("reviews/a.parquet").upload_from_filename(tmp_path / "reviews" / "a.parquet")
    fields = [bigquery.SchemaField("text", "STRING")]
    monkeypatch.setattr(bigquery.Client, "__init__", lambda _: None)
    monkeypatch.setattr(bigquery.Client, "get_table", lambda _, name: bigquery.Table(name, fields))
    before = len(dataflow.jobs)
    batch(*words, "--dataflow_endpoint", dataflow.url, "--no_auth")
    assert len(dataflow.jobs) == before + 1


def test_every_other_command_is_known():
    elsewhere = ("curl ", "gcloud ", "./deploy.sh stage ")  # tests/test_scale.py and test_deploy.py run these
    lines = [line for page in PAGES for line in commands(page) if not line.startswith(elsewhere)]
    others = [line for line in lines if "-m batch " not in line]
    assert set(others) == {"make .venv/batch/installed"}
    assert "$(BATCH)/installed:" in (ROOT / "Makefile").read_text()


def test_both_pages_have_commands():
    assert len(BATCHES) >= 7
