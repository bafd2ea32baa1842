"""deploy.sh without a cloud: what it refuses, and the folder it stages for any host."""

import shutil
import subprocess
import sys
import tomllib

import pytest
from conftest import FUNCTIONS, ROOT, commit
from deploying import deploy
from processes import running


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["malarai"], "there is no function or command malarai"),
        (["--pubic"], "there is no option --pubic"),
        (["--region"], "--region needs a value"),
        (["all", "--cpu", "0"], "CPU: expected a whole number, got '0'"),
        (["all", "--canary", "100"], "--canary: expected 1 to 99 percent"),
        (["all", "--min-instances", "9"], "more minimum than maximum instances"),
        (["all", "--to", "lambda"], "expected functions, run or appengine"),
        (["all", "--to", "appengine", "--public"], "--to appengine needs the name of one function"),
        (["review", "--to", "appengine"], "anyone may call what is on App Engine: say so with --public"),
        (["status", "--to", "appengine"], "status is for functions and run"),
        (["rollback"], "rollback needs the name of a function"),
        (["stage", "review"], "stage needs the name of a function and a folder"),
        (["review", "malaria"], "unexpected: malaria"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_with_a_hint(checkout, arguments, told):
    run = deploy(checkout, *arguments, PROJECT_ID="my-project")
    assert run.returncode == 2
    assert told in run.stderr
    assert "--help" in run.stderr
    assert not run.stdout


def test_without_a_project_it_says_so(checkout):
    assert "PROJECT_ID: expected a project's ID" in deploy(checkout).stderr


def test_help_names_every_option(checkout):
    told = deploy(checkout, "--help")
    assert told.returncode == 0
    parsed = (ROOT / "deploy" / "common.sh").read_text().split("set_option() {")[1].split("esac")[0]
    options = [word.rstrip(")") for word in parsed.split() if word.startswith("--")]
    assert len(options) == 15
    for option in (*options, "--public", "--dry-run", "--with-bucket", "--yes", "rollback", "logs", "stage"):
        assert option in told.stdout


def test_the_runtime_is_the_python_that_is_checked_for(checkout):
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
    assert f"default python{checked.replace('.', '')}," in deploy(checkout, "--help").stdout
    assert f"${{RUNTIME:-python{checked.replace('.', '')}}}" in (ROOT / "deploy" / "common.sh").read_text()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_staged_folder_is_whole_and_runs_as_other_hosts_run_it(name, checkout, tmp_path, interpreter):
    folder = tmp_path / "staged"
    staged = deploy(checkout, "stage", name, folder)
    assert staged.returncode == 0, staged.stderr
    assert {path.name for path in folder.iterdir()} >= {"main.py", "requirements.txt", "shared", "Procfile"}
    assert not list(folder.rglob("__pycache__"))
    assert "is not empty" in deploy(checkout, "stage", name, folder).stderr
    procfile = (folder / "Procfile").read_text().removeprefix("web: ")
    [app] = [
        line for line in (folder / "app.yaml").read_text().splitlines() if line.startswith("entrypoint: ")
    ]
    for command in (procfile, app.removeprefix("entrypoint: ")):
        with running(command, folder, interpreter(folder), tmp_path / "log") as url:
            asked = subprocess.run(
                [sys.executable, ROOT / "deploy" / "try_out.py", url, ROOT / "functions" / name],
                capture_output=True,
                text=True,
                check=False,
            )
            assert asked.returncode == 0, asked.stderr


@pytest.mark.parametrize(
    ("name", "form", "needs"),
    [
        ("malaria", "h5", ("tensorflow-cpu==", "F4_1G")),
        ("malaria", "keras", ("tensorflow-cpu==", "F4_1G")),
        ("review", "joblib", ("joblib==", "F4")),
    ],
)
def test_a_brought_model_gets_the_packages_and_the_memory_it_needs(name, form, needs, checkout, tmp_path):
    package, instance = needs
    changed = bring(form, name, checkout, tmp_path)
    staged = deploy(changed, "stage", name, tmp_path / "staged")
    assert staged.returncode == 0, staged.stderr
    needed = (tmp_path / "staged" / "requirements.txt").read_text()
    assert f"\n{package}" in needed
    assert needed.startswith((checkout / "functions" / name / "requirements.txt").read_text())
    assert f"instance_class: {instance}\n" in (tmp_path / "staged" / "app.yaml").read_text()


def test_a_version_of_ones_own_is_left_alone(checkout, tmp_path):
    changed = bring("joblib", "review", checkout, tmp_path)
    wanted = changed / "functions" / "review" / "requirements.txt"
    wanted.write_text(wanted.read_text() + "scikit-learn==1.8.0\n")
    commit(changed)
    assert deploy(changed, "stage", "review", tmp_path / "staged").returncode == 0
    needed = (tmp_path / "staged" / "requirements.txt").read_text()
    assert needed.startswith(wanted.read_text())
    assert needed.count("scikit-learn") == needed.count("joblib") == 1


def bring(form, name, checkout, tmp_path):
    """A checkout in which the pin of a function says that its model is of another format."""
    changed = tmp_path / "checkout"
    shutil.copytree(checkout, changed)
    pin = changed / "functions" / name / "model.json"
    content = pin.read_text()
    pin.write_text(
        content.replace('"format": "tflite"', f'"format": "{form}"').replace('"linear"', f'"{form}"')
    )
    assert pin.read_text() != content
    commit(changed)
    return changed


def test_what_is_not_committed_is_not_staged_in_silence(checkout, tmp_path):
    changed = tmp_path / "checkout"
    shutil.copytree(checkout, changed)
    (changed / "functions" / "review" / "more.py").write_text("")
    told = deploy(changed, "stage", "review", tmp_path / "staged")
    assert told.returncode == 1
    assert "the git tree is not clean: commit or stash" in told.stderr


def test_a_wrong_label_is_told_and_fails(start, tmp_path):
    server = start(ROOT / "functions" / "review" / "main.py")
    folder = tmp_path / "review"
    shutil.copytree(ROOT / "functions" / "review", folder)
    known = folder / "openapi.json"
    known.write_text(known.read_text().replace('"Positive"', '"Negative"'))
    command = [sys.executable, ROOT / "deploy" / "try_out.py", server.url, folder]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert "expected Negative, got" in asked.stderr
