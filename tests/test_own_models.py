"""Models of users, in every format: loaded from bytes, and some served as in the cloud."""

import hashlib
import importlib.metadata
import json
import os
import pickle
import re
import subprocess
import sys
import types

import joblib
import numpy as np
import pytest
from conftest import ROOT
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelEncoder,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from user_models import BLUE, RED, colours, converted, pinned

from shared.classifier import checked, classify, verdict
from shared.errors import ModelUnavailable, Unexpected, Unusable
from shared.runtimes import rows, texts
from shared.runtimes.images import Classifier
from shared.runtimes.sklearn import Model, _why_not_imported

CELL = ROOT / "functions" / "malaria" / "example.png"
DATA = ROOT / "tests" / "data"
TEN = tuple("0123456789")


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def load(path, labels=("Normal", "Infected"), **settings):
    return Classifier.load(path.read_bytes(), pinned(path, labels, **settings))


def saved(model, path):
    model.save(path)
    return path


def last(classifier, colour):
    """The probability of the last label for an image of one colour."""
    image = np.full((*classifier.size, 3), colour, np.uint8)
    [prediction] = classifier.predict([image])
    assert prediction.probabilities.shape == (len(classifier.labels),)
    assert prediction.probabilities.sum() == pytest.approx(1)
    return prediction.probabilities[-1]


def sigmoid(logit):
    return 1 / (1 + np.exp(-logit))


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (2, "softmax")])
def test_a_sigmoid_unit_and_two_softmax_units_are_read_from_every_file_of_keras(
    keras, tmp_path, suffix, units, activation
):
    path = tmp_path / "own.h5"
    colours(keras, units, activation).save(path if suffix != ".keras" else path.with_suffix(suffix))
    if suffix == ".hdf5":
        path.rename(path.with_suffix(suffix))
    classifier = load(path.with_suffix(suffix))
    assert last(classifier, RED) == pytest.approx(sigmoid(8), abs=1e-6)
    assert last(classifier, BLUE) == pytest.approx(sigmoid(-8), abs=1e-6)


@pytest.mark.parametrize("kind", ["float32", "uint8", "int8"])
@pytest.mark.parametrize(
    ("units", "activation"), [(1, "sigmoid"), (2, "softmax"), (10, "softmax"), (10, None)]
)
def test_litert_files_of_every_dtype_and_any_number_of_labels_are_read(
    keras, tmp_path, kind, units, activation
):
    path = tmp_path / "own.tflite"
    path.write_bytes(converted(colours(keras, units, activation), kind))
    labels = TEN[: max(2, units)]
    settings = {} if activation else {"output": "logits"}
    classifier = load(path, labels, **settings)
    assert classifier.range == (0, 1)
    exact = 1e-6 if kind == "float32" else 0.02
    expected = sigmoid(8) if units <= 2 else np.exp(8) / (np.exp(8) + units - 1)
    assert last(classifier, RED) == pytest.approx(expected, abs=exact)
    answers = classify(classifier, [CELL.read_bytes()], explain=False)
    assert set(answers[0]["probabilities"]) == set(labels)
    about = classifier.network.about()
    assert about.ending == (activation or "none")
    assert about.scaling == ""


@pytest.mark.parametrize(("units", "labels"), [(1, TEN[:2]), (2, TEN[:2]), (3, TEN[:3])])
def test_logits_are_turned_into_probabilities_if_the_pin_says_so(keras, tmp_path, units, labels):
    path = saved(colours(keras, units, None), tmp_path / "own.keras")
    classifier = load(path, labels, output="logits")
    expected = np.exp(8) / (np.exp(8) + len(labels) - 1)
    assert last(classifier, RED) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("colour", [RED, BLUE, (0, 0, 0), (255, 255, 255)])
@pytest.mark.parametrize("suffix", ["keras", "tflite"])
def test_a_network_of_one_channel_gets_grey(keras, tmp_path, suffix, colour):
    model, path = colours(keras, 1, "sigmoid", channels=1), tmp_path / f"own.{suffix}"
    path.write_bytes(converted(model)) if suffix == "tflite" else model.save(path)
    classifier = load(path)
    assert classifier.channels == "grey"
    grey = np.dot(colour, [0.299, 0.587, 0.114]) / 255
    assert last(classifier, colour) == pytest.approx(sigmoid(8 * grey), abs=1e-5)
    with pytest.raises(ModelUnavailable, match=r"channels is RGB; the model takes 1, so expected grey"):
        load(path, input={"channels": "RGB"})


def test_bgr_reverses_the_channels(keras, tmp_path):
    path = saved(colours(keras, 1, "sigmoid"), tmp_path / "own.keras")
    classifier = load(path, input={"channels": "BGR"})
    assert last(classifier, RED) < 0.01
    assert last(classifier, BLUE) > 0.99
    with pytest.raises(ModelUnavailable, match=r"input\.channels is grey; the model takes 3"):
        load(path, input={"channels": "grey"})


