"""deploy.sh: what it refuses, what it uploads, and what it tells gcloud to do."""

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

import cloud
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


# From here on: the real gcloud against a pretended cloud.


@pytest.fixture
def google(tmp_path, interpreter):
    """A project with billing, whose functions run for real: the uploaded zip, in a fresh environment."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    with contextlib.ExitStack() as stack:
        google = stack.enter_context(cloud.cloud())
        google.builders_may_build = True

        def build(name, function, content):
            folder = Path(tempfile.mkdtemp(dir=tmp_path)) / "source"
            zipfile.ZipFile(io.BytesIO(content)).extractall(folder)
            config = function["serviceConfig"]
            own = {"STORAGE_EMULATOR_HOST": google.url, "TMPDIR": str(folder.parent)}
            settings = config["environmentVariables"] | own
            command = f"functions-framework --target={function['buildConfig']['entryPoint']} --host=127.0.0.1"
            return stack.enter_context(running(command, folder, interpreter(folder), **settings))

        google.on_deploy = build
        google.place = tmp_path
        google.add_account(f"caller@{google.project}.iam.gserviceaccount.com")
        yield google


def drive(google, checkout, *arguments, **environment):
    """Run deploy.sh against the pretended cloud; each call it made that changes something comes back too."""
    before = len(google.requests)
    caller = f"caller@{google.project}.iam.gserviceaccount.com"
    settings = {"PROJECT_ID": google.project, "INVOKER": caller, "PATIENCE": "5"}
    run = deploy(checkout, *arguments, **{**google.environment(google.place), **settings, **environment})
    assert not google.unknown
    done = [
        f"{method} {path.split('?')[0]}"
        for method, path, _ in google.requests[before:]
        if method != "GET"
        and not path.split("?")[0].endswith((":getIamPolicy", ":generateIdToken", ":generateAccessToken"))
    ]
    return run, done


def test_two_functions_from_nothing_and_again_with_no_change(google, checkout):
    run, done = drive(google, checkout)
    assert run.returncode == 0, run.stderr
    for name in FUNCTIONS:
        assert f"{name}: {google.runs[name].url}" in run.stdout
        config = google.functions[name]["serviceConfig"]
        assert config["serviceAccountEmail"] == f"{name}-fn@{google.project}.iam.gserviceaccount.com"
        assert config["environmentVariables"]["MODEL_STORE"] == f"gs://{google.project}-models/models"
        assert config["environmentVariables"]["THREADS"] == str(config["maxInstanceRequestConcurrency"])
        assert not any("allUsers" in each["members"] for each in google.runs[name].policy["bindings"])
    bucket = google.buckets[f"{google.project}-models"]
    pins = [
        json.loads((checkout / "functions" / name / "model.json").read_text())["file"] for name in FUNCTIONS
    ]
    assert set(bucket.objects) == {f"models/{file}" for file in pins}
    readers = [
        each["members"] for each in bucket.policy["bindings"] if each["role"] == "roles/storage.objectViewer"
    ]
    assert sorted(readers[0]) == [
        f"serviceAccount:{name}-fn@{google.project}.iam.gserviceaccount.com" for name in FUNCTIONS
    ]
    assert done
    again, done = drive(google, checkout)
    assert again.returncode == 0, again.stderr
    assert done == []
    assert again.stderr.count("unchanged") == len(FUNCTIONS)
    assert again.stdout == run.stdout


def test_a_change_a_canary_and_the_way_back(google, checkout, tmp_path):
    changed = tmp_path / "checkout"
    shutil.copytree(checkout, changed)
    assert drive(google, changed, "review")[0].returncode == 0
    first = google.runs["review"].latest
    source = changed / "functions" / "review" / "classifier.py"
    source.write_text(source.read_text() + "\n# changed\n")
    dirty, done = drive(google, changed, "review")
    assert "the git tree is not clean" in dirty.stderr
    assert done == []
    commit(changed)
    canary, _ = drive(google, changed, "review", "--canary", "20")
    assert canary.returncode == 0, canary.stderr
    second = google.runs["review"].latest
    assert second != first
    assert google.runs["review"].serving == {first: 80, second: 20}
    whole, _ = drive(google, changed, "review", "--max-instances", "5")
    assert whole.returncode == 0, whole.stderr
    third = google.runs["review"].latest
    assert google.runs["review"].serving == {third: 100}
    back, _ = drive(google, changed, "rollback", "review")
    assert back.returncode == 0, back.stderr
    assert google.runs["review"].serving == {second: 100}
    told, _ = drive(google, changed, "status")
    assert told.returncode == 0, told.stderr
    assert f"revision          {second}" in told.stdout
    assert "malaria: not deployed" in told.stdout


def test_destroy_takes_all_but_the_bucket_and_asks_first(google, checkout):
    assert drive(google, checkout, "review")[0].returncode == 0
    asked, done = drive(google, checkout, "destroy")
    assert asked.returncode == 1
    assert "nothing was deleted" in asked.stderr
    assert done == []
    gone, _ = drive(google, checkout, "destroy", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert not google.functions
    assert set(google.accounts) & {f"review-fn@{google.project}.iam.gserviceaccount.com"} == set()
    assert google.buckets[f"{google.project}-models"].objects
    again, _ = drive(google, checkout, "destroy", "--yes", "--with-bucket")
    assert again.returncode == 0, again.stderr
    assert not google.buckets


def test_a_dry_run_prints_what_it_would_do_and_does_nothing(google, checkout):
    run, done = drive(google, checkout, "review", "--dry-run")
    assert run.returncode == 0, run.stderr
    assert done == []
    commands = [shlex.split(line) for line in run.stdout.splitlines()]
    assert [command[1:4] for command in commands] == [
        ["services", "enable", "cloudfunctions.googleapis.com"],
        ["storage", "buckets", "create"],
        ["storage", "cp", "--no-clobber"],
        ["iam", "service-accounts", "create"],
        ["storage", "buckets", "add-iam-policy-binding"],
        ["functions", "deploy", "review"],
    ]


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (lambda google: setattr(google, "billing", False), "gcloud billing projects link"),
        (lambda google: setattr(google, "project", "another-project"), "is not there or not yours"),
        (lambda google: setattr(google, "builders_may_build", False), "roles/cloudbuild.builds.builder"),
        (
            lambda google: setattr(google, "fail_operation", "Build failed: no space"),
            "Build failed: no space",
        ),
        (lambda google: refuse(google, "/b/"), "permission"),
        (lambda google: refuse(google, "/functions"), "is refused here"),
    ],
    ids=["billing", "project", "builder", "build", "bucket", "function"],
)
def test_what_goes_wrong_is_told_and_a_second_run_mends_it(spoil, mend, google, checkout):
    project = google.project
    spoil(google)
    run, _ = drive(google, checkout, "review", PROJECT_ID=project)
    assert run.returncode == 1
    assert mend in run.stderr
    google.project, google.billing, google.refuse = project, True, lambda _method, _path: None
    google.policy["bindings"].append(
        {"role": "roles/cloudbuild.builds.builder", "members": [f"serviceAccount:{google.default_account}"]}
    )
    mended, _ = drive(google, checkout, "review")
    assert mended.returncode == 0, mended.stderr


def refuse(google, part):
    google.refuse = lambda method, path: (
        (403, "this is refused here") if method in ("POST", "PUT") and part in path else None
    )
