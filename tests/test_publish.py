import hashlib
import json
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import version

import joblib
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from user_models import BLUE, RED, colours, converted

from functions.review.linear import Linear
from models.publish import Refused, files, inside, labels, probes, staging, stored
from models.publish.candidate import Options, parse
from models.publish.publishing import examined, publish
from shared.errors import ModelUnavailable
from shared.pin import Pin, PinError
from shared.settings import Settings
from shared.store import fetch
from shared.web import readers

OURS = ("malaria", "review")
MAIN = """
from shared.start import fetch, start

fetch(__file__)
from shared.runtimes import {runtime}
from shared.web.readers import {reader}

predict = start(__file__, name="own", reads={reader}("{field}"), model={runtime}.Classifier, key="label")
"""


@pytest.fixture(autouse=True)
def _examined_here(monkeypatch):
    """Examine with this Python, which has what every function needs."""
    monkeypatch.setenv(staging.SWITCH, sys.executable)


@pytest.fixture
def root(tmp_path):
    """A repository with our functions, which may serve any format, and no model yet."""
    folder = tmp_path / "root"
    for name in OURS:
        ignored = shutil.ignore_patterns("__pycache__")
        copied = shutil.copytree(ROOT / "functions" / name, folder / "functions" / name, ignore=ignored)
        for requirements in ("requirements.in", "requirements.txt"):
            with (copied / requirements).open("a") as file:
                file.writelines(
                    f"{each}=={version(each)}\n" for each in ("tensorflow-cpu", "scikit-learn", "joblib")
                )
    return folder


@pytest.fixture
def own(root):
    """A new function, made by `models.new`."""

    def own(reads, *labels, **example):
        runtime, reader, field = {
            "image": ("images", "Images", "image"),
            "text": ("texts", "Texts", "text"),
            "rows": ("rows", "Rows", "row"),
        }[reads]
        if not hasattr(readers, reader):
            pytest.skip(f"there is no reader {reader} yet")
        folder = root / "functions" / "own"
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(MAIN.format(runtime=runtime, reader=reader, field=field))
        (folder / "model.json").write_text(json.dumps({"labels": labels}))
        (folder / "example.json").write_text(json.dumps({"port": 8083, **example}))
        needs = ("ai-edge-litert", "tensorflow-cpu", "scikit-learn", "joblib")
        for requirements in ("requirements.in", "requirements.txt"):
            (folder / requirements).write_text("".join(f"{each}=={version(each)}\n" for each in needs))
        return folder

    return own


@pytest.fixture
def inprocess(monkeypatch):
    """Examine in this process, which has TensorFlow loaded already."""

    def examine(folder, _, job):
        monkeypatch.setenv("MODEL_STORE", str(folder.parent / "store"))
        report = json.loads(json.dumps(inside.report(folder, dict(job))))
        if "error" in report:
            raise Refused(report["error"])
        return report

    monkeypatch.setattr(staging, "examine", examine)


def committed(name):
    return ROOT / "models" / Pin.read(ROOT / "functions" / name / "model.json").file


@pytest.fixture
def model():
    return committed("malaria")


@pytest.fixture
def other(tmp_path):
    """A review model of other bytes than the pinned one."""
    linear = Linear.read(committed("review").read_bytes())
    file = tmp_path / "mine.npz"
    replace(linear, intercept=linear.intercept + 0.5).save(file)
    return file


def pins(root):
    return {name: (root / "functions" / name / "model.json").read_text() for name in OURS}


def options_of(root, name, file, *pairs, names=None, **more):
    return Options(
        root / "functions" / name, file, parse(pairs), tuple(names.split(",")) if names else None, **more
    )


def put(root, name, file, *pairs, store=None, **more):
    """Publish; return the new pin and the messages for the user."""
    options = options_of(root, name, file, *pairs, **more)
    with examined(options) as result:
        done = publish(options, result, str(store or root / "models"))
    return Pin.read(options.folder / "model.json"), "\n".join([*result.remarks, done])


def refused(root, name, file, *pairs, **more):
    """Return the message of a refusal, after a check that nothing was published."""
    folder = root / "functions" / name
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(Refused) as error:
        put(root, name, file, *pairs, **more)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert not (root / "models").exists()
    return str(error.value)


def test_a_published_file_is_the_pinned_one(root, other):
    pin, _ = put(root, "review", other, "threshold=0.3")
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    assert pin.sha256 == digest
    assert pin.file == f"review/review-{digest[:12]}.npz"
    assert pin.bytes == other.stat().st_size
    assert pin.format == "linear"
    assert pin.labels == ("Negative", "Positive")
    assert pin.threshold == 0.3
    assert not pin.metrics, "they were those of another file"
    settings = Settings(model_store=str(root / "models"))
    assert fetch.fetch(pin, settings) == other.read_bytes()


def test_an_image_model_is_pinned_with_its_input_size(root, model, tmp_path):
    named = tmp_path / "other.tflite"
    named.write_bytes(model.read_bytes() + b"\0")  # another file of the same network
    pin, told = put(root, "malaria", named, names="Normal,Infected")
    assert pin.input.size == (100, 100)
    assert pin.input.channels == "RGB"
    assert "its one output is the probability of Infected, the rest that of Normal" in told
    assert "images of 100 x 100, in the order RGB, with pixels of 0 to 1; only --examples can tell" in told
    assert f"git add -f models/{pin.file}" in told


