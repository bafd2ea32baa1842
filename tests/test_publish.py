import hashlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import FUNCTIONS, ROOT

from functions.review.classifier import Linear
from models import publish
from shared.errors import ModelUnavailable
from shared.store import fetch


@pytest.fixture
def root(tmp_path):
    """A repository with the functions' pins, and no model yet."""
    for name in FUNCTIONS:
        (tmp_path / "functions" / name).mkdir(parents=True)
        shutil.copy(ROOT / "functions" / name / "model.json", tmp_path / "functions" / name)
    return tmp_path


def committed(name):
    return ROOT / "models" / json.loads((ROOT / "functions" / name / "model.json").read_text())["file"]


@pytest.fixture
def model():
    return committed("malaria")


@pytest.fixture
def other(tmp_path):
    """A review model of other bytes than the pinned one."""
    linear = Linear.read(committed("review"))
    file = tmp_path / "mine.npz"
    Linear(linear.ngrams, linear.weights, linear.scales, linear.intercept + 0.5).save(file)
    return file


def pins(root):
    return {name: (root / "functions" / name / "model.json").read_text() for name in FUNCTIONS}


def put(name, file, settings, store, root):
    pin = publish.examine(name, file, settings, root)
    publish.publish(name, file, pin, str(store), root)
    return pin


def test_a_published_file_is_the_pinned_one(root, other):
    put("review", other, {"threshold": 0.3}, root / "models", root)
    pin = fetch.read_pin(root / "functions" / "review" / "model.json")
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    assert pin["sha256"] == digest
    assert pin["file"] == f"review/review-{digest[:12]}.npz"
    assert pin["bytes"] == other.stat().st_size
    assert pin["format"] == "linear"
    assert pin["labels"] == ["Negative", "Positive"]
    assert pin["threshold"] == 0.3
    assert "metrics" not in pin, "they were those of another file"
    assert fetch.fetch(pin, str(root / "models")).read_bytes() == other.read_bytes()


def test_an_image_model_is_pinned_with_the_size_it_takes(root, model):
    put("malaria", model, {}, root / "models", root)
    pin = fetch.read_pin(root / "functions" / "malaria" / "model.json")
    assert pin["input"] == {"size": [100, 100], "channels": "RGB"}


def test_publishing_twice_changes_nothing(root, model):
    before = pins(root)
    put("malaria", model, {}, root / "models", root)
    stored = root / "models" / "malaria" / model.name
    written = stored.stat().st_mtime_ns
    put("malaria", model, {}, root / "models", root)
    assert stored.stat().st_mtime_ns == written
    assert list(stored.parent.iterdir()) == [stored]
    assert pins(root) == before


def test_a_file_that_does_not_load_is_not_published(root, tmp_path):
    before = pins(root)
    file = tmp_path / "broken.tflite"
    file.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        put("malaria", file, {}, root / "models", root)
    assert pins(root) == before
    assert not (root / "models").exists()


def test_a_model_that_loads_but_cannot_answer_is_not_published(root, tmp_path):
    linear = Linear.read(committed("review"))
    file = tmp_path / "nonsense.npz"
    Linear(linear.ngrams, linear.weights, linear.scales * np.nan, linear.intercept).save(file)
    with pytest.raises(ModelUnavailable, match="it loads, but"):
        put("review", file, {}, root / "models", root)
    assert not (root / "models").exists()


@pytest.mark.parametrize(
    "probabilities",
    [{"No": 2.3, "Yes": -1.3}, {"No": float("nan"), "Yes": 0.5}, {"No": 0.2, "Yes": 0.2}, {"1": 1}],
)
def test_an_answer_that_is_no_probability_is_not_published(probabilities):
    answer = SimpleNamespace(label="No", probabilities=probabilities)
    classifier = SimpleNamespace(sample=lambda: "sample", predict=lambda samples: [answer] * len(samples))
    with pytest.raises(ModelUnavailable, match="does it end in a sigmoid or a softmax"):
        publish.try_out(classifier, {"labels": ["No", "Yes"]})


def test_a_suffix_of_no_format_is_refused_with_those_there_are(root, tmp_path):
    with pytest.raises(SystemExit, match=r"\.tflite, \.keras, \.h5, \.npz, \.joblib"):
        publish.examine("malaria", tmp_path / "model.pt", {}, root)


def test_another_file_of_that_name_in_the_folder_is_left_as_it_is(root, model):
    stored = root / "models" / "malaria" / model.name
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"something else")
    with pytest.raises(ModelUnavailable, match="found 14"):
        put("malaria", model, {}, root / "models", root)
    assert stored.read_bytes() == b"something else"


def test_a_file_goes_to_a_bucket_once_and_is_served_from_there(emulated, root, other, monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "CACHE", tmp_path / "cache")
    put("review", other, {}, "gs://models/v1", root)
    put("review", other, {}, "gs://models/v1", root)
    pin = fetch.read_pin(root / "functions" / "review" / "model.json")
    [blob] = emulated.list_blobs()
    assert blob.name == f"v1/{pin['file']}"
    assert fetch.fetch(pin, "gs://models/v1").read_bytes() == other.read_bytes()


def test_another_object_of_that_name_is_never_written_over(emulated, root, other):
    before = pins(root)
    pin = publish.examine("review", other, {}, root)
    emulated.blob(f"v1/{pin['file']}").upload_from_string(b"something else")
    with pytest.raises(ModelUnavailable, match="another file of this name"):
        publish.publish("review", other, pin, "gs://models/v1", root)
    assert emulated.blob(f"v1/{pin['file']}").download_as_bytes() == b"something else"
    assert pins(root) == before


def test_a_bucket_that_is_not_there_is_named_and_nothing_is_pinned(emulated, root, other):
    before = pins(root)
    pin = publish.examine("review", other, {}, root)
    with pytest.raises(ModelUnavailable, match=r"gs://elsewhere/review/review-"):
        publish.publish("review", other, pin, "gs://elsewhere", root)
    assert pins(root) == before


@pytest.mark.parametrize("store", ["folder", "gs://models/v1"])
def test_check_compares_every_pin_with_the_store(store, emulated, root, capsys):
    store = str(root / "models") if store == "folder" else store
    put("malaria", committed("malaria"), {}, store, root)
    assert publish.check(FUNCTIONS, store, root) == 1
    told = capsys.readouterr().out
    assert "malaria: " in told
    assert "is the pinned file" in told
    assert "review: " in told
    put("review", committed("review"), {}, store, root)
    assert publish.check(FUNCTIONS, store, root) == 0


def run(*arguments):
    command = [sys.executable, "-m", "models.publish", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_checks_the_committed_models_and_tries_one_without_publishing_it(other):
    checked = run("--check")
    assert checked.returncode == 0, checked.stderr
    assert all(f"{name}: " in checked.stdout for name in FUNCTIONS)
    before = pins(ROOT)
    tried = run("review", other, "--dry-run", "threshold=0.4")
    assert tried.returncode == 0, tried.stderr
    assert json.loads(tried.stdout)["threshold"] == 0.4
    assert json.loads(tried.stdout)["sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()
    assert pins(ROOT) == before
    wrong = run("review", other, "threshold=high")
    assert wrong.returncode == 2
    assert "with the value in JSON" in wrong.stderr
