"""The proof of the design: three functions that users make, from `models.new` to their removal.

Nothing but their own two folders is touched, and all that serves, checks and deploys functions takes them.
"""

import base64
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FUNCTIONS, ROOT, commit, first_port
from PIL import Image
from processes import address, running
from processes import served as served_by

from shared.example import Example


@dataclasses.dataclass(frozen=True)
class Case:
    """One of the functions: the options to make it, and unseen inputs by label."""

    name: str
    reads: str
    labels: tuple[str, ...]
    options: tuple[str, ...] = ()
    key: str = "label"
    path: str = "/predict"
    field: str = ""
    unseen: dict[str, Any] = dataclasses.field(default_factory=dict)


COLUMNS = ("sepal length", "sepal width", "petal length", "petal width")
DIGITS = Case("digits", "image", tuple("0123456789"), ("--key", "digit"), key="digit", field="image")
TOPIC = Case(
    "topic",
    "text",
    ("animals", "money", "sport"),
    ("--path", "/topic", "--field", "words"),
    path="/topic",
    field="words",
    unseen={"animals": "the dog barks", "money": "a loan of a bank", "sport": "they won the match"},
)
FLOWERS = Case("flowers", "rows", ("setosa", "versicolor", "virginica"), field="row")
CASES = [DIGITS, TOPIC, FLOWERS]
NAMES = " or ".join(case.name for case in CASES)
TEXTS = {
    "animals": "the cat and the dog; a horse, a cow; the dog sleeps; a cat barks at no dog",
    "money": "the bank lends; a loan and its interest; pay the bank; shares and a loan",
    "sport": "the team won; a goal in the match; they play the match; the team scores a goal",
}

# A process of its own, so that TensorFlow is imported once, and not here.
CONVERT = """
import sys
import keras, numpy as np, tensorflow as tf

weights = np.load(sys.argv[1])
model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
model.layers[-1].set_weights([weights["kernel"], weights["bias"]])
open(sys.argv[2], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""


def command(tree: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the tree, and return what it has written."""
    return subprocess.run(
        [*map(str, arguments)],
        cwd=tree,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def python(tree: Path, *arguments: object, **environment: str) -> str:
    """Run a Python module in the tree, and return its output."""
    run = command(tree, sys.executable, "-m", *arguments, **environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def train_digits(folder: Path) -> Path:
    """A linear discriminant of drawn digits, 8 x 8 pixels, as a LiteRT network with a softmax."""
    from sklearn.datasets import load_digits
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    images, digits = load_digits(return_X_y=True)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(images[200:] / 16, digits[200:])
    np.savez(folder / "weights.npz", kernel=model.coef_.T, bias=model.intercept_)
    sure = model.predict_proba(images[:200] / 16)
    for digit in range(10):
        mine = np.flatnonzero(digits[:200] == digit)
        best = images[mine[sure[mine, digit].argmax()]].reshape(8, 8)
        drawn = Image.fromarray((best * 255 / 16).astype(np.uint8)).resize((64, 64), Image.Resampling.BOX)
        stream = io.BytesIO()
        drawn.save(stream, "PNG")
        DIGITS.unseen[str(digit)] = base64.b64encode(stream.getvalue()).decode()
    file = folder / "digits.tflite"
    run = command(
        folder, sys.executable, "-c", CONVERT, folder / "weights.npz", file, TF_CPP_MIN_LOG_LEVEL="3"
    )
    assert run.returncode == 0, run.stderr
    return file


def train_topic(folder: Path) -> Path:
    """A bag of words on a few sentences."""
    import joblib
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pairs = [(text, label) for label, whole in TEXTS.items() for text in re.split("[.;]", whole)]
    texts, labels = zip(*pairs, strict=True)
    joblib.dump(
        make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)).fit(texts, labels), folder / "topic.joblib"
    )
    return folder / "topic.joblib"


def train_flowers(folder: Path) -> Path:
    """Logistic regression on Fisher's irises, with named columns as a data frame would give them."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    irises = load_iris()
    model = LogisticRegression(max_iter=500).fit(irises.data[::2], irises.target_names[irises.target[::2]])
    model.feature_names_in_ = np.array(COLUMNS, dtype=object)
    for row, label in zip(irises.data[1::2].tolist(), irises.target[1::2], strict=True):
        FLOWERS.unseen.setdefault(str(irises.target_names[label]), dict(zip(COLUMNS, row, strict=True)))
    joblib.dump(model, folder / "flowers.joblib")
    return folder / "flowers.joblib"


TRAIN = {DIGITS.name: train_digits, TOPIC.name: train_topic, FLOWERS.name: train_flowers}


@dataclasses.dataclass(frozen=True)
class Made:
    """A copy of the project with the three functions, and the output of the commands."""

    tree: Path
    before: str
    said: dict[str, str]
    refused: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def made(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The three functions, made, published and committed."""
    tree = Path(shutil.copytree(checkout, tmp_path_factory.mktemp("any") / "project"))
    models = tmp_path_factory.mktemp("trained")
    before = command(tree, "git", "rev-parse", "HEAD").stdout.strip()
    said = {}
    for case in CASES:
        arguments = (case.name, "--reads", case.reads, "--labels", ",".join(case.labels), *case.options)
        said[case.name] = python(tree, "models.new", *arguments)
    only = ",".join(case.name for case in CASES)
    refused = command(tree, sys.executable, "-m", "dev.serve", "--only", only)

    def publish(case: Case) -> None:
        python(tree, "models.publish", case.name, TRAIN[case.name](models), PUBLISH_PYTHON=sys.executable)

    with ThreadPoolExecutor() as pool:
        list(pool.map(publish, CASES))
    commit(tree)
    return Made(tree, before, said, refused)


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def served(made: Made):
    """The output of `make serve` for the three, and the address of each."""
    port = first_port([Example.read(made.tree / "functions" / case.name).port for case in CASES])
    only = ",".join(case.name for case in CASES)
    with served_by(made.tree, port, only) as text:
        yield text