@pytest.mark.parametrize(("pair", "logit"), [([0, 0.5], 4), ([-1, 1], 16), ([1, 0], -8), ([0, 255], 8 * 255)])
def test_the_range_sets_the_values_of_black_and_white(keras, tmp_path, pair, logit):
    path = saved(colours(keras, 1, "sigmoid"), tmp_path / "own.keras")
    assert last(load(path, input={"range": pair}), RED) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


@pytest.mark.parametrize(("white", "expected"), [(255.0, (0, 255)), (1.0, (0, 1))])
def test_the_range_of_a_quantised_network_is_read_from_its_scale(keras, tmp_path, white, expected):
    path = tmp_path / "own.tflite"
    model = colours(keras, 1, "sigmoid", scale=1 / 255 if white == 255 else 1.0)
    path.write_bytes(converted(model, "uint8", white))
    classifier = load(path)
    assert classifier.range == expected
    assert last(classifier, RED) == pytest.approx(1, abs=0.02)
    assert last(classifier, BLUE) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
def test_a_scaling_first_layer_and_a_last_one_without_activation_are_detected(keras, tmp_path, suffix):
    inner = colours(keras, 1, None, scale=1 / 255)
    nested = keras.Sequential([keras.Input((8, 8, 3)), inner])
    for model in (inner, nested):
        path = tmp_path / f"own.{suffix}"
        path.write_bytes(converted(model)) if suffix == "tflite" else model.save(path)
        about = load(path, output="logits").network.about()
        assert about.ending == "none"
        assert about.scaling


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
def test_the_size_is_the_models_or_the_pins_if_the_model_takes_any_size(keras, tmp_path, suffix):
    fixed, free = tmp_path / f"fixed.{suffix}", tmp_path / f"free.{suffix}"
    for size, path in (((24, 32), fixed), ((None, None), free)):
        model = colours(keras, 1, "sigmoid", size)
        path.write_bytes(converted(model)) if suffix == "tflite" else model.save(path)
    assert load(fixed).size == (24, 32)
    classifier = load(free, input={"size": [40, 48]})
    assert classifier.network.about().ending == "sigmoid"
    assert classifier.size == (40, 48)
    assert last(classifier, RED) == pytest.approx(sigmoid(8), abs=1e-6)
    with pytest.raises(ModelUnavailable, match=r"images of any size: .*'size=\[height,width\]'"):
        load(free)
    with pytest.raises(ModelUnavailable, match=r"input\.size is \[9, 9\]; the model takes \[24, 32\]"):
        load(fixed, input={"size": [9, 9]})


def test_the_threshold_decides_the_label(keras, tmp_path):
    path = saved(colours(keras, 1, "sigmoid"), tmp_path / "own.keras")
    classifier = load(path, threshold=0.4)
    [prediction] = classifier.predict([np.full((8, 8, 3), (100, 0, 112), np.uint8)])
    assert 0.4 < prediction.probabilities[1] < 0.5
    assert classifier.encode(prediction, explain=False)["label"] == "Infected"


