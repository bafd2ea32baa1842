"""The README's lines for other engines, run as they stand: what they write is what the plain loop says."""

import json
import os
import re
import shutil
import subprocess
import sys

import pyarrow as pa
import pytest
from conftest import ROOT
from pyarrow import parquet

from batch.scoring import score

README = (ROOT / "batch" / "README.md").read_text()
SCRIPTS = dict(re.findall(r"```python\n# (\w+)\n(.*?)```", README, re.DOTALL))
TEXTS = ["A good film.", None, "", "Dis film no sweet at all.", "Ẹ jọwọ 🎬", "x" * 100_001] * 20


@pytest.mark.parametrize("engine", ["duckdb", "spark", "polars"])
def test_an_engine_writes_what_the_plain_loop_says(engine, tmp_path):
    if engine == "spark" and not shutil.which("java"):
        pytest.skip("Spark needs Java, which is not here")
    parquet.write_table(pa.table({"id": range(len(TEXTS)), "text": TEXTS}), tmp_path / "reviews.parquet")
    (tmp_path / "script.py").write_text(SCRIPTS[engine])
    # Spark's workers are started by the name of a Python.
    own = {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    run = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    rows = sorted(parquet.read_table(tmp_path / "scored.parquet").to_pylist(), key=lambda row: row["id"])
    assert [row["text"] for row in rows] == TEXTS
    for row, expected in zip(rows, score("review", TEXTS), strict=True):
        if expected is None:
            assert not row["label"]
            assert not row["error"]
            continue
        assert row["label"] == expected["label"]
        assert probabilities(row) == expected["probabilities"]
        assert (row["error"] or "None").partition(":")[0] == str((expected["error"] or {}).get("code"))


def probabilities(row):
    """As a dict: an engine may write it as JSON, or as a map."""
    found = row["probabilities"]
    found = json.loads(found) if isinstance(found, str) else found
    return dict(found) if found else None