@pytest.mark.parametrize("name", OURS)
def test_publishing_twice_changes_nothing(root, name):
    before = {path: path.stat().st_mtime_ns for path in (root / "functions" / name).iterdir()}
    put(root, name, committed(name))
    [stored] = (root / "models" / name).iterdir()
    written = stored.stat().st_mtime_ns
    _, told = put(root, name, committed(name))
    assert "was pinned already" in told
    assert stored.stat().st_mtime_ns == written
    assert list(stored.parent.iterdir()) == [stored]
    assert {path: path.stat().st_mtime_ns for path in (root / "functions" / name).iterdir()} == before


def test_publishing_with_other_settings_changes_only_these(root):
    before = Pin.read(root / "functions" / "review" / "model.json")
    pin, _ = put(root, "review", committed("review"), "threshold=0.4")
    assert pin.threshold == 0.4
    assert (pin.version, pin.metrics, pin.input) == (before.version, before.metrics, before.input)
    assert put(root, "review", committed("review"))[0] == pin


def test_a_threshold_of_another_model_is_not_kept(root, other):
    put(root, "review", committed("review"), "threshold=0.3")
    pin, told = put(root, "review", other)
    assert pin.threshold is None
    assert "threshold 0.5; 0.3 was chosen for another model" in told


def test_a_file_that_does_not_load_is_not_published(root, tmp_path):
    file = tmp_path / "broken.tflite"
    file.write_bytes(b"no model")
    told = refused(root, "malaria", file, names="A,B")
    assert "broken.tflite: cannot be loaded as tflite" in told
    assert "cannot be read" in refused(root, "malaria", tmp_path / "none.tflite", names="A,B")


def test_a_model_that_loads_but_cannot_answer_is_not_published(root, tmp_path):
    linear = Linear.read(committed("review").read_bytes())
    file = tmp_path / "nonsense.npz"
    replace(linear, scales=linear.scales * np.nan).save(file)
    assert "NaN" in refused(root, "review", file)


def test_if_the_function_does_not_start_the_reason_is_reported(root, model):
    main = root / "functions" / "malaria" / "main.py"
    main.write_text("import nothing_of_this_name\n" + main.read_text())
    assert "nothing_of_this_name" in refused(root, "malaria", model)


@pytest.mark.parametrize(
    ("name", "form"),
    [("m.tflite", "tflite"), ("m.H5", "h5"), ("m.hdf5", "h5"), ("m.pkl", "joblib"), ("m.PICKLE", "joblib")],
)
def test_suffixes_are_case_insensitive(tmp_path, name, form):
    assert files.form(tmp_path / name) == form


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("m.keras", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("m.tflite", b"\n<!DOCTYPE html><html>", "a web page, not a model"),
        ("m.joblib", b"<html>", "a web page, not a model"),
        ("m.keras", b"\x89HDF\r\n\x1a\n", "rename it to m.h5"),
        ("m.hdf5", b"\x1c\0\0\0TFL3", "rename it to m.tflite"),
        ("m.tflite", pickle.dumps({}), "rename it to m.joblib"),
        ("m.keras", b"PK\x03\x04", "a part of a zip archive"),
        ("m.pkl", b"", "the file is empty"),
    ],
)
def test_a_file_that_is_not_a_model_is_recognised_by_its_content(root, tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    assert told in refused(root, "malaria", tmp_path / name)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        (["archive/data.pkl"], "a PyTorch file"),
        (["a.txt"], "a zip archive"),
        (["config.json", "metadata.json"], "rename it to m.keras"),
    ],
)
def test_a_zip_archive_is_recognised_by_its_members(root, tmp_path, members, told):
    with zipfile.ZipFile(tmp_path / "m.pkl", "w") as packed:
        for name in members:
            packed.writestr(name, "")
    assert told in refused(root, "malaria", tmp_path / "m.pkl")


def test_a_folder_is_refused_with_the_code_that_converts_it(root, tmp_path):
    (tmp_path / "m.keras").mkdir()
    assert "from_saved_model" in refused(root, "malaria", tmp_path / "m.keras")


def test_the_lock_file_is_renewed_after_a_package_was_added_by_hand(tmp_path, monkeypatch):
    locked = []
    monkeypatch.setattr(staging, "_lock", locked.append)
    here = f"scikit-learn=={version('scikit-learn')}\njoblib=={version('joblib')}\n"
    (tmp_path / "requirements.in").write_text(here)
    (tmp_path / "requirements.txt").write_text(here.replace("\n", " \\\n    --hash=sha256:0\n"))
    content = pickle.dumps(words("a", "b"))
    assert staging.complete_requirements(tmp_path, "joblib", content) == []
    assert locked == []
    (tmp_path / "requirements.in").write_text(here + "lightgbm\n")
    assert staging.complete_requirements(tmp_path, "joblib", content) == []
    assert locked == [tmp_path]


def test_an_unknown_suffix_is_refused_with_the_known_ones(root, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"1")
    told = refused(root, "malaria", tmp_path / "model.pt")
    assert ".tflite, .keras, .h5, .hdf5, .npz, .joblib, .pkl, .pickle" in told


def test_another_file_of_the_same_name_in_the_folder_is_not_overwritten(root, model):
    stored = root / "models" / "malaria" / model.name
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"something else")
    with pytest.raises(ModelUnavailable, match="found 14"):
        put(root, "malaria", model)
    assert stored.read_bytes() == b"something else"