def test_sixteen_bit_probabilities_are_rescaled_to_sum_to_one(keras, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        path = saved(colours(keras, 10, "softmax"), tmp_path / "own.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    answers = classify(load(path, TEN), [CELL.read_bytes()] * 2, explain=False)
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
def test_a_network_that_does_not_fit_the_images_or_labels_is_refused(keras, tmp_path, suffix):
    layers, path = keras.layers, tmp_path / f"own.{suffix}"

    def refused(model, match, labels=("Normal", "Infected")):
        path.write_bytes(converted(model)) if suffix == "tflite" else model.save(path)
        with pytest.raises(ModelUnavailable, match=match):
            load(path, labels)

    first = keras.Sequential([keras.Input((3, 8, 8)), layers.Flatten(), layers.Dense(1)])
    refused(first, r"channels first \(NCHW\)")
    refused(keras.Sequential([keras.Input((8, 8, 4)), layers.Flatten(), layers.Dense(1)]), "1 or 3 channels")
    refused(keras.Sequential([keras.Input((8,)), layers.Dense(1)]), "is it an image network")
    refused(colours(keras, 3, "softmax"), "one output, or one for each label")
    refused(colours(keras, 1, "sigmoid"), "one output for each label", TEN)
    path.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match=rf"own\.{suffix}"):
        load(path)


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
def test_a_network_without_a_channel_axis_gets_grey_images_without_it(keras, tmp_path, suffix):
    grey = colours(keras, 1, "sigmoid", channels=1)
    model = keras.Sequential([keras.Input((8, 8)), keras.layers.Reshape((8, 8, 1)), grey])
    path = tmp_path / f"own.{suffix}"
    path.write_bytes(converted(model)) if suffix == "tflite" else model.save(path)
    classifier = load(path)
    assert (classifier.size, classifier.channels) == ((8, 8), "grey")
    assert last(classifier, (255, 255, 255)) == pytest.approx(sigmoid(8), abs=1e-5)


def test_an_8_bit_softmax_with_float_output_sums_to_one(keras, tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf, "int8", tf.float32)  # the type of the input and the output, for `converted`
    path = tmp_path / "own.tflite"
    path.write_bytes(converted(colours(keras, 3, "softmax"), "int8"))
    answers = classify(load(path, TEN[:3]), [CELL.read_bytes()], explain=False)
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
def test_a_range_that_the_quantised_input_cannot_represent_is_refused(keras, tmp_path, suffix):
    path = tmp_path / f"own.{suffix}"
    if suffix == "tflite":
        path.write_bytes(converted(colours(keras, 1, "sigmoid"), "uint8"))
    else:
        inner = colours(keras, 1, "sigmoid", scale=1 / 255)
        image = keras.Input((8, 8, 3), dtype="uint8")
        keras.Model(image, inner(image)).save(path)
    wrong = [0, 255] if suffix == "tflite" else [0, 1]
    with pytest.raises(ModelUnavailable, match=r"input\.range is .*whole numbers that stand for"):
        load(path, input={"range": wrong})
    assert last(load(path), RED) == pytest.approx(1, abs=0.02)


def test_operations_between_keras_layers_are_detected_too(keras, tmp_path):
    def around(before, after):
        image = keras.Input((8, 8, 3))
        pooled = keras.layers.GlobalAveragePooling2D()(before(image))
        path = saved(keras.Model(image, after(keras.layers.Dense(2)(pooled))), tmp_path / "own.keras")
        return load(path, output="logits").network.about()

    for before, scaling in (
        (lambda x: x / 127.5 - 1, "division by 127.5"),
        (lambda x: (x - 127.5) / 127.5, "subtract 127.5"),
        (lambda x: x * (1 / 255), "multiplication by 0.00392157"),
        (keras.layers.Rescaling([1 / 255] * 3), "Rescaling(0.00392157)"),
        (lambda x: x * 2 - 1, ""),
    ):
        about = around(before, keras.ops.softmax)
        assert (about.scaling, about.ending) == (scaling, "softmax")
    first = keras.layers.BatchNormalization()
    first.build((None, 8, 8, 3))
    first.moving_mean.assign([120.0] * 3)
    assert around(first, lambda x: x).scaling == "BatchNormalization"


def test_a_thousand_labels_may_be_rounded():
    rest = 4e-7
    answer = verdict([str(number) for number in range(1000)], [1 - 999 * rest, *[rest] * 999])
    assert checked(answer) is answer


def one_line(error, *words):
    """Check that the message is one line with this text, followed by the code to paste."""
    message = str(error.value)
    assert all(word in message for word in words), message
    assert len(message.splitlines()[0]) < 500
    assert len(message.splitlines()) <= 4
    return message


def sigmoid_of_own(values):
    return values


def test_a_file_that_keras_cannot_load_is_explained_in_one_line(keras, tmp_path):
    class Mine(keras.layers.Layer):
        def call(self, values):
            return values

    def around(layer):
        return keras.Sequential(
            [keras.Input((8, 8, 3)), layer, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
        )

    for suffix in ("keras", "h5"):
        path = tmp_path / f"own.{suffix}"
        saved(around(keras.layers.Lambda(lambda values: values / 255)), path)
        with pytest.raises(ModelUnavailable) as error:
            load(path)
        message = one_line(error, "own." + suffix, "Lambda layer", "convert it to LiteRT")
        saved(around(Mine()), path)
        with pytest.raises(ModelUnavailable) as error:
            load(path)
        one_line(error, "a layer of your own, Mine", "convert it to LiteRT")
        path.write_bytes(b"no model")
        with pytest.raises(ModelUnavailable) as error:
            load(path)
        one_line(error, "not a file that Keras's model.save wrote")
    path = tmp_path / "own.keras"
    saved(around(keras.layers.Dense(3, activation=sigmoid_of_own)), path)
    with pytest.raises(ModelUnavailable) as error:
        load(path)
    one_line(error, "a function of your own, sigmoid_of_own", "convert it to LiteRT")
    weights = tmp_path / "own.weights.h5"
    colours(keras, 1, "sigmoid").save_weights(weights)
    with pytest.raises(ModelUnavailable) as error:
        load(weights)
    one_line(error, "weights only", "model.save")
    # The code to paste works.
    os.chdir(tmp_path)
    lines = "\n".join(line.strip() for line in message.splitlines()[1:])
    exec(lines, {"model": around(keras.layers.Lambda(lambda values: values / 255))})
    assert load(tmp_path / "model.tflite", output="logits").size == (8, 8)


def test_a_file_of_keras_2_is_served_or_recognised(keras):
    classifier = load(DATA / "k2_cnn.h5")
    assert classifier.size == (64, 64)
    assert 0 <= last(classifier, RED) <= 1
    with pytest.raises(ModelUnavailable) as error:
        load(DATA / "k2_lambda.h5")
    one_line(error, "Lambda layer, written by Keras 2", "convert it to LiteRT")


def test_an_invalid_probability_is_an_internal_error_and_never_an_answer(keras, tmp_path):
    path = saved(colours(keras, 2, None), tmp_path / "own.keras")
    [answer] = classify(load(path), [CELL.read_bytes()], explain=False)
    assert isinstance(answer, Unexpected)
    assert "no probability" in str(answer)
    model = colours(keras, 2, None)  # outputs that sum to 1, from below 0 to above 1
    model.layers[-1].set_weights([np.array([[-9, 9]] * 3, np.float32), np.array([1, 0], np.float32)])
    [answer] = classify(load(saved(model, path)), [CELL.read_bytes()], explain=False)
    assert isinstance(answer, Unexpected)
    model = colours(keras, 1, "sigmoid")
    model.layers[-1].set_weights([np.full((3, 1), np.nan, np.float32), np.zeros(1, np.float32)])
    [answer] = classify(load(saved(model, path)), [CELL.read_bytes()], explain=False)
    assert isinstance(answer, Unexpected)


def test_such_an_answer_is_a_500_with_a_log_line(keras, tmp_path, variant, load, capsys):
    path = saved(colours(keras, 2, None), tmp_path / "own.keras")
    os.environ["MODEL_STORE"] = str(tmp_path)
    answer = load(variant("malaria", pinned(path).content())).post(
        "/classify", data=CELL.read_bytes(), content_type="image/png"
    )
    assert answer.status_code == 500
    assert "probab" not in answer.get_data(as_text=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    [error] = [line for line in lines if line["severity"] == "ERROR"]
    assert "the model's output is no probability" in error["message"]


@pytest.mark.parametrize(
    ("suffix", "module", "package"),
    [("h5", "keras", "tensorflow-cpu"), ("tflite", "ai_edge_litert.interpreter", "ai-edge-litert")],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, suffix, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / f"own.{suffix}"
    path.write_bytes(b"1")
    with pytest.raises(ModelUnavailable, match=rf"add {package} to the function's requirements\.in"):
        load(path)


GOOD, BAD = "good great fine", "bad awful poor"


def trained(classifier, *names):
    """Fit a pipeline over words; the names are the labels of bad, good and neutral reviews."""
    reviews = [BAD, GOOD, "so so"][: len(names)] * 5
    return make_pipeline(CountVectorizer(), classifier).fit(reviews, list(names) * 5)


def dumped(model, path):
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, path)
    return path


def ask(path, text, labels):
    classifier = texts.Classifier.load(path.read_bytes(), pinned(path, labels))
    [answer] = classify(classifier, [text], explain=False)
    return answer


@pytest.mark.parametrize("suffix", [".joblib", ".pkl"])
@pytest.mark.parametrize("shape", ["pipeline", "pair", "swapped", "dict", "with a LabelEncoder"])
def test_a_text_model_is_read_as_a_pipeline_or_as_separate_parts(tmp_path, suffix, shape):
    names = (0, 1) if shape == "with a LabelEncoder" else ("bad", "good")
    model = trained(MultinomialNB(), *names)
    vectoriser, classifier = (step for _, step in model.steps)
    whole = {
        "pipeline": model,
        "pair": (vectoriser, classifier),
        "swapped": [classifier, vectoriser],
        "dict": {"model": classifier, "vectorizer": vectoriser},
        "with a LabelEncoder": (model, LabelEncoder().fit(["bad", "good"])),
    }[shape]
    path = dumped(whole, tmp_path / f"own{suffix}")
    read = Model(path.read_bytes(), path.name)
    assert read.classes == ("bad", "good")
    assert read.named
    answer = ask(path, "a great film", ("bad", "good"))
    assert answer["label"] == "good"
    expected = model.predict_proba(["a great film"])[0, 1]
    assert answer["probabilities"]["good"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
def test_three_classes_are_served_with_or_without_probabilities(tmp_path, loss):
    model = trained(SGDClassifier(loss=loss, random_state=0), "neg", "pos", "neu")
    path = dumped(model, tmp_path / "own.joblib")
    for text, label in (("an awful film", "neg"), ("great", "pos"), ("so so", "neu")):
        assert ask(path, text, ("neg", "neu", "pos"))["label"] == label
    with pytest.raises(ModelUnavailable, match=r"expected 2 classes, as model\.json has labels; it has 3"):
        ask(path, "great", ("neg", "pos"))
    with pytest.raises(ModelUnavailable, match="its classes are neg, neu, pos, in this order"):
        ask(path, "great", ("NEG", "POS", "NEU"))


def test_numeric_classes_are_not_label_names(tmp_path):
    path = dumped(trained(MultinomialNB(), 0, 1), tmp_path / "own.pkl")
    assert not Model(path.read_bytes(), path.name).named
    assert ask(path, "awful", ("Negative", "Positive"))["label"] == "Negative"


@pytest.mark.parametrize(
    "model", [SVC(), LinearSVC(), SGDClassifier(), GridSearchCV(SVC(), {"C": [1]}, cv=2)]
)
def test_the_label_is_the_one_that_the_model_predicts(tmp_path, model):
    """This includes models without `predict_proba`, whose scores are converted to probabilities."""
    vectors = np.random.default_rng(0).normal(size=(60, 3))
    model.fit(vectors, np.array(["a", "b", "c"])[vectors.argmax(axis=1)])
    path = dumped(model, tmp_path / "own.pkl")
    classifier = rows.Classifier.load(path.read_bytes(), pinned(path, ("a", "b", "c")))
    answers = classify(classifier, vectors.tolist(), explain=False)
    assert [answer["label"] for answer in answers] == model.predict(vectors).tolist()


def test_of_equally_probable_labels_the_first_is_the_answer(tmp_path):
    model = trained(MultinomialNB(), "bad", "good")
    assert model.predict(["unknown"]) == ["bad"]
    assert ask(dumped(model, tmp_path / "own.pkl"), "unknown", ("bad", "good"))["label"] == "bad"


@pytest.mark.parametrize(("positive", "expected"), [("good", 0.9), ("bad", 0.1)])
def test_a_threshold_in_the_file_is_read(tmp_path, positive, expected):
    model = FixedThresholdClassifier(
        trained(MultinomialNB(), "bad", "good"), threshold=0.9, pos_label=positive
    ).fit([BAD, GOOD] * 5, ["bad", "good"] * 5)
    path = dumped(model, tmp_path / "own.pkl")
    assert Model(path.read_bytes(), path.name).threshold == pytest.approx(expected)
    model.set_params(response_method="decision_function")
    with pytest.raises(ModelUnavailable, match="decides by decision_function"):
        ask(dumped(model, path), "good", ("bad", "good"))


@pytest.mark.parametrize("classes", [(0.0, 1.0), (False, True), (0, 1)])
def test_numeric_classes_in_another_order_are_refused_in_any_spelling(tmp_path, classes):
    path = dumped(trained(MultinomialNB(), *classes), tmp_path / "own.pkl")
    with pytest.raises(ModelUnavailable, match="publish it with --labels"):
        ask(path, "good", ("1", "0"))
    assert ask(path, "great", ("0", "1"))["label"] == "1"


def test_a_label_encoder_beside_a_model_of_names_changes_nothing(tmp_path):
    whole = (trained(MultinomialNB(), "bad", "good"), LabelEncoder().fit(["bad", "good"]))
    assert ask(dumped(whole, tmp_path / "own.pkl"), "great", ("bad", "good"))["label"] == "good"
    other = (trained(MultinomialNB(), "bad", "good"), LabelEncoder().fit(["a", "b"]))
    with pytest.raises(ModelUnavailable, match="knows a, b, the classifier's classes are bad, good"):
        ask(dumped(other, tmp_path / "own.pkl"), "great", ("bad", "good"))


@pytest.mark.parametrize(
    ("categories", "unknown"), [([1, 2, 3], "error"), ([1, 2, 3], "ignore"), (["f", "m"], "ignore")]
)
def test_numeric_category_columns_are_served(tmp_path, categories, unknown):
    values = np.array([[number % 4, categories[number % len(categories)]] for number in range(12)])
    values = values.astype(object) if categories == ["f", "m"] else values
    encoder = ColumnTransformer(
        [("kind", OneHotEncoder(handle_unknown=unknown), [1])], remainder="passthrough"
    )
    model = make_pipeline(encoder, LogisticRegression()).fit(values, ["high", "low"] * 6)
    path = dumped(model, tmp_path / "own.pkl")
    if categories == ["f", "m"]:
        with pytest.raises(ModelUnavailable, match=r"its column 'x1' takes texts \(f, m\)"):
            rows.Classifier.load(path.read_bytes(), pinned(path, ("high", "low")))
        return
    classifier = rows.Classifier.load(path.read_bytes(), pinned(path, ("high", "low")))
    [answer] = classify(classifier, [[3, 2]], explain=False)
    assert answer["probabilities"]["high"] == pytest.approx(model.predict_proba([[3, 2]])[0, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([OneHotEncoder()], r"knows in the column 'x1', 1\.0, 2\.0, 3\.0; got 7"),
        ([OrdinalEncoder()], r"knows in the column 'x1', 1\.0, 2\.0, 3\.0; got 7"),
        ([SimpleImputer(), OneHotEncoder()], r"knows in the column 'x1'"),
        # The inputs of an encoder behind another step are not known before a prediction.
        ([FunctionTransformer(np.rint), OneHotEncoder()], r"unknown categories \[.*7.*\] in column 0"),
    ],
)
def test_a_value_that_a_strict_encoder_does_not_know_is_a_client_error(tmp_path, steps, words):
    values = np.array([[number % 4, 1 + number % 3] for number in range(12)], float)
    encoder = ColumnTransformer([("kind", make_pipeline(*steps), [1])], remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(values, ["high", "low"] * 6)
    path = dumped(model, tmp_path / "own.pkl")
    classifier = rows.Classifier.load(path.read_bytes(), pinned(path, ("high", "low")))
    good, bad, other = classify(classifier, [[3, 2], [3, 7], [0, 1]], explain=False)
    assert good["label"] in ("high", "low")
    assert other["label"] in ("high", "low")
    assert isinstance(bad, Unusable)
    assert re.search(words, str(bad)), str(bad)


def test_a_table_model_of_logarithms_is_served(tmp_path):
    values = np.array([[1, 5], [2, 4], [9, 1], [8, 2]], float)
    model = make_pipeline(FunctionTransformer(np.log), LogisticRegression()).fit(values, list("aabb"))
    path = dumped(model, tmp_path / "own.pkl")
    classifier = rows.Classifier.load(path.read_bytes(), pinned(path, ("a", "b")))
    assert classify(classifier, [[9, 1]], explain=False)[0]["label"] == "b"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (DecisionTreeClassifier().fit(np.eye(3), [[0, 0], [1, 1], [0, 2]]), "gives 2 answers at once"),
        (make_pipeline(CountVectorizer(), MultinomialNB()), "expected a fitted classifier"),
        (SVC(decision_function_shape="ovo").fit(np.eye(3), list("abc")), "pairs of classes"),
        (OneVsRestClassifier(SVC()).fit(np.eye(3), np.eye(3, dtype=int)), "several labels at once"),
        (LinearRegression(), "neither predict_proba nor decision_function"),
        (CountVectorizer(), "expected a scikit-learn pipeline"),
        ((MultinomialNB(), MultinomialNB()), "expected a scikit-learn pipeline"),
        ({"a": 1}, "expected a scikit-learn pipeline"),
        ("text", "expected a scikit-learn pipeline"),
    ],
)
def test_what_is_not_a_fitted_classifier_is_refused(tmp_path, model, words):
    path = dumped(model, tmp_path / "own.joblib")
    with pytest.raises(ModelUnavailable, match=words):
        ask(path, "good", ("bad", "good"))


def test_a_classifier_without_vectoriser_gets_code_to_join_them_that_works(tmp_path):
    model = trained(SGDClassifier(loss="log_loss", random_state=0), "bad", "good")
    vectoriser, classifier = (step for _, step in model.steps)
    path = dumped(classifier, tmp_path / "own.pkl")
    with pytest.raises(ModelUnavailable, match="a classifier without its vectoriser") as error:
        ask(path, "good", ("bad", "good"))
    os.chdir(tmp_path)
    lines = "\n".join(line.strip() for line in str(error.value).splitlines()[1:])
    assert len(lines.splitlines()) == 2
    exec(lines, {"joblib": joblib, "vectoriser": vectoriser, "classifier": classifier})
    assert ask(tmp_path / "model.joblib", "great", ("bad", "good"))["label"] == "good"


def tokenize(text):
    return text.split()


def lost(monkeypatch, module, name="tokenize"):
    """A pipeline whose tokenizer is from a module that is missing when the model is loaded."""
    function = types.FunctionType(tokenize.__code__, {}, name)
    function.__module__, function.__qualname__ = module, name
    if module == "__main__":
        monkeypatch.setattr(sys.modules["__main__"], name, function, raising=False)
    else:
        for part in range(module.count(".") + 1):
            parent = ".".join(module.split(".")[: part + 1])
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setattr(sys.modules[module], name, function, raising=False)
    vectoriser = TfidfVectorizer(tokenizer=function, token_pattern=None)
    content = pickle.dumps(make_pipeline(vectoriser, LogisticRegression()).fit([GOOD, BAD] * 3, [1, 0] * 3))
    monkeypatch.undo()
    return content


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("__main__", ["script or notebook", "helper.py", "from helper import tokenize", "--with helper.py"]),
        ("utils_of_mine", ["utils_of_mine, a file of your own", "--with utils_of_mine.py"]),
        ("mine.text", ["mine.text", "a package of your own", "--with helper.py"]),
        ("xgboost", ["needs the package xgboost", "requirements.in"]),
        (
            "scipy.of_another_version",
            ["scipy here does not have", "pin the version of scipy", "requirements.in"],
        ),
        ("imblearn", ["needs the package imbalanced-learn", "requirements.in"]),
        ("scikeras.wrappers", ["a Keras network", "model.save('model.keras')"]),
        ("json", ["is imported instead of yours", "my_json.py"]),
        ("click", ["is imported instead of yours", "my_click.py"]),
    ],
)
def test_the_advice_on_a_missing_module_depends_on_its_owner(monkeypatch, module, words):
    content = lost(monkeypatch, module)
    with pytest.raises(ModelUnavailable) as error:
        Model(content, "own.pkl")
    message = one_line(error, "own.pkl", *words)
    assert ("requirements" in message) == ("requirements.in" in words)


def test_a_missing_import_of_a_users_module_gets_both_kinds_of_advice(monkeypatch, tmp_path):
    content = lost(monkeypatch, "helper_that_imports")
    (tmp_path / "helper_that_imports.py").write_text("import of_no_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ModelUnavailable, match=r"--with helper_that_imports\.py of_no_package\.py; if it is a"
    ):
        Model(content, "own.pkl")


def test_a_compression_that_needs_a_package_is_reported():
    with pytest.raises(ModelUnavailable, match="compressed with lz4: add lz4"):
        Model(b"\x04\x22\x4d\x18" + bytes(50), "own.pkl")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sklearn.linear_model.logistic LogisticRegression", ["too old", "Train it again"]),
        ("sklearn.svm.classes SVC", ["too old"]),
        ("sklearn.externals.joblib.numpy_pickle NumpyArrayWrapper", ["too old"]),
        ("sklearn.linear_model._of_another_version Model", ["not in scikit-learn", "written with another"]),
        ("sklearn.linear_model._logistic OfAnotherVersion", ["not in scikit-learn", "written with another"]),
    ],
)
def test_a_name_of_another_scikit_learn_is_not_mistaken_for_a_missing_package(name, words):
    module, _, attribute = name.partition(" ")
    with pytest.raises(ModelUnavailable) as error:
        Model(f"c{module}\n{attribute}\n.".encode(), "own.pkl")
    message = one_line(error, *words)
    assert "add " not in message


