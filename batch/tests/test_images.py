"""Images, as files and in Parquet: the same answers as over HTTP, and the same pixels as the function."""

import base64
import io
import re
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from conftest import DATA, ROOT
from PIL import Image
from pyarrow import parquet

from dev.environments import environment

EXAMPLES = sorted((ROOT / "models" / "malaria" / "examples").glob("*.png"))
HUGE = 10_000_001


@pytest.fixture
def cells(tmp_path):
    """A tree of images, and of files that are none; the good ones by their names."""
    folder = tmp_path / "cells"
    (folder / "deep" / "ér").mkdir(parents=True)
    good = {"a.png": EXAMPLES[0].read_bytes(), "deep/ér/b 1.PNG": EXAMPLES[1].read_bytes()}
    bad = {
        "cut.png": EXAMPLES[0].read_bytes()[:3000],
        "empty.png": b"",
        "black.png": _png(np.zeros((80, 80, 3), np.uint8)),
        "text.png": b"no image",
        "huge.png": EXAMPLES[0].read_bytes().ljust(HUGE, b"\0"),
    }
    for name, content in {**good, **bad}.items():
        (folder / name).write_bytes(content)
    return folder, good, bad


def _png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _instances(contents):
    return [{"b64": base64.b64encode(content).decode()} for content in contents]


def test_files_are_told_by_their_names(batch, rows, over_http, cells, tmp_path):
    folder, good, bad = cells
    said = batch("malaria", "--input", f"{folder}/**", "--output", tmp_path / "out")
    assert said.startswith("2 good rows, 5 bad ("), said
    found = {row["file"].removeprefix(f"{folder}/"): row for row in rows(tmp_path / "out")}
    assert set(found) == set(good)
    for name, answer in zip(good, over_http("malaria", _instances(good.values())), strict=True):
        assert found[name]["label"] == answer["classification"]
        assert found[name]["probabilities"] == answer["probabilities"]
        assert found[name]["warnings"] == answer.get("warnings", [])
    refused = {row["file"].removeprefix(f"{folder}/"): row["error"] for row in rows(tmp_path / "out", "bad")}
    assert set(refused) == set(bad)
    assert refused.pop("huge.png")["code"] == "too_large"
    over = over_http("malaria", _instances(bad[name] for name in refused))
    assert [error["code"] for error in refused.values()] == [answer["code"] for answer in over]


def test_images_in_parquet_are_not_written_again(batch, rows, over_http, cells, tmp_path):
    _, good, bad = cells
    images = [*good.values(), bad["cut.png"], None]
    parquet.write_table(pa.table({"key": list("abcd"), "image": images}), tmp_path / "cells.parquet")
    batch("malaria", "--input", tmp_path / "cells.parquet", "--column", "image", "--output", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [set(row) for row in found] == [{"key", "label", "probabilities", "warnings", "model"}] * 2
    answers = over_http("malaria", _instances(good.values()))
    assert {row["key"]: row["probabilities"] for row in found} == dict(
        zip("ab", (answer["probabilities"] for answer in answers), strict=True)
    )
    assert {row["key"]: row["error"]["code"] for row in rows(tmp_path / "out", "bad")}["d"] == "null"


def test_base64_in_json_lines_is_read_too(batch, rows, tmp_path):
    encoded = base64.b64encode(EXAMPLES[0].read_bytes()).decode()
    (tmp_path / "a.jsonl").write_text(f'{{"key": 1, "image": "{encoded}"}}\n{{"key": 2, "image": "?"}}\n')
    batch(
        *("malaria", "--input", tmp_path / "a.jsonl", "--column", "image", "--keep", "key"),
        *("--output", tmp_path / "out"),
    )
    assert [(row["key"], row["label"]) for row in rows(tmp_path / "out")] == [(1, "Infected")]
    assert [row["key"] for row in rows(tmp_path / "out", "bad")] == [2]


DIGEST = """
import hashlib, json, sys
from pathlib import Path
from shared.runtimes.pixels import decode
digest = hashlib.sha256()
for path in sorted(Path(sys.argv[1]).iterdir()):
    digest.update(decode(path.read_bytes(), (100, 100)).tobytes())
import PIL
print(PIL.__version__, digest.hexdigest())
"""


def test_the_workers_decode_images_to_the_very_pixels_of_the_function(tmp_path):
    """Another Pillow, such as the one that Beam asks for, does not."""
    for number, content in enumerate(_photographs()):
        (tmp_path / f"{number:04}").write_bytes(content)
    function = environment(ROOT / "functions" / "malaria")
    workers, service = (
        subprocess.run(
            [python, "-c", DIGEST, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for python in (sys.executable, function)
    )
    assert workers == service


def _photographs():
    """Cells as they were photographed, if they are here; otherwise grainy ones in each format."""
    archive = DATA / "cell_images.zip"
    if archive.is_file():
        with zipfile.ZipFile(archive) as file:
            names = sorted(name for name in file.namelist() if not name.endswith("/"))
            return [file.read(name) for name in names[:: len(names) // 200]]
    grain, found = np.random.default_rng(0), []
    for number in range(200):
        stream = io.BytesIO()
        pixels = grain.integers(0, 256, (90 + number % 70, 130, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, ("PNG", "JPEG", "WEBP")[number % 3])
        found.append(stream.getvalue())
    return found


def test_the_image_of_the_workers_is_made_by_the_steps_that_made_this_environment():
    steps = re.findall(
        r"(?:pip install|batch\.requirements)[^\n&]*", (ROOT / "batch" / "Dockerfile").read_text()
    )
    assert [re.sub(r"/tmp/function.txt|--no-cache-dir| +\\", "", step).split() for step in steps] == [
        ["pip", "install", "-r", "batch/requirements.txt"],
        ["batch.requirements", ">"],
        ["pip", "install", "--no-deps", "-r"],
        ["batch.requirements", "--check"],
    ]
    recipe = (ROOT / "Makefile").read_text()
    assert "$(call install,$(BATCH),-r batch/requirements.txt)" in recipe
    assert "-m batch.requirements $(ONLY) > $(BATCH)/functions.txt" in recipe
    assert "--no-deps -r $(BATCH)/functions.txt" in recipe
    [version] = re.findall(
        r"^apache-beam==(\S+)", (ROOT / "batch" / "requirements.txt").read_text(), re.MULTILINE
    )
    assert f"sdk:{version}\n" in (ROOT / "batch" / "Dockerfile").read_text()
