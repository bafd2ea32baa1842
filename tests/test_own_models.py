"""Models that people bring: Keras files, served as the cloud serves them."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from functions.malaria.classifier import Classifier
from shared.errors import ModelUnavailable

INFECTED = ROOT / "models" / "malaria" / "examples" / "infected.png"


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def pinned(path: Path, **settings):
    content = path.read_bytes()
    return {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "format": path.suffix[1:],
        "version": "own",
        "labels": ["Normal", "Infected"],
        **settings,
    }


def colours(keras, units, activation, size=(8, 8)):
    """A network that sees only the means of red and blue: more red than blue is `Infected`."""
    weights = np.zeros((3, units), np.float32)
    weights[0, -1], weights[2, -1] = 8, -8
    model = keras.Sequential(
        [
            keras.Input((*size, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(units, activation=activation),
        ]
    )
    model.layers[-1].set_weights([weights, np.zeros(units, np.float32)])
    return model


def infected(classifier, colour):
    height, width = classifier.size
    [diagnosis] = classifier.predict([np.full((height, width, 3), colour, np.uint8)])
    assert sum(diagnosis.probabilities.values()) == pytest.approx(1)
    assert diagnosis.label == max(diagnosis.probabilities, key=diagnosis.probabilities.get)
    return diagnosis.probabilities["Infected"]


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (2, "softmax")])
def test_a_sigmoid_unit_and_two_softmax_units_are_read_from_both_kinds_of_file(
    keras, tmp_path, suffix, units, activation
):
    path = tmp_path / f"own.{suffix}"
    colours(keras, units, activation).save(path)
    classifier = Classifier.load(path, pinned(path))
    assert infected(classifier, RED) == pytest.approx(1 / (1 + np.exp(-8)), abs=1e-6)
    assert infected(classifier, BLUE) == pytest.approx(1 / (1 + np.exp(8)), abs=1e-6)


def test_bgr_hands_the_channels_on_in_reverse(keras, tmp_path):
    path = tmp_path / "own.keras"
    colours(keras, 1, "sigmoid").save(path)
    classifier = Classifier.load(path, pinned(path, input={"channels": "BGR"}))
    assert infected(classifier, RED) < 0.01
    assert infected(classifier, BLUE) > 0.99


def test_the_range_says_what_white_is_to_the_model(keras, tmp_path):
    path = tmp_path / "own.keras"
    colours(keras, 1, "sigmoid").save(path)
    classifier = Classifier.load(path, pinned(path, input={"range": [0, 0.5]}))
    assert infected(classifier, RED) == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-6)


def test_the_threshold_decides_the_label(keras, tmp_path):
    path = tmp_path / "own.keras"
    colours(keras, 1, "sigmoid").save(path)
    classifier = Classifier.load(path, pinned(path, threshold=0.4))
    grey = np.full((8, 8, 3), (100, 0, 112), np.uint8)
    [diagnosis] = classifier.predict([grey])
    assert 0.4 < diagnosis.probabilities["Infected"] < 0.5
    assert diagnosis.label == "Infected"


def test_the_size_is_the_models_own_or_the_pins_where_it_takes_any(keras, tmp_path):
    fixed, free = tmp_path / "fixed.keras", tmp_path / "free.keras"
    colours(keras, 1, "sigmoid", (24, 32)).save(fixed)
    colours(keras, 1, "sigmoid", (None, None)).save(free)
    assert Classifier.load(fixed, pinned(fixed)).size == (24, 32)
    assert Classifier.load(free, pinned(free, input={"size": [40, 48]})).size == (40, 48)
    with pytest.raises(ModelUnavailable, match=r"give input\.size"):
        Classifier.load(free, pinned(free))
    with pytest.raises(ModelUnavailable, match=r"input\.size \[9, 9\]; the model takes \[24, 32\]"):
        Classifier.load(fixed, pinned(fixed, input={"size": [9, 9]}))


def test_what_cannot_be_served_is_refused_when_it_is_loaded(keras, tmp_path):
    three = tmp_path / "three.keras"
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]).save(three)
    with pytest.raises(ModelUnavailable, match=r"expected an output of shape \(n, 1\) or \(n, 2\)"):
        Classifier.load(three, pinned(three))
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match="cannot be loaded as h5"):
        Classifier.load(broken, pinned(broken))
    flat = tmp_path / "flat.tflite"
    flat.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match="cannot be loaded as tflite"):
        Classifier.load(flat, pinned(flat))
    with pytest.raises(ModelUnavailable, match="expected a format of tflite, keras, h5; got 'onnx'"):
        Classifier.load(three, pinned(three, format="onnx"))
    own = tmp_path / "own.keras"
    colours(keras, 1, "sigmoid").save(own)
    with pytest.raises(ModelUnavailable, match=r"expected input\.channels RGB or BGR; got 'HSV'"):
        Classifier.load(own, pinned(own, input={"channels": "HSV"}))


@pytest.mark.parametrize(
    ("suffix", "module", "package"),
    [("h5", "keras", "tensorflow-cpu"), ("tflite", "ai_edge_litert.interpreter", "ai-edge-litert")],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, suffix, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / f"own.{suffix}"
    path.write_bytes(b"")
    with pytest.raises(ModelUnavailable, match=rf"add {package} to requirements\.txt"):
        Classifier.load(path, pinned(path))


@pytest.mark.parametrize("pair", [False, True])
def test_a_scikit_learn_model_as_the_article_dumps_it_answers_in_a_real_process(
    tmp_path, variant, start, pair
):
    import joblib
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    reviews = ["good great fine", "bad awful poor"] * 5
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(reviews, [1, 0] * 5)
    path = tmp_path / "own.joblib"
    joblib.dump(tuple(step for _, step in model.steps) if pair else model, path)
    pin = pinned(path, labels=["Negative", "Positive"])
    server = start(variant("review", pin), MODEL_STORE=str(tmp_path))
    for review, label in (("a great film", "Positive"), ("an awful film", "Negative")):
        answer = server.request("POST", "/predict", review.encode(), "text/plain")
        assert answer.status == 200, server.log.read_text()
        assert answer.json["review_sentiment"] == label
        expected = model.predict_proba([review])[0, 1]
        assert answer.json["probabilities"]["Positive"] == pytest.approx(expected, abs=1e-6)


# The network of the article: 512-254-128-64-32-24-16 filters, then 512 and 128 units, one sigmoid.
ARTICLE = """
import keras
from keras import layers

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((100, 100, 3))])
for filters in (512, 254, 128, 64, 32, 24, 16):
    model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
    model.add(layers.MaxPooling2D(2, padding="same"))