def test_a_model_of_another_scikit_learn_is_refused_with_both_versions(tmp_path):
    content = pickle.dumps(trained(MultinomialNB(), "bad", "good"))
    here = importlib.metadata.version("scikit-learn").encode()
    other = content.replace(
        b"\x8c" + bytes([len(here)]) + here, b"\x8c" + bytes([len(here)]) + b"0" + here[1:]
    )
    assert other != content
    with pytest.raises(ModelUnavailable, match=r"was written with scikit-learn 0\.\d+\.\d+, here is"):
        Model(other, "own.pkl")


def test_a_scikit_learn_that_cannot_be_imported_is_reported_with_the_numpy_it_needs(monkeypatch):
    installed = {"scikit-learn": "1.2.2", "numpy": "2.4.6"}
    monkeypatch.setattr(importlib.metadata, "version", installed.__getitem__)
    error = ValueError("numpy.dtype size changed, may indicate binary incompatibility. Expected 96")
    message = _why_not_imported("own.pkl", error)
    assert "scikit-learn 1.2.2 cannot be imported with numpy 2.4.6" in message
    assert "pin numpy==1.26.4 instead of numpy==2.4.6" in message
    installed["scikit-learn"] = "1.9.1"
    assert "numpy==1" not in _why_not_imported("own.pkl", error)