def test_a_file_goes_to_a_bucket_once_and_is_served_from_there(emulated, root, other):
    put(root, "review", other, store="gs://models/v1")
    pin, _ = put(root, "review", other, store="gs://models/v1")
    [blob] = emulated.list_blobs()
    assert blob.name == f"v1/{pin.file}"
    assert fetch.fetch(pin, Settings(model_store="gs://models/v1")) == other.read_bytes()


def test_another_object_of_the_same_name_is_not_overwritten(emulated, root, other):
    before = pins(root)
    with examined(options_of(root, "review", other)) as result:
        emulated.blob(f"v1/{result.pin.file}").upload_from_string(b"something else")
        with pytest.raises(ModelUnavailable, match="another file of this name"):
            publish(options_of(root, "review", other), result, "gs://models/v1")
    assert emulated.blob(f"v1/{result.pin.file}").download_as_bytes() == b"something else"
    assert pins(root) == before


def test_a_missing_bucket_is_named_and_nothing_is_pinned(emulated, root, other):
    before = pins(root)
    with pytest.raises(ModelUnavailable, match=r"gs://elsewhere/review/review-"):
        put(root, "review", other, store="gs://elsewhere")
    assert pins(root) == before


@pytest.mark.parametrize("place", ["folder", "gs://models/v1"])
def test_check_compares_pins_with_the_store(place, emulated, root, own, capsys):
    store = str(root / "models") if place == "folder" else place
    put(root, "malaria", committed("malaria"), store=store)
    own("text", "A", "B")
    folders = [root / "functions" / name for name in (*OURS, "own")]
    assert stored.check(folders, store) == 1
    told = capsys.readouterr().out
    assert re.search("malaria: .*is the pinned file", told)
    assert "review: " in told
    assert "own: nothing to check" in told
    put(root, "review", committed("review"), store=store)
    assert stored.check(folders, store) == 0


