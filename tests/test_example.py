"""Each function's example."""

import base64
import json

import pytest
from conftest import FUNCTIONS, ROOT

from shared.example import Example
from shared.pin import Pin, Unpublished


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_has_a_label_of_the_model(name):
    folder = ROOT / "functions" / name
    try:
        labels = Pin.read(folder / "model.json").labels
    except Unpublished as error:
        pytest.skip(str(error))
    assert Example.read(folder).label in labels


def test_no_two_functions_have_the_same_port():
    ports = [Example.read(ROOT / "functions" / name).port for name in FUNCTIONS]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("value", ["A text.", {"length": 5.1}, [5.1, 3]])
def test_an_input_is_read_as_it_is_and_a_file_as_base64(tmp_path, value):
    (tmp_path / "example.json").write_text(json.dumps({"port": 8090, "input": value, "label": "a"}))
    assert Example.read(tmp_path) == Example(8090, value, None, "a")
    (tmp_path / "cell.png").write_bytes(b"content")
    (tmp_path / "example.json").write_text(json.dumps({"port": 8090, "file": "cell.png"}))
    encoded = base64.b64encode(b"content").decode()
    assert Example.read(tmp_path) == Example(8090, encoded, tmp_path / "cell.png", None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "expected port, label, and input or file"),
        ("{", "expected port, label, and input or file"),
        ("[]", "expected port, label, and input or file"),
        ('{"port": 8090}', "expected port, label, and input or file"),
        ('{"port": 8090, "file": "gone.png"}', "expected port, label, and input or file"),
        ('{"port": 8090, "file": 7}', "expected port, label, and input or file"),
        ('{"port": "8090", "input": "a"}', "'port': expected a whole number"),
        ('{"port": true, "input": "a"}', "'port': expected a whole number"),
        ('{"port": 65536, "input": "a"}', "'port': expected a whole number"),
        ('{"port": 8090, "input": "a", "label": 7}', "'label': expected a label"),
    ],
)
def test_an_invalid_example_is_refused_with_what_was_expected(tmp_path, content, words):
    if content is not None:
        (tmp_path / "example.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        Example.read(tmp_path)