def test_what_is_not_a_pickle_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "own.pkl"
    path.write_bytes(b"no pickle")
    with pytest.raises(ModelUnavailable, match=r"not a model that joblib\.dump or pickle\.dump wrote"):
        ask(path, "good", ("bad", "good"))


def table(named):
    values = np.array([[0, 5], [1, 4], [9, 1], [8, 0]], float)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(values, ["low", "low", "high", "high"])
    if named:
        model.steps[0][1].feature_names_in_ = np.array(["age", "dose"], object)
    return model


@pytest.mark.parametrize(("named", "columns"), [(True, ("age", "dose")), (False, ("x0", "x1"))])
def test_a_table_model_takes_its_columns_by_name_in_its_own_order(tmp_path, named, columns):
    path = dumped(table(named), tmp_path / "own.joblib")
    classifier = rows.Classifier.load(path.read_bytes(), pinned(path, ("high", "low")))
    assert classifier.columns == columns
    raws = [dict(zip(reversed(columns), (0, 9), strict=True)), [0, 5], {columns[0]: 1}, [1, "a"], [1, None]]
    high, low, missing, text, empty = classify(classifier, raws, explain=False)
    assert high["label"] == "high"
    assert low["label"] == "low"
    assert isinstance(missing, Unusable)
    assert repr(columns[1]) in str(missing)
    assert isinstance(text, Unusable)
    assert isinstance(empty, Unusable)
    other = pinned(path, ("high", "low"), input={"columns": ["dose", "age"]})
    if named:
        with pytest.raises(ModelUnavailable, match="are dose, age; the model's are age, dose"):
            rows.Classifier.load(path.read_bytes(), other)
    else:
        assert rows.Classifier.load(path.read_bytes(), other).columns == ("dose", "age")
    three = pinned(path, ("high", "low"), input={"columns": ["a", "b", "c"]})
    with pytest.raises(ModelUnavailable, match=r"input\.columns"):
        rows.Classifier.load(path.read_bytes(), three)