def run(*arguments):
    command = [sys.executable, "-m", "models.publish", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_python_without_the_packages_says_which_one_has_them():
    command = [sys.executable, "-S", "-m", "models.publish", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("run 'make setup', then '.venv/dev/bin/python -m models.publish'\n")


def test_the_command_checks_the_committed_models_and_tries_one_without_publishing_it(other):
    checked = run("--check")
    assert checked.returncode == 0, checked.stderr
    assert all(f"{name}: " in checked.stdout for name in OURS)
    assert "malaria" not in run("--check", "review").stdout
    before = pins(ROOT)
    tried = run("review", other, "--dry-run", "threshold=0.4")
    assert tried.returncode == 0, tried.stderr
    assert json.loads(tried.stdout)["threshold"] == 0.4
    assert json.loads(tried.stdout)["sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()
    assert "output 1 = Positive" in tried.stderr
    assert pins(ROOT) == before
    wrong = run("review", other, "threshold=high")
    assert wrong.returncode == 2
    assert "with the value in JSON" in wrong.stderr
    assert "is no function" in run("nothing", other).stderr


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        ("threshold=7", "'threshold'"),
        ("threshold=true", "'threshold'"),
        ('sha256="x"', "'sha256' cannot be set"),
        ('file="../../etc/x"', "'file' cannot be set"),
        ('format="joblib"', "'format' cannot be set"),
        ("bytes=1", "'bytes' cannot be set"),
        ('version="2"', "'version' cannot be set"),
        ('modules={"x.py": "1"}', "'modules' cannot be set"),
        ("nonsense=1", "'nonsense' cannot be set"),
        ("output=scores", "'output'"),
        ("range=[1,1]", "'input.range'"),
        ("size=[0,9]", "'input.size'"),
        ("channels=HSV", "'input.channels'"),
        ('input={"colour": "RGB"}', "'input'"),
        ("input=3", "'input'"),
        ('labels=["A"]', "'labels'"),
        ("trained=yesterday", "'trained'"),
    ],
)
def test_an_invalid_setting_is_refused_by_name(pair, named):
    with pytest.raises(PinError, match=re.escape(named)):
        parse([pair])


def test_fields_of_the_input_may_be_given_without_the_prefix():
    given = parse(["range=[0,255]", "input.channels=BGR", 'input={"size": [8, 8]}', "output=logits"])
    assert given == {"input": {"range": [0, 255], "channels": "BGR", "size": [8, 8]}, "output": "logits"}


def test_a_published_file_is_not_committed_by_accident():
    for name in ("digits/digits-1.keras", "review/own-1.pkl", "digits/own-1.hdf5", "malaria/own-1.tflite"):
        done = subprocess.run(["git", "check-ignore", "-q", f"models/{name}"], cwd=ROOT, check=False)
        assert done.returncode == 0, name


@pytest.mark.parametrize(
    ("given", "pinned", "named", "counts", "expected"),
    [
        (None, ["A", "B"], [], True, ("A", "B")),
        (None, ["A", "B"], ["b", "a"], True, ("B", "A")),
        (None, ["Negative", "Positive"], ["neg", "pos"], False, ("Negative", "Positive")),
        (None, ["Positive", "Negative"], ["NEG", "pos"], False, ("Negative", "Positive")),
        (
            ["Positive", "Negative"],
            ["Negative", "Positive"],
            ["fresh", "rotten"],
            False,
            ("Positive", "Negative"),
        ),
        (["x", "y"], ["A", "B"], [], False, ("x", "y")),
        (["a", "b"], ["A", "B"], ["A", "B"], False, ("a", "b")),
        (None, None, ["A", "B"], False, ("A", "B")),
    ],
)
def test_labels_come_from_the_user_the_file_or_the_pin(given, pinned, named, counts, expected):
    assert labels.decide(given, pinned, named, counts) == expected


@pytest.mark.parametrize(
    ("given", "pinned", "named", "counts", "told"),
    [
        (None, ["Normal", "Infected"], [], False, "--labels A,B"),
        (None, None, [], False, "--labels A,B"),
        (None, ["Negative", "Positive"], ["good", "poor"], False, "--labels good,poor"),
        (None, ["Negative", "Positive"], ["neg", "neu", "pos"], False, "--labels neg,neu,pos"),
        (None, ["A", "B"], ["x", "y"], True, "--labels x,y"),
        (["b", "a"], ["A", "B"], ["A", "B"], False, "in the order A, B"),
        (["pos", "neg"], ["A", "B"], ["Negative", "Positive"], False, "in the order Negative, Positive"),
        (["A", "B"], None, ["A", "B", "C"], False, "the file has 3"),
    ],
)
def test_unknown_or_contradictory_labels_are_refused(given, pinned, named, counts, told):
    with pytest.raises(Refused, match=re.escape(told)):
        labels.decide(given, pinned, named, counts)


def test_labels_in_the_metadata_of_a_litert_file_are_taken(root, model, tmp_path):
    file = tmp_path / "named.tflite"
    shutil.copy(model, file)
    with zipfile.ZipFile(file, "a") as packed:
        packed.writestr("labels.txt", "0 Uninfected\n1 Parasitized\n")
    told = refused(root, "malaria", file)
    assert "the file's labels are Uninfected, Parasitized" in told
    pin, _ = put(root, "malaria", file, names="Uninfected,Parasitized")
    assert pin.labels == ("Uninfected", "Parasitized")


def test_labels_in_metadata_that_do_not_match_the_outputs_can_be_overridden(root, model, tmp_path):
    for lines in ("the\na\nof\n", "Infected\n", "a\na\n"):
        file = tmp_path / "named.tflite"
        shutil.copy(model, file)
        with zipfile.ZipFile(file, "a") as packed:
            packed.writestr("labels.txt", lines)
        assert "--labels" in refused(root, "malaria", file)
        with examined(options_of(root, "malaria", file, names="Normal,Infected")) as result:
            assert result.pin.labels == ("Normal", "Infected")


def save(model, path):
    model.save(path)
    return path


def pictures(folder, red="Infected", blue="Normal", count=6):
    """Examples of two labels: red squares and blue ones."""
    for label, colour in ((red, RED), (blue, BLUE)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            value = tuple(max(0, each - 3 * number) for each in colour)
            picture = Image.new("RGB", (16, 16), value)
            picture.paste((0, 0, 0), (0, 0, 2, 2))  # a square of one colour is no picture
            picture.save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def keras(inprocess):
    return pytest.importorskip("keras")


def test_a_network_needs_labels_and_their_mapping_is_printed(keras, root, tmp_path):
    file = save(colours(keras, 2, "softmax"), tmp_path / "own.keras")
    assert "--labels A,B" in refused(root, "malaria", file)
    pin, told = put(root, "malaria", file, names="Parasitized,Uninfected")
    assert pin.labels == ("Parasitized", "Uninfected")
    assert "output 0 = Parasitized, output 1 = Uninfected" in told
    assert "may run code of the file" in told
    example = json.loads((root / "functions" / "malaria" / "example.json").read_text())
    assert example["label"] in pin.labels


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
@pytest.mark.parametrize(("units", "names"), [(1, "A,B"), (2, "A,B"), (3, "A,B,C")])
def test_logits_are_published_only_with_the_option_for_them(keras, root, tmp_path, suffix, units, names):
    file = tmp_path / f"own.{suffix}"
    for activation in (None, "softmax" if units > 1 else "sigmoid"):
        model = colours(keras, units, activation)
        file.write_bytes(converted(model)) if suffix == "tflite" else model.save(file)
        if activation:
            told = refused(root, "malaria", file, "output=logits", names=names)
            assert "probabilities already" in told
        else:
            assert "give output=logits" in refused(root, "malaria", file, names=names)
            with examined(options_of(root, "malaria", file, "output=logits", names=names)) as result:
                assert result.pin.output == "logits"


def test_logits_that_look_like_probabilities_are_recognised_by_the_last_layer(keras, root, tmp_path):
    model = colours(keras, 1, None)
    model.layers[-1].set_weights([np.full((3, 1), 0.3, np.float32), np.full(1, 0.05, np.float32)])
    for suffix in ("keras", "tflite"):
        file = tmp_path / f"own.{suffix}"
        file.write_bytes(converted(model)) if suffix == "tflite" else model.save(file)
        assert "give output=logits" in refused(root, "malaria", file, names="A,B")


def test_a_rescaling_layer_is_reported_even_if_the_answers_change(keras, root, tmp_path):
    model = colours(keras, 1, "sigmoid", scale=1 / 255)
    weights, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([10 * weights, bias])
    for suffix in ("keras", "tflite"):
        file = tmp_path / f"own.{suffix}"
        file.write_bytes(converted(model)) if suffix == "tflite" else model.save(file)
        assert "it scales its input itself" in refused(root, "malaria", file, names="A,B")


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
def test_outputs_that_do_not_sum_to_one_are_refused(keras, root, tmp_path):
    file = tmp_path / "own.keras"

    def told(model):
        return refused(root, "malaria", save(model, file), names="A,B")

    assert "not a sigmoid for each" in told(colours(keras, 2, "sigmoid"))
    assert "softmax of one unit" in told(colours(keras, 1, "softmax"))
    assert "no probabilities" in told(colours(keras, 1, "tanh"))
    still = colours(keras, 1, "sigmoid")
    still.layers[-1].set_weights([np.zeros((3, 1), np.float32), np.zeros(1, np.float32)])
    assert "never move" in told(still)
    still.layers[-1].set_weights([np.full((3, 1), np.nan, np.float32), np.zeros(1, np.float32)])
    assert "NaN" in told(still)


def shrunk(keras):
    """A network that was trained with pixels of 0 to 255, without a layer that says so."""
    model = colours(keras, 1, "sigmoid")
    weights, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([weights / 255, bias])
    return model


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
@pytest.mark.parametrize("kind", ["rescaling", "small weights"])
def test_a_network_for_pixels_of_0_to_255_needs_the_range(keras, root, tmp_path, suffix, kind):
    model, file = colours(keras, 1, "sigmoid", scale=1 / 255), tmp_path / f"own.{suffix}"
    if kind == "small weights":
        model = shrunk(keras)
    file.write_bytes(converted(model)) if suffix == "tflite" else model.save(file)
    told = refused(root, "malaria", file, names="Normal,Infected")
    assert "give 'range=[0,255]'" in told
    assert "say so: 'range=[0,1]'" in told
    pin, told = put(root, "malaria", file, "range=[0,255]", names="Normal,Infected")
    assert pin.input.range == (0, 255)
    assert "pixels of 0 to 255" in told
    before = pins(root)
    assert "was pinned already" in put(root, "malaria", file)[1]
    assert pins(root) == before
    with examined(options_of(root, "malaria", file, "range=[0,1]", names="Normal,Infected")) as result:
        assert result.pin.input.range == (0, 1)


def test_a_network_for_images_of_any_size_needs_the_size(keras, root, tmp_path):
    file = tmp_path / "own.tflite"
    file.write_bytes(converted(colours(keras, 1, "sigmoid", (None, None))))
    assert "'size=[height,width]'" in refused(root, "malaria", file, names="A,B")
    assert put(root, "malaria", file, "size=[48,32]", names="A,B")[0].input.size == (48, 32)


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_the_range_of_a_quantised_network_is_pinned(keras, root, tmp_path, white):
    file = tmp_path / "own.tflite"
    file.write_bytes(converted(colours(keras, 2, "softmax", scale=1 / white), "int8", white))
    pin, _ = put(root, "malaria", file, names="A,B")
    assert pin.input.range == (None if white == 1 else (0, 255))
    file.write_bytes(converted(colours(keras, 2, "softmax"), "uint8", 37.0))
    shutil.rmtree(root / "models")
    assert "quantised input holds values from 0 to 37" in refused(root, "malaria", file, names="A,B")


def test_grey_networks_of_ten_labels_are_published(keras, own, root, tmp_path):
    shutil.copy(
        ROOT / "functions" / "malaria" / "example.png", own("image", *"0123456789", file="example.png")
    )
    file = save(colours(keras, 10, "softmax", channels=1), tmp_path / "own.h5")
    pin, _ = put(root, "own", file)
    assert pin.labels == tuple("0123456789")
    assert pin.input.channels == "grey"
    example = json.loads((root / "functions" / "own" / "example.json").read_text())
    assert example["label"] in pin.labels


def test_the_accuracy_on_examples_is_printed(keras, root, tmp_path):
    file = save(colours(keras, 1, "sigmoid"), tmp_path / "own.keras")
    examples = pictures(tmp_path / "held_out")
    _, told = put(root, "malaria", file, names="Normal,Infected", examples=examples)
    assert "accuracy on 12 examples: 1.000" in told
    assert re.search(r"Infected +0 +6", told)
    assert "clearly better" not in told


@pytest.mark.parametrize(
    ("scale", "names", "better"),
    [
        (1.0, "Infected,Normal", "--labels Normal,Infected: 1.00, as given: 0.00"),
        (1 / 255, "Infected,Normal", "--labels Normal,Infected: 1.00, as given: 0.00"),
    ],
)
def test_examples_reveal_labels_in_the_wrong_order(keras, root, tmp_path, scale, names, better):
    file = save(colours(keras, 1, "sigmoid", scale=scale), tmp_path / "own.keras")
    told = refused(root, "malaria", file, names=names, examples=pictures(tmp_path / "held_out"))
    assert "no better than chance" in told
    assert better in told


def test_examples_reveal_the_wrong_channels_and_range(keras, root, tmp_path):
    examples = pictures(tmp_path / "held_out")
    model = colours(keras, 1, "sigmoid")
    weights, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([weights[::-1], bias])
    file = save(model, tmp_path / "own.keras")
    told = refused(root, "malaria", file, names="Normal,Infected", examples=examples)
    assert "'channels=BGR': 1.00, as given: 0.00" in told
    put(root, "malaria", file, "channels=BGR", names="Normal,Infected", examples=examples)
    shutil.rmtree(root / "models")
    # Right only about pixels of 0 to 255: of 0 to 1, everything is Normal.
    model = shrunk(keras)
    model.layers[-1].set_weights([model.layers[-1].get_weights()[0], np.full(1, -2, np.float32)])
    told = refused(root, "malaria", save(model, file), names="Normal,Infected", examples=examples)
    assert "'range=[0,255]': 1.00, as given: 0.50" in told


def test_a_better_threshold_is_suggested_but_not_applied(keras, root, tmp_path):
    model = colours(keras, 1, "sigmoid")
    weights, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([weights, np.full(1, -7.55, np.float32)])
    file = save(model, tmp_path / "own.keras")
    examples = pictures(tmp_path / "held_out", count=8)
    pin, told = put(root, "malaria", file, "range=[0,1]", names="Normal,Infected", examples=examples)
    assert re.search(r"clearly better: threshold=0\.\d+: 1\.00, as given \(0\.5\): 0\.\d+", told)
    assert pin.threshold is None


def test_useless_examples_are_refused(keras, root, tmp_path):
    file = save(colours(keras, 1, "sigmoid"), tmp_path / "own.keras")

    def told(examples, names="Normal,Infected"):
        return refused(root, "malaria", file, names=names, examples=examples)

    examples = pictures(tmp_path / "held_out", red="Parasitized", blue="Uninfected")
    assert "labelled Parasitized, Uninfected; the labels are Normal, Infected" in told(examples)
    shutil.rmtree(examples / "Uninfected")
    assert "expected examples of two labels" in told(examples, "Uninfected,Parasitized")
    shutil.rmtree(examples / "Parasitized")
    assert "expected one folder for each label" in told(examples)
    assert "expected a folder, or a CSV" in told(tmp_path / "nothing")
    for label in ("Normal", "Infected"):
        (examples / label).mkdir()
        (examples / label / "notes.txt").write_text("no image")
    assert "cannot be answered" in told(examples)


def words(*names):
    """A text model that knows one word for each of its classes."""
    texts = [f"{name} film" for name in names] * 4
    return make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, list(names) * 4)


def test_a_second_network_in_a_new_function_keeps_the_labels_of_the_first(keras, own, root, tmp_path):
    folder = own("image", "A", "B", "C", file="example.png")
    shutil.copy(ROOT / "functions" / "malaria" / "example.png", folder)
    first = save(colours(keras, 3, "softmax"), tmp_path / "first.keras")
    assert "pinned before" not in put(root, "own", first)[1]
    second = save(colours(keras, 3, "softmax", size=(12, 12)), tmp_path / "second.keras")
    pin, told = put(root, "own", second)
    assert pin.labels == ("A", "B", "C")
    assert "the labels are those of the model that was pinned before, A, B, C: give --labels if" in told
    assert "output 0 = A, output 1 = B, output 2 = C" in told
    other = save(colours(keras, 4, "softmax"), tmp_path / "other.keras")
    told = refused_again(root, other)
    assert "model.json names 3 labels; the model's output has shape ('n', 4)" in told
    assert "pinned before, A, B, C: give --labels if" in told
    assert put(root, "own", other, names="A,B,C,D")[0].labels == ("A", "B", "C", "D")


def test_weights_of_another_function_are_refused_with_what_to_publish(inprocess, own, root, other):
    own("text", "bad", "good", input="good")
    told = refused(root, "own", other)
    assert "this function runs scikit-learn models (.joblib, .pkl, .pickle), not the format 'linear'" in told
    assert "publish a pickled pipeline" in told


def test_a_pin_with_nan_is_refused_by_name(inprocess, own, root, tmp_path):
    folder = own("text", "bad", "good", input="good")
    (folder / "model.json").write_text('{"labels": ["bad", "good"], "threshold": NaN}')
    joblib.dump(words("good", "bad"), tmp_path / "own.joblib")
    with pytest.raises(PinError, match=r"own/model\.json: NaN is not valid JSON: expected a finite number"):
        put(root, "own", tmp_path / "own.joblib")


def test_a_text_model_is_published_with_its_own_labels(inprocess, own, root, tmp_path):
    own("text", "NEG", "Neutral", "POS", input="pos")
    joblib.dump(words("pos", "neutral", "neg"), tmp_path / "three.joblib")
    pin, told = put(root, "own", tmp_path / "three.joblib")
    assert pin.labels == ("NEG", "Neutral", "POS")
    assert "output 0 (neg) = NEG, output 1 (neutral) = Neutral, output 2 (pos) = POS" in told
    assert "a pickle runs code" in told
    assert json.loads((root / "functions" / "own" / "example.json").read_text())["label"] == "POS"


def test_the_threshold_of_the_model_itself_is_pinned(inprocess, own, root, tmp_path):
    own("text", "bad", "good", input="good")
    model = FixedThresholdClassifier(words("bad", "good"), threshold=0.95, pos_label="good")
    joblib.dump(model.fit(["bad film", "good film"] * 4, ["bad", "good"] * 4), tmp_path / "own.pkl")
    pin, told = put(root, "own", tmp_path / "own.pkl")
    assert pin.threshold == 0.95
    assert "threshold 0.95, by which the model itself decides" in told
    assert "was pinned already" in put(root, "own", tmp_path / "own.pkl")[1]
    assert put(root, "own", tmp_path / "own.pkl", "threshold=0.3")[0].threshold == 0.3


def test_classes_of_other_names_are_not_mapped_to_the_labels_by_guessing(inprocess, root, tmp_path):
    file = tmp_path / "own.pkl"
    joblib.dump(words("good", "poor"), file)
    assert "--labels good,poor" in refused(root, "review", file)
    pin, told = put(root, "review", file, names="Positive,Negative")
    assert pin.labels == ("Positive", "Negative")
    assert "output 0 (good) = Positive, output 1 (poor) = Negative" in told


def test_a_table_model_is_published_with_its_columns_and_an_example(inprocess, own, root, tmp_path):
    folder = own("rows", "low", "high", input={})
    values = np.array([[0, 5], [1, 4], [9, 1], [8, 0]] * 4, float)
    model = LogisticRegression().fit(values, ["low", "low", "high", "high"] * 4)
    model.feature_names_in_ = np.array(["age", "dose"], object)
    joblib.dump(model, tmp_path / "own.pkl")
    pin, told = put(root, "own", tmp_path / "own.pkl")
    assert pin.labels == ("high", "low")
    assert pin.input.columns == ("age", "dose")
    assert "output 0 = high, output 1 = low" in told
    example = json.loads((folder / "example.json").read_text())
    assert example["input"] == {"age": 0, "dose": 0}
    assert example["label"] in pin.labels
    table = tmp_path / "held_out.csv"
    table.write_text("age,dose,label,note\n9,0,high,a\n8,1,HIGH,b\n0,9,low,c\n1,8,low,d\n")
    _, told = put(root, "own", tmp_path / "own.pkl", examples=table)
    assert "accuracy on 4 examples: 1.000" in told
    model.feature_names_in_ = np.array(["years", "dose"], object)
    joblib.dump(model, tmp_path / "own.pkl")
    _, told = put(root, "own", tmp_path / "own.pkl")
    assert "example.json gets a row of this model's columns" in told
    assert json.loads((folder / "example.json").read_text())["input"] == {"years": 0, "dose": 0}
    shutil.rmtree(root / "models")
    table.write_text("years,label\n9,high\n0,low\n")
    assert "'dose' is missing" in refused(root, "own", tmp_path / "own.pkl", examples=table)


def test_examples_of_texts_are_a_csv_or_folders_of_files(inprocess, own, root, tmp_path):
    own("text", "bad", "good", input="good")
    joblib.dump(words("good", "bad"), tmp_path / "own.joblib")
    table = tmp_path / "held_out.csv"
    table.write_text('Label,id,text\ngood,1,"a good, good film"\nbad,2,bad\nGood,3,good\nbad,4,bad film\n')
    _, told = put(root, "own", tmp_path / "own.joblib", examples=table)
    assert "accuracy on 4 examples: 1.000" in told
    for label in ("good", "bad"):
        (tmp_path / "texts" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "texts" / label / f"{number}.txt").write_text(f"a {label} film")
    _, told = put(root, "own", tmp_path / "own.joblib", examples=tmp_path / "texts")
    assert "accuracy on 6 examples: 1.000" in told
    shutil.rmtree(root / "models")
    table.write_text("label,text\ngood,bad\nbad,good\ngood,bad\nbad,good\n")
    assert "no better than chance" in refused(root, "own", tmp_path / "own.joblib", examples=table)
    table.write_text("class,text\ngood,bad\n")
    assert "a column 'label'; the columns are class, text" in refused(
        root, "own", tmp_path / "own.joblib", examples=table
    )


def test_the_users_own_modules_are_copied_and_pinned(own, root, tmp_path):
    folder = own("text", "bad", "good", input="good")
    source = tmp_path / "helper_of_own.py"
    source.write_text("def tokenize(text):\n    return text.split()\n")
    script = (
        "import joblib\nfrom helper_of_own import tokenize\n"
        "from sklearn.feature_extraction.text import HashingVectorizer\n"
        "from sklearn.linear_model import SGDClassifier\n"
        "vectoriser = HashingVectorizer(n_features=256, tokenizer=tokenize, token_pattern=None)\n"
        "texts = ['good film', 'bad film'] * 5\n"
        "classifier = SGDClassifier(loss='log_loss', random_state=0)\n"
        "classifier.fit(vectoriser.transform(texts), ['good', 'bad'] * 5)\n"
        "joblib.dump((vectoriser, classifier), 'pair.joblib')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    file = tmp_path / "pair.joblib"
    assert "--with helper_of_own.py" in refused(root, "own", file)
    pin, _ = put(root, "own", file, modules=(source,))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert pin.modules == {"helper_of_own.py": digest}
    assert (folder / source.name).read_bytes() == source.read_bytes()
    assert json.loads((folder / "example.json").read_text())["label"] == "good"
    (folder / source.name).write_text("def tokenize(text):\n    return ['good']\n")
    with pytest.raises(Refused, match="changed since it was pinned"):
        put(root, "own", file)
    assert "was pinned already" in put(root, "own", file, modules=(source,))[1]
    assert (folder / source.name).read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("main.py", "the function's own"),
        ("tokenize.py", "would be imported instead"),
        ("shared.py", "would be imported instead"),
        ("my-helper.py", "expected a file of Python code"),
        ("missing.py", "expected a file of Python code"),
    ],
)
def test_a_module_that_could_not_be_imported_is_refused(own, root, tmp_path, name, told):
    own("text", "bad", "good", input="good")
    joblib.dump(words("good", "bad"), tmp_path / "own.joblib")
    if name != "missing.py":
        (tmp_path / name).write_text("")
    assert told in refused(root, "own", tmp_path / "own.joblib", modules=(tmp_path / name,))


