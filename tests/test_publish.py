import hashlib
import json
import shutil

import pytest
from conftest import ROOT

from models.publish import publish
from shared import artifacts
from shared.errors import ModelUnavailable


@pytest.fixture
def root(tmp_path):
    """A repository with the malaria function's pin, and no model yet."""
    (tmp_path / "functions" / "malaria").mkdir(parents=True)
    shutil.copy(ROOT / "functions" / "malaria" / "model.json", tmp_path / "functions" / "malaria")
    return tmp_path


@pytest.fixture
def model():
    pin = json.loads((ROOT / "functions" / "malaria" / "model.json").read_text())
    return ROOT / "models" / pin["file"]


def test_a_published_file_is_the_pinned_one(root, model, tmp_path):
    file = tmp_path / "network.tflite"
    shutil.copy(model, file)
    publish("malaria", file, {"threshold": 0.3}, root)
    pin = artifacts.read_pin(root / "functions" / "malaria" / "model.json")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert pin["sha256"] == digest
    assert pin["file"] == f"malaria/malaria-{digest[:12]}.tflite"
    assert pin["labels"] == ["Normal", "Infected"]
    assert pin["threshold"] == 0.3
    assert pin["input"] == {"size": [100, 100], "channels": "RGB"}
    assert artifacts.fetch(pin, str(root / "models")).read_bytes() == model.read_bytes()


def test_publishing_twice_changes_nothing(root, model):
    first = publish("malaria", model, {}, root)
    stored = root / "models" / first["file"]
    before = stored.stat().st_mtime_ns
    assert publish("malaria", model, {}, root) == first
    assert stored.stat().st_mtime_ns == before
    assert list(stored.parent.iterdir()) == [stored]


def test_a_file_that_does_not_load_is_not_pinned(root, tmp_path):
    before = (root / "functions" / "malaria" / "model.json").read_text()
    file = tmp_path / "broken.tflite"
    file.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        publish("malaria", file, {}, root)
    assert (root / "functions" / "malaria" / "model.json").read_text() == before
    assert not (root / "models").exists()


def test_a_suffix_of_no_format_is_refused_with_those_there_are(root, tmp_path):
    with pytest.raises(SystemExit, match=r"\.tflite, \.keras, \.h5, \.npz, \.joblib"):
        publish("malaria", tmp_path / "model.pt", {}, root)