def test_text_models_and_table_models_are_not_mixed_up(tmp_path):
    path = dumped(trained(MultinomialNB(), "bad", "good"), tmp_path / "text.joblib")
    pin = pinned(path, ("bad", "good"), input={"columns": ["a"]})
    with pytest.raises(ModelUnavailable, match="cannot classify a row of numbers"):
        rows.Classifier.load(path.read_bytes(), pin)
    path = dumped(table(True), tmp_path / "rows.joblib")
    with pytest.raises(ModelUnavailable, match="cannot classify a text"):
        texts.Classifier.load(path.read_bytes(), pinned(path, ("high", "low")))


def test_a_model_that_selects_columns_by_name_needs_pandas(tmp_path, monkeypatch):
    from sklearn.compose import ColumnTransformer

    pandas = pytest.importorskip("pandas")
    model = make_pipeline(
        ColumnTransformer([("all", StandardScaler(), ["age", "dose"])]), LogisticRegression()
    )
    frame = pandas.DataFrame({"age": [0.0, 1, 9, 8], "dose": [5.0, 4, 1, 0]})
    path = dumped(model.fit(frame, ["low", "low", "high", "high"]), tmp_path / "own.joblib")
    classifier = rows.Classifier.load(path.read_bytes(), pinned(path, ("high", "low")))
    assert classify(classifier, [[9, 0]], explain=False)[0]["label"] == "high"
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModelUnavailable, match="add pandas"):
        rows.Classifier.load(path.read_bytes(), pinned(path, ("high", "low")))