def test_modules_are_accepted_only_with_a_pickle(root, model, tmp_path):
    (tmp_path / "helper.py").write_text("")
    assert "only a pickled model" in refused(root, "malaria", model, modules=(tmp_path / "helper.py",))


def test_the_version_that_wrote_a_file_is_read_without_loading_it(tmp_path):
    here = version("scikit-learn")
    for compress in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
        joblib.dump(words("a", "b"), tmp_path / "own.joblib", compress=compress)
        assert files.versions("joblib", (tmp_path / "own.joblib").read_bytes()) == {"scikit-learn": here}
    h5 = ROOT / "tests" / "data" / "k2_cnn.h5"
    assert files.versions("h5", h5.read_bytes())["keras"].startswith("2.")
    assert files.versions("keras", b"no file") == {}


def test_the_format_brings_its_packages_at_the_version_that_wrote_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "_lock", lambda folder: (folder / "requirements.txt").touch())
    content = b"\x8c\x10_sklearn_version\x94\x8c\x051.5.2\x94"
    needs = tmp_path / "requirements.in"
    needs.write_text("numpy==2.4.6\n")
    added = staging.complete_requirements(tmp_path, "joblib", content)
    assert added == ["scikit-learn==1.5.2", f"joblib=={version('joblib')}"]
    assert needs.read_text() == f"numpy==2.4.6\nscikit-learn==1.5.2\njoblib=={version('joblib')}\n"
    assert staging.complete_requirements(tmp_path, "joblib", content) == []
    newer = content.replace(b"1.5.2", b"1.6.1")
    assert staging.complete_requirements(tmp_path, "joblib", newer) == [
        "scikit-learn==1.6.1, instead of scikit-learn==1.5.2"
    ]
    assert "scikit-learn==1.6.1\n" in needs.read_text()
    needs.write_text("tensorflow==2.21.0\n")
    assert staging.complete_requirements(tmp_path, "keras", b"") == []
    needs.write_text("")
    assert staging.complete_requirements(tmp_path, "h5", b"") == [
        f"tensorflow-cpu=={version('tensorflow-cpu')}",
        f"keras=={version('keras')}",
    ]


