"""The helper for other engines: NULL and NaN are null, nothing raises, the answers are those over HTTP."""

import base64
import decimal
import json
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from conftest import FUNCTIONS, ROOT

from batch import requirements
from batch.errors import JobError
from batch.scoring import columns, plain, score
from shared.example import Example

NULLS = [None, float("nan"), np.float64("nan"), np.float32("nan"), decimal.Decimal("nan")]


class Rude:
    """A value whose methods raise."""

    def __getattr__(self, name):
        raise RuntimeError(name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_answers_are_those_of_the_function_over_http(name, load):
    example = Example.read(ROOT / "functions" / name)
    raw = base64.b64decode(example.input) if example.file else example.input
    answer = load(name).post("/", json={"instances": [example.input, "", 5]}).json
    [good, *bad] = score(name, [raw, "", 5])
    assert good["label"] == example.label
    assert good["probabilities"] == answer["predictions"][0]["probabilities"]
    assert good["model"] == answer["model"]["version"]
    assert good["error"] is None
    assert [each["error"]["code"] for each in bad] == [each["code"] for each in answer["predictions"][1:]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_value_raises_and_null_stays_null(name):
    hostile = ["", " ", b"", b"\xff\xfe", "\ud800", "x" * 200_000, 5, True, 1e400, 10**5000, object(), Rude()]
    hostile += [
        [],
        {},
        [[[]]],
        (),
        {"a": float("nan")},
        np.array([1, 2]),
        memoryview(b"ab"),
        bytearray(b"ab"),
    ]
    found = score(name, [*NULLS, *hostile])
    assert found[: len(NULLS)] == [None] * len(NULLS)
    assert all(each is not None for each in found[len(NULLS) :])
    assert json.dumps(found, allow_nan=False)
    assert [each for each in columns(name, NULLS)["label"] if each] == []


def test_library_types_become_python_types():
    assert plain({"a": np.float64("nan"), "b": [np.int64(3)], "c": decimal.Decimal("1.5")}) == {
        "a": None,
        "b": [3],
        "c": 1.5,
    }
    assert type(plain(np.float32(1.5))) is float


def test_an_unknown_function_is_refused():
    with pytest.raises(JobError, match="functions/nobody is missing"):
        score("nobody", [])


def alone(script):
    """Run a script in a process of its own; its last line."""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()[-1]


def test_importing_a_function_leaves_logging_as_it_is():
    now = "(logging.root.handlers[:], logging.root.level)"
    script = f"import logging; from batch.scoring import load; before = {now}; load('review'); "
    script += f"print(before == {now})"
    assert alone(script) == "True"


def test_it_needs_no_beam():
    script = "import sys; from batch.scoring import score; score('review', ['A film.']); "
    assert alone(script + "print('apache_beam' in sys.modules)") == "False"


def lock(folder, name, *lines):
    path = folder / "functions" / name
    path.mkdir(parents=True)
    (path / "requirements.txt").write_text("".join(f"{line} \\\n    --hash=sha256:00\n" for line in lines))


def test_compatible_locks_are_merged_and_others_are_refused(tmp_path):
    lock(tmp_path, "one", "numpy==2.4.6", "protobuf==7.36.2", "colorama==0.4.6 ; sys_platform == 'win32'")
    lock(tmp_path, "two", "numpy==2.4.6", "pillow==13.0.0")
    merged = requirements.merged(requirements.functions(tmp_path), tmp_path)
    assert [entry.package for entry in merged] == ["numpy", "colorama", "pillow"]
    assert "".join(entry.lines for entry in merged).count("--hash=") == 3
    lock(tmp_path, "three", "numpy==2.5.0")
    with pytest.raises(requirements.Mismatch, match=r"numpy: .* make -B .venv/batch/installed ONLY=t"):
        requirements.merged(requirements.functions(tmp_path), tmp_path)


def test_a_version_that_differs_from_the_lock_is_refused(tmp_path):
    here = metadata.version("numpy")
    lock(tmp_path, "one", f"numpy=={here}", "absent==1.0 ; sys_platform == 'win32'")
    requirements.check("one", tmp_path)
    lock(tmp_path, "two", "numpy==0.1")
    with pytest.raises(requirements.Mismatch, match=f"says 0.1; this environment has {here}"):
        requirements.check("two", tmp_path)
    lock(tmp_path, "three", "absent==1.0")
    with pytest.raises(requirements.Mismatch, match="this environment has none"):
        requirements.check("three", tmp_path)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_requires_beam(name):
    assert "beam" not in (ROOT / "functions" / name / "requirements.txt").read_text()
