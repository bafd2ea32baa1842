"""An invalid pin stops the start of a function; the message names the file and the field."""

import hashlib
import json

import pytest
from conftest import FUNCTIONS, ROOT

from shared.pin import FORMATS, PACKAGES, Input, Pin, PinError, Unpublished

DIGEST = hashlib.sha256(b"weights").hexdigest()
CONTENT = {
    "file": "thing/thing-0.bin",
    "sha256": DIGEST,
    "bytes": 7000,
    "format": "tflite",
    "version": "1",
    "labels": ["No", "Yes"],
}


def read(folder, content):
    path = folder / "model.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Pin.read(path)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_committed_file_is_the_pinned_one(name):
    pin = Pin.read(ROOT / "functions" / name / "model.json")
    content = (ROOT / "models" / pin.file).read_bytes()
    assert len(content) == pin.bytes
    assert hashlib.sha256(content).hexdigest() == pin.sha256
    assert pin.file == f"{name}/{name}-{pin.sha256[:12]}{pin.suffix}"
    assert pin.version.endswith(pin.sha256[:7])


def test_a_pin_is_written_as_it_was_read(tmp_path):
    content = {
        **CONTENT,
        "threshold": 0.25,
        "output": "logits",
        "input": {"size": [50, 40], "channels": "BGR", "range": [-1, 1], "columns": ["a", "b"]},
        "trained": "2026-01-31",
        "metrics": {"accuracy": 0.96, "method": "cross-validation"},
    }
    pin = read(tmp_path, content)
    assert pin.labels == ("No", "Yes")
    assert pin.input == Input((50, 40), "BGR", (-1.0, 1.0), ("a", "b"))
    assert pin.decision_threshold == 0.25
    assert pin.suffix == ".bin"
    assert pin.content() == content
    assert read(tmp_path, CONTENT).content() == CONTENT
    assert read(tmp_path, CONTENT).decision_threshold == 0.5


def test_a_pin_is_immutable(tmp_path):
    pin = read(tmp_path, {**CONTENT, "metrics": {"accuracy": 0.96}})
    with pytest.raises(AttributeError):
        pin.sha256 = "0" * 64
    with pytest.raises(TypeError):
        pin.metrics["accuracy"] = 1.0


@pytest.mark.parametrize("field", CONTENT)
def test_each_field_that_identifies_the_model_is_required(field, tmp_path):
    content = {name: value for name, value in CONTENT.items() if name != field}
    with pytest.raises(PinError, match=rf"model\.json: the field '{field}' is missing"):
        read(tmp_path, content)


WRONG = {
    "file": [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../b",
        "a//b",
        "./a",
        "a/",
        ".",
        "",
        " ",
        "a\\b",
        "gs://b/a",
        "a\nb",
        7,
        None,
        ["a"],
    ],
    "sha256": ["abc", DIGEST.upper(), DIGEST + "\n", DIGEST[:-1] + "g", "0" * 65, int("1" * 64), None],
    "bytes": ["7000", 0, -1, 7000.0, 7000.5, True, None, 1 << 41],
    "format": ["onnx", "TFLITE", "", 7, None, ["tflite"], {}],
    "version": ["", " ", 1, None, "a\nb", "1" * 1001],
    "labels": [
        "Yes",
        [],
        ["Yes"],
        ["Yes", "Yes"],
        ["Yes", ""],
        ["Yes", " "],
        ["Yes", 1],
        ["Yes", None],
        None,
        {"a": 1},
    ],
    "threshold": [-0.01, 1.01, "0.5", True, None, [0.5], 10**400],
    "output": ["softmax", "", None, 1],
    "input": [
        [],
        None,
        {"shape": [50, 50]},
        {"size": [50]},
        {"size": [0, 50]},
        {"size": [50, 4097]},
        {"size": [50.0, 50]},
        {"size": "50x50"},
        {"size": [True, 50]},
        {"channels": "rgb"},
        {"range": [0]},
        {"range": [1, 1]},
        {"range": [0, "1"]},
        {"range": [0, 10**400]},
        {"range": [0, 1e300]},
        {"columns": []},
        {"columns": ["a", "a"]},
        {"columns": "ab"},
        {"languages": [1]},
    ],
    "modules": [{"a.py": DIGEST}, [], {"../a.py": DIGEST}, {"a.py": "abc"}],
    "trained": ["31.01.2026", "2026-02-30", 20260131, None],
    "metrics": [
        [],
        None,
        {"accuracy": True},
        {"accuracy": None},
        {"accuracy": {"mean": 1}},
        {"accuracy": 10**400},
    ],
    "sha265": [DIGEST],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in WRONG.items() for value in values],
    ids=lambda value: json.dumps(value)[:30],
)
def test_an_invalid_field_is_named(field, value, tmp_path):
    with pytest.raises(PinError, match=rf"model\.json: .*'{field}") as refusal:
        read(tmp_path, {**CONTENT, field: value})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        '{"file": "a", "file": "b"}',
        '{"threshold": NaN}',
        '{"metrics": {"accuracy": Infinity}}',
        "[" * 100_000,
        json.dumps(CONTENT)[:-1] + ', "bytes": 7}',
    ],
    ids=lambda content: content[:30],
)
def test_what_is_not_a_strict_json_object_is_refused(content, tmp_path):
    with pytest.raises(PinError, match=r"model\.json: "):
        read(tmp_path, content)


def test_invalid_utf_8_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "model.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PinError, match="not valid JSON"):
        Pin.read(tmp_path / "model.json")
    with pytest.raises(PinError, match="cannot be read: No such file"):
        Pin.read(tmp_path / "none" / "model.json")


def test_more_than_two_labels_have_no_threshold(tmp_path):
    labels = {"labels": ["a", "b", "c"]}
    assert read(tmp_path, {**CONTENT, **labels}).threshold is None
    with pytest.raises(PinError, match="'threshold' belongs to two labels; there are 3"):
        read(tmp_path, {**CONTENT, **labels, "threshold": 0.5})


def test_a_function_without_a_model_says_how_to_publish_one(tmp_path):
    place = tmp_path / "digits"
    place.mkdir()
    with pytest.raises(Unpublished, match=r"python -m models\.publish digits FILE"):
        read(place, {"labels": ["0", "1"]})


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_can_be_pinned(format_, tmp_path):
    assert read(tmp_path, {**CONTENT, "format": format_}).format == format_


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_has_the_packages_that_run_it(format_):
    assert PACKAGES[format_]