@pytest.mark.parametrize(
    ("asked", "locks"),
    [
        ("pandas", True),
        ("numpy==2.4", True),
        ("joblib==1.6.0", True),
        ("numpy", False),
        ("numpy==2.4.6  # why", False),
    ],
)
def test_a_package_that_was_added_by_hand_is_locked_too(tmp_path, monkeypatch, asked, locks):
    locked = []
    monkeypatch.setattr(staging, "_lock", locked.append)
    lock = "numpy==2.4.6 \\\n    --hash=sha256:0\nscikit-learn==1.5.2\njoblib==1.6.0.post1\n"
    (tmp_path / "requirements.txt").write_text(lock)
    (tmp_path / "requirements.in").write_text(f"scikit-learn==1.5.2\njoblib\n# a comment\n{asked}\n")
    assert staging.complete_requirements(tmp_path, "joblib", b"") == []
    assert locked == [tmp_path] * locks


def test_a_scikit_learn_that_is_too_old_to_be_installed_is_refused(root, tmp_path):
    file = tmp_path / "old.pkl"
    joblib.dump(words("neg", "pos"), file)
    here = version("scikit-learn").encode()
    old = b"0.24.2"
    start = b"\x8c" + bytes([len(here)]) + here
    assert start in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(start, b"\x8c" + bytes([len(old)]) + old))
    told = refused(root, "review", file)
    assert "written with scikit-learn 0.24.2; the oldest that can be installed" in told
    assert "train it again" in told