model.add(layers.Flatten())
for units in (512, 128):
    model.add(layers.Dense(units, activation="relu"))
    model.add(layers.Dropout(0.2))
model.add(layers.Dense(1, activation="sigmoid"))
model.compile("adam", "binary_crossentropy")
model.save("article.h5")
"""


def test_the_articles_network_answers_from_h5_in_a_real_process(keras, tmp_path, variant, start):
    # Built in a process of its own, so that this one's TensorFlow has nothing to do with the server's.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(
        [sys.executable, "-c", ARTICLE], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    path = tmp_path / "article.h5"
    server = start(variant("malaria", pinned(path)), MODEL_STORE=str(tmp_path))
    assert server.request("GET", "/ready").status == 503
    answers = [server.request("POST", "/classify", INFECTED.read_bytes(), "image/png") for _ in range(3)]
    for answer in answers:
        assert answer.status == 200, server.log.read_text()
        assert answer.json["model"]["version"] == "own"
    assert len({json.dumps(answer.json) for answer in answers}) == 1
    direct = Classifier.load(path, pinned(path))
    [diagnosis] = direct.predict([direct.decode(INFECTED.read_bytes())])
    served = answers[0].json
    assert served["probabilities"]["Infected"] == pytest.approx(diagnosis.probabilities["Infected"], abs=1e-5)
    assert served["classification"] == diagnosis.label
    assert server.request("GET", "/ready").status == 200
