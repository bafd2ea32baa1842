"""Pickled classifiers, as engines send them to their workers, give the same answers in another process."""

import base64
import pickle
import subprocess
import sys

import pytest
from conftest import FUNCTIONS, ROOT

from batch.scoring import load
from shared.classifier import classify
from shared.example import Example

THERE = """
import pickle, sys
from shared.classifier import classify
classifier, raws = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(classify(classifier, raws, explain=True)))
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_classifier_in_another_process_gives_the_same_answers(name):
    classifier, example = load(name).classifier(), Example.read(ROOT / "functions" / name)
    raws = [base64.b64decode(example.input) if example.file else example.input]
    here = classify(classifier, raws, explain=True)
    sent = pickle.dumps((classifier, raws))
    run = subprocess.run(
        [sys.executable, "-c", THERE], cwd=ROOT, input=sent, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    assert pickle.loads(run.stdout) == here
    assert here[0]["label"] == example.label


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_pickled_pin_is_equal_and_immutable(name):
    pin = load(name).pin
    sent = pickle.loads(pickle.dumps(pin))
    assert sent == pin
    with pytest.raises(TypeError):
        sent.metrics["accuracy"] = 1.0