@pytest.mark.parametrize("scores", [[[2.3], [0.1]], [[0.2, 0.2], [0.1, 0.9]], [[np.nan, 1.0]]])
def test_scores_that_are_not_probabilities_are_refused(scores):
    report = {"kind": "images", "probes": [[0.5, 0.5]], "scores": scores, "ending": ""}
    with pytest.raises(Refused):
        probes.judge(report, {})


def test_a_file_is_tested_in_an_environment_with_only_the_functions_packages(
    own, root, tmp_path, monkeypatch
):
    monkeypatch.delenv(staging.SWITCH)
    folder = own("text", "bad", "good", input="good")
    for name in ("requirements.in", "requirements.txt"):
        shutil.copy(ROOT / "functions" / "review" / name, folder)
    joblib.dump(words("good", "bad"), tmp_path / "own.joblib")
    with examined(options_of(root, "own", tmp_path / "own.joblib")) as result:
        told = "\n".join(result.remarks)
    here = version("scikit-learn")
    assert f"it needs scikit-learn=={here}" in told
    assert "scikit-learn" not in (folder / "requirements.in").read_text(), "it was examined only"
    put(root, "own", tmp_path / "own.joblib")
    assert f"scikit-learn=={here}" in (folder / "requirements.in").read_text()
    assert re.search(rf"^scikit-learn=={here} .*\n +--hash", (folder / "requirements.txt").read_text(), re.M)
    # What the model needs, but neither the format nor the function, is missing there, though not here.
    main = folder / "main.py"
    main.write_text("import matplotlib\n" + main.read_text())
    assert "No module named 'matplotlib'" in refused_again(root, tmp_path / "own.joblib")


def refused_again(root, file):
    with pytest.raises(Refused) as error:
        put(root, "own", file)
    return str(error.value)
