"""Every command of the README and of docs/ is run as a reader would, or is listed here with a reason."""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request

import joblib
import numpy as np
import pytest
from cells import encode
from conftest import FUNCTIONS, ROOT, first_port
from deployments import pin
from page_commands import blocks, follow
from PIL import Image
from processes import address, served
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from user_models import colours

from dev import pictures
from dev.serve import Function
from shared.example import Example

README = (ROOT / "README.md").read_text()
MODELS = (ROOT / "docs" / "models.md").read_text()
HTTP = (ROOT / "docs" / "http.md").read_text()
ELSEWHERE = {
    "operate.md": "test_deploy_google.py follows it",
    "frontends.md": "test_frontends.py runs its page in a browser",
    "scale.md": "its engines are not on this machine",
}
"""Pages whose commands are run by another test, or cannot be run."""
NOT_RUN = {
    "make serve    #": "test_serve.py runs it",
    "make demo     #": "test_demo.py runs it",
    "make train-": "the data are not in the repository, and it takes half an hour",
    "make setup": "the environment of the tests is what it makes",
    "gcloud auth": "it opens a browser, and there is nobody to sign in",
}
"""Commands that are not run here: their first words, and the reason."""
COMMITTER = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "test"), ("EMAIL", "test@example.org"))
}


def section(page, title):
    """The section of a page under this heading."""
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def lines(*scripts, without=()):
    """Return the lines of scripts, except those that start with one of these words."""
    every = "".join(scripts).splitlines(keepends=True)
    return "".join(line for line in every if not line.startswith(tuple(without)))