def post(url: str, content: Any) -> dict[str, Any]:
    """Return the answer to a JSON body."""
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return dict(json.load(response))


def check(url: str, case: Case) -> None:
    """Inputs that the model has not seen get their labels, and their probabilities in order."""
    answer = post(url + case.path, {"instances": [*case.unseen.values()]})
    assert [each[case.key] for each in answer["predictions"]] == list(case.unseen)
    for each in answer["predictions"]:
        assert tuple(each["probabilities"]) == case.labels
        assert sum(each["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert answer["model"]["name"] == case.name


def test_a_function_is_two_folders_and_twenty_lines(made, case):
    main = (made.tree / "functions" / case.name / "main.py").read_text().splitlines()
    assert len(main) <= 20
    changed = command(made.tree, "git", "diff", "--name-only", made.before, "HEAD").stdout.splitlines()
    folders = {"/".join(path.split("/")[:2]) for path in changed}
    assert folders == {f"{top}/{each.name}" for top in ("functions", "models") for each in CASES}
    paths = re.findall(r"^  ((?:functions|models)/\S+)  +\w", made.said[case.name], re.MULTILINE)
    assert len(paths) >= 6
    assert all((made.tree / path).is_file() for path in paths)


def test_no_shared_code_mentions_a_function_by_name():
    listed = command(ROOT, "git", "ls-files", "deploy.sh", "deploy", "dev", "models", "shared").stdout.split()
    shared = [
        path for path in listed if not path.endswith(".md") and not set(path.split("/")[1:2]) & set(FUNCTIONS)
    ]
    assert len(shared) > 30
    for path in shared:
        words = set(re.findall(r"[a-z0-9]+", (ROOT / path).read_bytes().decode(errors="replace")))
        assert not words & set(FUNCTIONS), path


def test_the_generated_files_pass_the_linters(made):
    for tool in (["ruff", "check"], ["ruff", "format", "--check"]):
        python(made.tree, *tool, *(f"functions/{case.name}/main.py" for case in CASES))


def test_a_function_without_a_model_says_that_none_is_published(made):
    assert made.refused.returncode == 1
    for case in CASES:
        advice = f"publish a model first: .venv/dev/bin/python -m models.publish {case.name} FILE"
        assert re.search(rf"^{case.name} is not served: .*{advice}$", made.refused.stdout, re.MULTILINE)


def test_new_functions_get_the_next_free_ports(made):
    others = {Example.read(path.parent).port for path in ROOT.glob("functions/*/main.py")}
    ports = [Example.read(made.tree / "functions" / case.name).port for case in CASES]
    assert ports == list(range(max(8082, *others) + 1, max(8082, *others) + 4))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_call_that_serve_prints_gives_the_right_answer(made, served, case):
    url = address(served, case.name)
    [call] = [line for line in served.splitlines() if line.startswith("  curl ") and f"{url}/" in line]
    assert re.search(rf"""[ "']{case.field}["=]""", call)
    run = command(made.tree, *shlex.split(call))
    answer = json.loads(run.stdout)
    assert answer["message"] == "Successful", answer
    assert answer[case.key] == Example.read(made.tree / "functions" / case.name).label


def test_inputs_that_the_model_has_not_seen_get_their_labels(served, case):
    check(address(served, case.name), case)


def test_the_contract_and_the_openapi_document_hold(made):
    files = (
        "tests/test_contract.py",
        "tests/test_openapi.py",
        "tests/test_engines.py",
        "tests/test_layers.py",
        "tests/test_lock.py",
    )
    said = python(made.tree, "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", NAMES)
    assert int(re.search(r"(\d+) passed", said)[1]) > 20 * len(CASES), said


def test_the_page_shows_the_label_of_the_example_and_of_another_input(made, served, case, browser):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address(served, case.name))
    result = page.get_by_role("region", name="Result")
    page.get_by_role("button", name=re.compile("example", re.IGNORECASE)).click()
    result.get_by_text(Example.read(made.tree / "functions" / case.name).label, exact=True).first.wait_for()
    label, value = list(case.unseen.items())[-1]
    if case.reads == "image":
        picture = {"name": "unseen.png", "mimeType": "image/png", "buffer": base64.b64decode(value)}
        page.locator("input[type=file]").first.set_input_files([picture])
    elif case.reads == "text":
        page.get_by_role("textbox").fill(value)
        page.get_by_role("button", name="Classify").click()
    else:
        for column, number in value.items():
            page.get_by_label(column, exact=True).fill(str(number))
        page.get_by_role("button", name="Classify the row").click()
    result.get_by_text(label, exact=True).first.wait_for()
    context.close()
    assert not complaints


def test_the_staged_folder_serves_without_the_checkout(made, case, tmp_path):
    staged = tmp_path / "staged"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run = command(made.tree, "./deploy.sh", "stage", case.name, staged, PATH=path)
    assert run.returncode == 0, run.stderr
    here = "functions-framework --target=predict --host=127.0.0.1"
    with running(here, staged, Path(sys.executable).parent, tmp_path / "log") as url:
        check(url, case)


def test_deleting_its_folders_removes_a_function_completely(made, tmp_path):
    tree = Path(shutil.copytree(made.tree, tmp_path / "project"))
    for case in CASES:
        for top in ("functions", "models"):
            shutil.rmtree(tree / top / case.name)
    commit(tree)
    assert command(tree, "git", "diff", "--stat", made.before, "HEAD").stdout == ""
    said = python(tree, "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/test_contract.py")
    assert not re.search(NAMES.replace(" or ", "|"), said)