def test_the_articles_pickled_review_model_answers_in_a_real_process(tmp_path, variant, start):
    """A pickled SGD classifier, joined with the HashingVectorizer and its tokenizer in `helper.py`."""
    (tmp_path / "helper.py").write_text(
        "import re\n\nSTOP = {'the', 'a'}\n\n\ndef tokenizer(text):\n"
        "    return [word for word in re.findall(r'[a-z]+', text.lower()) if word not in STOP]\n"
    )
    script = f"""
import pickle
import re
from helper import tokenizer
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline

vectoriser = HashingVectorizer(n_features=2**16, tokenizer=tokenizer, token_pattern=None)
classifier = SGDClassifier(loss="log_loss", random_state=1)
classifier.partial_fit(vectoriser.transform(["{GOOD}", "{BAD}"] * 5), [1, 0] * 5, classes=[0, 1])
with open("classifier.pkl", "wb") as file:
    pickle.dump(make_pipeline(vectoriser, classifier), file)
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    path = tmp_path / "classifier.pkl"
    helper = (tmp_path / "helper.py").read_bytes()
    pin = pinned(path, ("Negative", "Positive"), modules={"helper.py": hashlib.sha256(helper).hexdigest()})
    main = variant("review", pin.content())
    with pytest.raises(AssertionError, match=r"helper\.py: missing, though it was pinned with the model"):
        start(main, MODEL_STORE=str(tmp_path))
    (main.parent / "helper.py").write_bytes(helper + b"\n")
    with pytest.raises(AssertionError, match=r"helper\.py: changed since it was pinned with the model"):
        start(main, MODEL_STORE=str(tmp_path))
    (main.parent / "helper.py").write_bytes(helper)
    server = start(main, MODEL_STORE=str(tmp_path))
    for review, label in (("A great film", "Positive"), ("an awful film", "Negative")):
        answer = server.request("POST", "/predict", review.encode(), "text/plain")
        assert answer.status == 200, server.log.read_text()
        assert answer.json["review_sentiment"] == label


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
    # Built in a process of its own, so that the TensorFlow of this process does not affect the server.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(
        [sys.executable, "-c", ARTICLE], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    path = tmp_path / "article.h5"
    server = start(variant("malaria", pinned(path).content()), MODEL_STORE=str(tmp_path))
    assert server.request("GET", "/ready").status == 503
    answers = [server.request("POST", "/classify", CELL.read_bytes(), "image/png") for _ in range(3)]
    for answer in answers:
        assert answer.status == 200, server.log.read_text()
        assert answer.json["model"]["version"] == "own"
    assert len({json.dumps(answer.json) for answer in answers}) == 1
    [direct] = classify(load(path), [CELL.read_bytes()], explain=False)
    served = answers[0].json
    assert served["probabilities"] == pytest.approx(direct["probabilities"], abs=1e-5)
    assert served["classification"] == direct["label"]
    assert server.request("GET", "/ready").status == 200
