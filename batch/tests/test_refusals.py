"""What stops a job at once: before a row is read, with a line that says what to do."""

import json
import os
import signal
import subprocess
import sys
from importlib import metadata

import pyarrow as pa
import pytest
from conftest import ROOT
from pyarrow import parquet


@pytest.fixture
def reviews(tmp_path):
    """A folder of reviews, and the options that score them."""
    table = pa.table({"id": [1, 2], "text": ["A film.", "Another film."]})
    parquet.write_table(table, tmp_path / "a.parquet")
    return {"--input": tmp_path / "a.parquet", "--column": "text", "--output": tmp_path / "out"}


def words(options, **changes):
    given = {**options, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return ["review", *(word for pair in given.items() if pair[1] is not None for word in pair)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input": "nowhere/*.parquet"}, "no file matches"),
        ({"input": "nowhere/a.data"}, "expected a name that ends in"),
        ({"input": "bq://only.two"}, "expected bq://project.dataset.table"),
        ({"output": "nope://bucket/out"}, "--output nope://bucket/out: cannot be listed: "),
        ({"input": "nope://bucket/*.parquet"}, "--input nope://bucket/*.parquet: cannot be listed: "),
        ({"output": "bq://x"}, "expected bq://project.dataset.table"),
        ({"column": "txt"}, "expected the column 'txt' in the input; it has id, text"),
        ({"column": None}, "--column: expected the column with a text; the input has id, text"),
        ({"keep": "id,nr"}, "expected the column 'nr' in the input"),
        ({"prefix": "a b"}, "expected letters, digits and _"),
        ({"num_wrokers": "3"}, "there is no option --num_wrokers; see python -m batch --help"),
    ],
)
def test_what_makes_no_sense_is_refused(refusal, reviews, changes, said):
    if "num_wrokers" in changes:
        reviews, changes = {**reviews, "--num_wrokers": "3"}, {}
    assert said in refusal(*words(reviews, **changes))
    assert not reviews["--output"].exists()


def test_a_runner_that_beam_refuses_is_said_in_a_line(refusal, reviews):
    assert "Nowhere" in refusal(*words(reviews), "--runner", "NowhereRunner")
    assert "project" in refusal(*words(reviews), "--runner", "DataflowRunner", "--region", "europe-west1")


def test_an_unknown_function_is_refused(refusal, reviews):
    assert "functions/nobody is missing" in refusal("nobody", *words(reviews)[1:])


def test_a_second_run_into_the_same_folder_is_refused(batch, refusal, rows, reviews):
    batch(*words(reviews))
    assert "of an earlier run: give a new folder" in refusal(*words(reviews))
    (reviews["--output"] / "good-00000-of-00001.jsonl").unlink()
    assert "expected a folder without bad-*" in refusal(*words(reviews))


def test_a_column_with_the_name_of_what_is_added_is_refused(batch, refusal, rows, reviews, tmp_path):
    parquet.write_table(pa.table({"text": ["A film."], "label": ["?"]}), tmp_path / "a.parquet")
    assert "the input already has a column 'label'" in refusal(*words(reviews))
    batch(*words(reviews, prefix="ai_"))
    [row] = rows(tmp_path / "out")
    assert row["label"] == "?"
    assert row["ai_label"]
    batch(*words(reviews, keep="text", output=tmp_path / "more"))
    assert rows(tmp_path / "more")[0]["label"] != "?"


def test_a_later_row_that_has_such_a_column_is_not_overwritten(batch, rows, reviews, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "A film."}\n{"text": "A film.", "error": 5}\n')
    batch(*words(reviews, input=tmp_path / "a.jsonl"))
    [row] = rows(tmp_path / "out", "bad")
    assert (row["line"], row["error"]["code"]) == (2, "name_clash")


def test_images_without_a_key_are_refused(refusal, reviews, tmp_path):
    parquet.write_table(pa.table({"image": [b"x"]}), tmp_path / "a.parquet")
    said = refusal("malaria", *words(reviews, column="image")[1:])
    assert "could not be told apart" in said


def test_a_damaged_first_file_is_refused_and_a_later_one_is_said(batch, refusal, rows, reviews, tmp_path):
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    assert "cannot be read as parquet" in refusal(*words(reviews, input=tmp_path / "b.parquet"))
    (tmp_path / "c.parquet").write_bytes(b"")
    parquet.write_table(pa.table({"id": [3]}), tmp_path / "d.parquet")
    said = batch(*words(reviews, input=tmp_path / "*.parquet"))
    assert said.startswith("2 good rows, 3 bad (missing_column 1, unreadable 2)")
    bad = rows(tmp_path / "out", "bad")
    assert {row["file"].rpartition("/")[2] for row in bad} == {"b.parquet", "c.parquet", "d.parquet"}


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_an_empty_file_has_no_rows(batch, rows, reviews, tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    said = batch(*words(reviews, input=tmp_path / name, column=None if name == "a.txt" else "text"))
    assert said.startswith("0 good rows, 0 bad, in ")
    assert rows(tmp_path / "out") == rows(tmp_path / "out", "bad") == []


def test_parquet_without_rows_gives_none(batch, rows, reviews, tmp_path):
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert batch(*words(reviews)).startswith("0 good rows, 0 bad, in ")


def test_a_cut_off_archive_is_said(batch, rows, reviews, tmp_path):
    import gzip

    whole = gzip.compress(
        "\n".join(f"A film {place} {os.urandom(9).hex()}" for place in range(9999)).encode()
    )
    (tmp_path / "a.txt.gz").write_bytes(whole[: len(whole) // 2])
    batch(*words(reviews, input=tmp_path / "a.txt.gz", column=None))
    [row] = rows(tmp_path / "out", "bad")
    assert row["error"]["code"] == "unreadable"
    assert len(rows(tmp_path / "out")) < 9999


@pytest.fixture
def alone():
    """Run it in a process of its own, where no model is in memory yet."""

    def alone(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "batch", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return alone


def test_a_model_that_cannot_be_had_stops_the_job(alone, reviews, tmp_path):
    run = alone(*words(reviews), MODEL_STORE=str(tmp_path))
    assert run.returncode == 1
    assert run.stderr.startswith("batch: the model of review cannot be loaded: ")
    assert "check MODEL_STORE" in run.stderr
    assert run.stderr.count("\n") == 1
    assert not reviews["--output"].exists()


def test_credentials_that_cannot_be_read_stop_the_job(refusal, reviews, tmp_path, monkeypatch):
    (tmp_path / "key.json").write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    said = refusal(*words(reviews, input="gs://my-bucket/*.parquet"))
    assert "gs://my-bucket/*.parquet: no valid credentials: " in said
    assert "gcloud auth application-default login" in said


def test_other_packages_than_the_functions_stop_the_job(refusal, reviews, monkeypatch):
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "12.3.0" if name == "pillow" else version(name))
    said = refusal("malaria", *words(reviews)[1:])
    assert "pillow: functions/malaria/requirements.txt says " in said
    assert "this environment has 12.3.0: run make -B .venv/batch/installed ONLY=malaria" in said


SLOW = """
import sys
from batch import progress, __main__ as command
progress.SECONDS = 0.05
command.main(sys.argv[1:])
"""


def test_an_interrupted_job_leaves_nothing_and_can_be_repeated(batch, rows, reviews, tmp_path):
    with (tmp_path / "a.jsonl").open("w") as file:
        for place in range(60_000):
            file.write(json.dumps({"id": place, "text": f"A film of {place} minutes. " * 40}) + "\n")
    arguments = [str(each) for each in words(reviews, input=tmp_path / "a.jsonl")]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        line = next(line for line in process.stderr if " rows in " in line and not line.startswith("0 rows"))
        assert " a second" in line
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 1
    assert "batch: interrupted; run the same command again" in rest
    assert list(tmp_path.glob("out/good-*")) + list(tmp_path.glob("out/bad-*")) == []
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "A film."}')
    batch(*arguments)
    assert len(rows(tmp_path / "out")) == 1