def stripes(keras, folder):
    """A network of ten labels that says which row of an image is white; `held_out` has two examples each."""
    weights = np.kron(np.eye(10), np.ones((10, 1))).astype(np.float32)
    layers = [keras.Input((10, 10, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers)
    model.layers[-1].set_weights([weights, np.zeros(10, np.float32)])
    for row in range(10):
        (folder / "held_out" / str(row)).mkdir(parents=True)
        for white in (200, 250):
            pixels = np.zeros((10, 10), np.uint8)
            pixels[row] = white
            Image.fromarray(pixels).save(folder / "held_out" / str(row) / f"{white}.png")
    return model


def post(url, content, kind="image/png"):
    """The answer to a raw body."""
    request = urllib.request.Request(url, content, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def first_port_of(*folders):
    """A --port for `make serve` of these functions."""
    return first_port([Example.read(folder).port for folder in folders])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Serve both functions; yield their addresses by the ports in the page."""
    with served(ROOT, first_port_of(*(ROOT / "functions" / name for name in FUNCTIONS))) as text:
        ports = {Example.read(ROOT / "functions" / name).port: address(text, name) for name in FUNCTIONS}
        yield ports


def run(call, both):
    """Return the output of a curl command of a page."""
    for port, url in both.items():
        call = call.replace(f"http://localhost:{port}", url)
    done = subprocess.run(
        ["bash", "-c", call], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def answers(text):
    """The JSON objects of a block, one after another."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while text[place:].strip():
        place += len(text[place:]) - len(text[place:].lstrip())
        content, place = decoder.raw_decode(text, place)
        found.append(content)
    return found


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
def test_the_calls_of_the_readme_give_the_answers_it_shows(both):
    part = section(README, "Two calls")
    calls = [line for line in "".join(blocks(part)).splitlines() if line.startswith("curl")]
    shown = answers("".join(blocks(part, "json")))
    assert len(calls) == len(shown) == len(FUNCTIONS)
    for call, expected in zip(calls, shown, strict=True):
        found = run(call, both)
        assert found.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=2e-4)
        assert found == expected, f"the README shows another answer than {found}"


@needs_curl
def test_every_call_of_the_page_on_http_is_answered_in_the_shape_it_shows(both):
    calls = "".join(blocks(section(HTTP, "One input"))).splitlines()
    for call in calls:
        answer = run(call, both)
        assert answer.keys() >= {"error", "message", "probabilities", "model"}, answer
        assert answer["error"] == "0"
    [expected] = answers("".join(blocks(section(HTTP, "One input"), "json")))
    found = run(calls[0], both)
    assert (found["classification"], found.keys()) == (expected["classification"], expected.keys())

    [script] = blocks(section(HTTP, "One input"), "python")
    for port, url in both.items():
        script = script.replace(f"http://localhost:{port}", url)
    printed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True).stdout
    assert printed.decode() == f"{expected['classification']}\n"

    [call] = "".join(blocks(section(HTTP, "Many inputs"))).splitlines()
    [expected] = answers("".join(blocks(section(HTTP, "Many inputs"), "json")))
    many = run(call, both)
    shapes = [[each.keys() for each in answer["predictions"]] for answer in (many, expected)]
    assert shapes[0] == shapes[1]
    for one, other in zip(many["predictions"], expected["predictions"], strict=True):
        assert one.get("review_sentiment") == other.get("review_sentiment")
    assert many["predictions"][-1] == expected["predictions"][-1]

    [expected] = answers("".join(blocks(section(HTTP, "Errors"), "json")))
    assert run(f"curl -s --data-urlencode 'text= ' http://localhost:{[*both][1]}/predict", both) == expected


def test_the_pictures_of_the_readme_can_be_taken_again(both, browser):
    shots = []
    for (_, url), name in zip(both.items(), FUNCTIONS, strict=True):
        folder = ROOT / "functions" / name
        function = Function(folder, Example.read(folder), int(url.rpartition(":")[2]))
        shots.append(pictures.shot(browser, function, "dark"))
    whole = pictures.beside(shots)
    for scheme in pictures.SCHEMES:
        with Image.open(ROOT / "docs" / f"pages-{scheme}.webp") as committed:
            assert committed.size == whole.size


def test_the_readmes_commands_deploy_a_function_from_three_saved_models(google, changed, monkeypatch):
    keras, folder = pytest.importorskip("keras"), changed.parent
    part = section(README, "Your own model, from `model.save()` to a URL")
    [save] = blocks(part, "python")
    publish, after = blocks(part)
    irises = load_iris()
    monkeypatch.chdir(changed)
    names = {
        "model": stripes(keras, folder),
        "texts": ["a cat", "the dog", "a loan", "the bank", "a goal", "the match"] * 3,
        "topics": ["animals", "animals", "money", "money", "sport", "sport"] * 3,
        "measurements": irises.data,
        "species": irises.target_names[irises.target],
        **{each.__name__: each for each in (LogisticRegression, TfidfVectorizer, make_pipeline)},
    }
    exec(save, {**names, "joblib": joblib})
    google.settings |= {"PUBLISH_PYTHON": sys.executable, **COMMITTER}
    assert "accuracy on 20 examples: 1.000" in follow(google, changed, publish)
    serve, *deploy = after.splitlines(keepends=True)
    only = serve.strip().removeprefix("make serve ONLY=").split(",")
    folders = [changed / "functions" / name for name in only]
    with served(changed, first_port_of(*folders), ",".join(only)) as text:
        google.on_deploy = lambda name, *_: address(text, name)
        output = follow(google, changed, *deploy)
        url = f"{google.runs['digits'].url}/predict"
        assert f"digits: {google.runs['digits'].url}" in output
        assert post(url, (folder / "held_out" / "7" / "200.png").read_bytes())["label"] == "7"
        topic, flowers = (f"{address(text, name)}/predict" for name in ("topic", "flowers"))
        assert post(topic, b"my dog", "text/plain")["label"] == "animals"
        [columns] = re.findall(r"'columns=(.*)'$", publish, re.MULTILINE)
        row = dict(zip(json.loads(columns), irises.data[0].tolist(), strict=True))
        assert post(flowers, json.dumps({"row": row}).encode(), "application/json")["label"] == "setosa"
    assert f"models/{pin(changed, 'digits')['file']}" in google.buckets[f"{google.project}-models"].objects


def test_the_readmes_commands_set_up_sign_in_and_a_public_function_and_remove_it(uploaded, changed):
    google = uploaded
    del google.settings["PROJECT_ID"]
    first, second = blocks(section(README, "Deploy it"))
    public, _, later = second.partition("./deploy.sh status\n")
    assert first.startswith("gcloud auth login\n")
    output = follow(google, changed, first)
    assert all(f"\n{name}: http" in output for name in FUNCTIONS)
    follow(google, changed, f"export PROJECT_ID={google.project}\n", public)
    headers = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    url = f"{google.runs['review'].url}/predict"
    for method, body in (("OPTIONS", None), ("POST", b"movie_review=A fine film.")):
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    exports = [line for line in (first + public).splitlines(keepends=True) if line.startswith("export ")]
    script = (*exports, "./deploy.sh status\n", later)
    follow(google, changed, *script, typed=f"{google.project}\n")
    assert not google.functions


TRAINING = {
    "texts": ["good film", "bad film", "good", "bad"] * 5,
    "labels": ["Positive", "Negative"] * 10,
}


def test_every_command_of_the_page_on_models_works(google, changed, monkeypatch):
    keras, folder = pytest.importorskip("keras"), changed.parent
    network = colours(keras, 1, "sigmoid")
    network.save(folder / "my_model.h5")
    stripes(keras, folder).save(folder / "my_model.keras")
    (folder / "helper.py").write_text("def tokenize(text):\n    return text.split()\n")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    train, convert = blocks(MODELS, "python")
    names = {each.__name__: each for each in (HashingVectorizer, SGDClassifier, make_pipeline)}
    exec(train, {**names, **TRAINING, "joblib": joblib})
    with contextlib.redirect_stdout(io.StringIO()):
        exec(convert, {"model": network})
    assert b"TFL3" in (folder / "my_model.tflite").read_bytes()[:8]
    google.settings["PUBLISH_PYTHON"] = sys.executable
    *here, store, train_again = blocks(MODELS)
    assert all(line.startswith(tuple(NOT_RUN)) for line in train_again.splitlines())
    output = follow(google, changed, *here)
    assert pin(changed, "digits")["file"] in output
    assert pin(changed, "malaria")["labels"] == ["Uninfected", "Parasitized"]
    assert list(pin(changed, "review")["modules"]) == ["helper.py"]

    *publish, serve = store.splitlines(keepends=True)
    follow(google, changed, *publish)
    files = {f"v1/{pin(changed, name)['file']}" for name in FUNCTIONS}
    assert set(google.buckets["my-models"].objects) == files
    setting, *command = shlex.split(serve)
    assert command[:2] == ["make", "serve"]
    name, _, value = setting.partition("=")
    settings = {name: value, "STORAGE_EMULATOR_HOST": google.url}
    shutil.rmtree(changed / "models")  # so that no model can come from there
    folders, only = (changed / "functions").glob("*/"), command[2].removeprefix("ONLY=")
    with served(changed, first_port_of(*folders), only, **settings) as text:
        for colour, label in (("red", "Infected"), ("blue", "Normal")):
            image = Image.new("RGB", (16, 16), colour)
            image.paste("black", (0, 0, 2, 2))  # an image of one colour is refused
            answer = post(f"{address(text, 'malaria')}/classify", encode(image))
            assert answer["classification"] == label


def test_every_page_with_commands_has_a_test_that_runs_them():
    here = {"models.md", "http.md"}
    for page in (ROOT / "docs").glob("*.md"):
        assert not blocks(page.read_text()) or page.name in here | ELSEWHERE.keys(), page.name
    own = "".join(blocks(README.split("\n## ")[0]))
    assert all(line.startswith(tuple(NOT_RUN)) for line in own.splitlines())
