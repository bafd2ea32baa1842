"""`models.new`: its refusals and prompts, and that it writes both folders or neither."""

import io
import os
import pty
import re
import subprocess
import sys

import pytest
from conftest import FUNCTIONS, ROOT
from PIL import Image

from dev.lock import LockError, functions
from models import new, skeleton

MAKE = [sys.executable, "-m", "models.new"]
GIVEN = {"name": "digits", "--reads": "image", "--labels": "0,1"}


def refusal(checkout, **changes):
    """Return the error message, after a check that nothing has been written."""
    options = {**GIVEN, **{f"--{key}" if key != "name" else key: value for key, value in changes.items()}}
    name = options.pop("name")
    arguments = [word for option in options.items() if option[1] is not None for word in option]
    command = [*MAKE, *([name] if name else []), *arguments]
    run = subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert run.returncode == 1, run
    listed = subprocess.run(["git", "status", "--short"], cwd=checkout, capture_output=True, check=True)
    assert listed.stdout == b""
    assert run.stderr.startswith("nothing was made: ")
    return run.stderr.removeprefix("nothing was made: ").rstrip()


@pytest.mark.parametrize(
    "name", ["a", "ab", "Digits", "my-digits", "my_digits", "1st", "class", "x" * 28, "../up", ""]
)
def test_a_name_that_some_tool_rejects_is_refused(name):
    with pytest.raises(ValueError, match="expected 3 to 27 small letters and digits, a letter first"):
        new.checked_name(name)


@pytest.mark.parametrize(
    "name", [*FUNCTIONS, "shared", "tests", "publish", "new", "skeleton", "all", "logs", "default"]
)
def test_a_name_in_use_is_refused(name):
    with pytest.raises(ValueError, match=r"expected (a new|another) name"):
        new.checked_name(name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": FUNCTIONS[0]}, f"name: functions/{FUNCTIONS[0]} is there already; expected a new name"),
        (
            {"name": None},
            "(small letters and digits): nothing was given; see python -m models.new --help",
        ),
        ({"reads": None}, "what it reads (image, text, rows): nothing was given"),
        ({"reads": "sound"}, "reads: expected image, text, rows; got 'sound'"),
        ({"labels": None}, "in the order of the model's outputs: nothing was given"),
        ({"labels": "one"}, "'labels': expected two labels or more, got [\"one\"]"),
        ({"labels": "a, b,a"}, '\'labels\': expected a list of different texts, got ["a", "b", "a"]'),
        ({"labels": "a,b,"}, "'labels': expected a text, got \"\""),
        ({"key": "probabilities"}, "key: expected letters, digits and underscores, and none of code, error"),
        ({"key": "my key"}, "got 'my key'"),
        ({"field": "instances"}, "field: expected letters, digits and underscores, and none of explain"),
        ({"path": "/ready"}, "path: expected one such as /classify"),
        ({"path": "/quiz"}, "does not end in z"),
        ({"path": "classify"}, "got 'classify'"),
        ({"path": '/a", x="'}, "path: expected one such as /classify"),
    ],
)
def test_an_invalid_option_is_refused_and_nothing_is_written(checkout, changes, words):
    assert words in refusal(checkout, **changes)


def test_in_a_terminal_it_prompts_until_each_answer_is_valid(changed):
    own, other = pty.openpty()
    process = subprocess.Popen(
        MAKE, cwd=changed, stdin=other, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.write(own, b"my-film\nfilms\nimages\nimage\ngood\ngood, bad\n")
    out, error = process.communicate(timeout=60)
    os.close(own)
    os.close(other)
    assert process.returncode == 0, error
    questions = [
        "name of the function (small letters and digits): ",
        "what it reads (image, text, rows): ",
        "labels, comma separated, ",
    ]
    assert [out.count(question) for question in questions] == [2, 2, 2]
    assert "name: expected 3 to 27" in out
    assert re.search(r"films: 2 labels, on port \d+\n", out)
    for path in (*changed.glob("functions/films/*"), changed / "models" / "films" / "README.md"):
        assert re.search(rf"^  {path.relative_to(changed)}  +\w", out, re.MULTILINE), "each file is explained"
    assert ".venv/dev/bin/python -m models.publish films ../model.keras\n" in out
    assert '"good",\n  "bad"' in (changed / "functions" / "films" / "model.json").read_text()


def test_if_the_packages_cannot_be_locked_no_folder_is_written(changed, monkeypatch):
    monkeypatch.setattr(skeleton, "ROOT", changed)
    monkeypatch.setattr(skeleton, "SERVER", ("no-such-package-at-all",))
    function = skeleton.Function("films", "text", ("good", "bad"), "label", "/predict", "text", 8083)
    with pytest.raises(LockError, match="no-such-package-at-all"):
        skeleton.make(function)
    assert not list(changed.glob("*/films"))


def test_without_uv_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uv", None)
    (tmp_path / "requirements.in").write_text("iniconfig\n")
    with pytest.raises(LockError, match=r"run 'make setup', then"):
        skeleton.write_lock(tmp_path)


def test_a_new_function_requires_what_all_functions_require():
    """Every function, and a new one, requires the packages of the shared modules."""
    asked = [
        set(re.findall(r"^[a-z0-9-]+", (folder / "requirements.in").read_text(), re.MULTILINE))
        for folder in functions(ROOT)
    ]
    assert set.intersection(*asked) == set(skeleton.SERVER)


def test_its_example_image_can_be_decoded():
    image = Image.open(io.BytesIO(skeleton.png()))
    image.load()
    assert (image.size, image.mode) == ((64, 64), "RGB")
    assert image.getpixel((0, 0)) == (0, 0, 128)
    assert image.getpixel((63, 0)) == (255, 0, 128)
