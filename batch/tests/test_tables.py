"""A function that reads rows of tables, made in a copy of the repository: every input that has columns."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pytest
from conftest import ROOT
from pyarrow import parquet

MAIN = '''
from shared.classifier import verdict
from shared.errors import Unusable
from shared.start import start
from shared.web.readers import Rows


class Model:
    """`big` from a sum of ten on."""

    def __init__(self, pin):
        self.labels = pin.labels

    @staticmethod
    def prepare(pin):
        pass

    @classmethod
    def load(cls, content, pin):
        return cls(pin)

    def decode(self, raw):
        try:
            return float(raw["a"]) + float(raw["b"])
        except (KeyError, TypeError, ValueError) as error:
            raise Unusable(f"expected the numbers a and b: {error!r}")

    def predict(self, batch):
        return [min(1.0, max(0.0, value / 20)) for value in batch]

    def encode(self, output, explain):
        return verdict(self.labels, (1 - output, output))

    def sample(self):
        return 1.0


predict = start(__file__, name="sums", reads=Rows(), model=Model, key="size")
'''


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The code, and a function `sums`."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("shared", "batch"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    function, store = folder / "functions" / "sums", folder / "models" / "sums"
    function.mkdir(parents=True)
    store.mkdir(parents=True)
    digest = hashlib.sha256(b"model").hexdigest()
    file = f"sums/sums-{digest[:12]}.npz"
    (folder / "models" / file).write_bytes(b"model")
    pin = {
        "file": file,
        "sha256": digest,
        "bytes": 5,
        "format": "linear",
        "version": "1",
        "labels": ["small", "big"],
    }
    (function / "model.json").write_text(json.dumps(pin))
    (function / "main.py").write_text(MAIN)
    shutil.copy(ROOT / "functions" / "review" / "requirements.txt", function)
    return folder


def sums(repository, *arguments):
    run = subprocess.run(
        [sys.executable, "-m", "batch", "sums", *map(str, arguments)],
        cwd=repository,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.splitlines()[-1]


def found(folder, kind):
    [path] = folder.glob(f"{kind}-*.jsonl")
    return {str(row["id"]): row for row in map(json.loads, path.read_text().splitlines())}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_row_is_what_is_scored(repository, tmp_path, kind):
    if kind == "parquet":
        table = pa.table({"id": [1, 2, 3], "a": [1.5, 19, 3], "b": [2, 1, None]})
        parquet.write_table(table, tmp_path / "a.parquet")
    else:
        (tmp_path / "a.csv").write_text("id;a;b\n1;1.5;2\n2;19;1\n3;3;\n")
    said = sums(repository, "--input", tmp_path / f"a.{kind}", "--keep", "id", "--output", tmp_path / "out")
    assert said.startswith("2 good rows, 1 bad (unusable_input 1), in ")
    good = found(tmp_path / "out", "good")
    assert {key: row["label"] for key, row in good.items()} == {"1": "small", "2": "big"}
    assert good["1"]["probabilities"] == {"small": 0.825, "big": 0.175}
    assert "a" not in good["1"]
    assert "expected the numbers a and b" in found(tmp_path / "out", "bad")["3"]["error"]["message"]
