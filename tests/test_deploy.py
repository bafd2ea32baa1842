"""deploy.sh: what it refuses, what it uploads, and what it tells gcloud to do."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import FUNCTIONS, ROOT, free_port

SETTINGS = ("PROJECT_ID", "BUCKET", "PREFIX", "REGION", "MODEL_STORE", "ALLOWED_ORIGINS", "THREADS")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A clean clone of the project as it stands here, so that a test may change and commit."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    commit(folder)
    return folder


def commit(folder):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "as it stands"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def deploy(checkout, *arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        ["./deploy.sh", *map(str, arguments)],
        cwd=checkout,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory):
    """The Python of a fresh environment with a staged function's requirements, and nothing else."""
    made = {}

    def interpreter(folder):
        wanted = (folder / "requirements.txt").read_text()
        if wanted not in made:
            place = tmp_path_factory.mktemp("environment")
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            pip = [place / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "install", "-r", folder / "requirements.txt"], check=True)
            subprocess.run([*pip, "check"], check=True)
            made[wanted] = place / "bin"
        return made[wanted]

    return interpreter


@contextlib.contextmanager
def running(command, folder, binaries, **environment):
    """A command line as a host runs it, from the folder and its own environment; gives the address."""
    port = free_port()
    own = {"PATH": f"{binaries}:/usr/bin:/bin", "PORT": str(port), "HOME": str(folder)}
    with (folder.parent / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, env={**own, **environment}, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, Path(log.name).read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=10):
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


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
    for option in ("--region", "--public", "--dry-run", "--canary", "--to", "--min-instances", "rollback"):
        assert option in told.stdout


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
        with running(command, folder, interpreter(folder)) as url:
            asked = subprocess.run(
                [sys.executable, ROOT / "deploy" / "try_out.py", url, ROOT / "functions" / name],
                capture_output=True,
                text=True,
                check=False,
            )
            assert asked.returncode == 0, asked.stderr


@pytest.mark.parametrize(
    ("name", "form", "package"),
    [
        ("malaria", "h5", "tensorflow-cpu=="),
        ("malaria", "keras", "tensorflow-cpu=="),
        ("review", "joblib", "joblib=="),
    ],
)
def test_a_brought_model_gets_the_packages_and_the_memory_it_needs(name, form, package, checkout, tmp_path):
    changed = tmp_path / "checkout"
    shutil.copytree(checkout, changed)
    pin = changed / "functions" / name / "model.json"
    pin.write_text(
        pin.read_text().replace('"format": "tflite"', f'"format": "{form}"').replace("linear", form)
    )
    commit(changed)
    staged = deploy(changed, "stage", name, tmp_path / "staged")
    assert staged.returncode == 0, staged.stderr
    needed = (tmp_path / "staged" / "requirements.txt").read_text()
    assert f"\n{package}" in needed
    assert needed.startswith((checkout / "functions" / name / "requirements.txt").read_text())


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
