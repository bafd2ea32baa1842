"""Functions loaded as the cloud loads them: through functions-framework, in this process or its own."""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloud
import functions_framework
import pytest
import toys
from cloud.warm import warm
from flask.testing import FlaskClient
from processes import command_of, free_port, from_source, running, storage_emulator

from shared.pin import Pin, Unpublished

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def first_port(ports: Collection[int]) -> int:
    """Return a --port for `dev.serve` with which the ports of these examples are free."""
    while True:
        first = free_port()
        moved = [port - 8081 + first for port in ports]
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            for port in moved:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FlaskClient]:
    """Load a function's source, by name or path, and return a test client of it."""

    def load(source: str | Path) -> FlaskClient:
        for module in [name for name in sys.modules if name == "main" or name.startswith("main.")]:
            monkeypatch.delitem(sys.modules, module)
        path = Path(source) if isinstance(source, Path) else ROOT / "functions" / source / "main.py"
        return functions_framework.create_app("predict", str(path)).test_client()

    return load


CLIENTS: dict[str, FlaskClient] = {}


@pytest.fixture(params=FUNCTIONS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each function that has a model."""
    try:
        Pin.read(ROOT / "functions" / request.param / "model.json")
    except Unpublished as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture
def client(load: Callable[..., FlaskClient], name: str) -> FlaskClient:
    """A client of the function, loaded once for all tests of a process."""
    if name not in CLIENTS:
        CLIENTS[name] = load(name)
    return CLIENTS[name]


@pytest.fixture
def review(load: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of the function `review`."""
    return load("review")


@pytest.fixture
def load_table(
    load: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., FlaskClient]:
    """Load a function for table rows; the first value of a row is the index of its label."""
    folder = tmp_path / "table"
    monkeypatch.setenv("MODEL_STORE", str(folder))

    def load_table(columns: tuple[str, ...] = ("length", "width")) -> FlaskClient:
        row = dict.fromkeys(columns or ("length",), 1)
        return load(toys.make(folder, "Rows", ("none", "one", "two", "three"), row, columns))

    return load_table


@pytest.fixture
def data() -> Path:
    """The folder with the training data; the test is skipped if there is none."""
    if not DATA.is_dir():
        pytest.skip(f"the training data is not here: {DATA}")
    return DATA


@dataclass(frozen=True)
class Answer:
    """The answer of a real process."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class Server:
    """A function in a functions-framework process of its own."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream"
    ) -> Answer:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start functions-framework on a source file, with more environment; stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(source: Path, folder: Path = ROOT, **environment: str) -> Server:
            port = free_port()
            log = tmp_path / f"{port}.log"
            # As the platform starts it; from the repository, whose `shared` lies elsewhere, as a module.
            script = str(Path(sys.executable).with_name("functions-framework"))
            command = [sys.executable, "-m", "functions_framework"] if folder == ROOT else [script]
            command += [
                "--target",
                "predict",
                "--source",
                str(source),
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ]
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=output
                )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            server = Server(f"http://127.0.0.1:{port}", process, log)
            for _ in range(600):
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(OSError):
                    if server.request("GET", "/health").status == 200:
                        return server
                time.sleep(0.1)
            raise AssertionError(log.read_text())

        yield start


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Path]:
    """Copy a function and pin another model in the copy; return the path of its main.py."""

    def variant(name: str, pin: Mapping[str, Any]) -> Path:
        folder = tmp_path / name
        shutil.copytree(ROOT / "functions" / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "model.json").write_text(json.dumps(pin))
        return folder / "main.py"

    return variant


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket `models` of a Cloud Storage emulator that runs in a process of its own."""
    with storage_emulator("models") as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        from google.cloud import storage

        yield storage.Client(project="test").bucket("models")


def commit(folder: Path) -> None:
    """Make the folder a git checkout whose tree is clean."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "as it stands"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone of this working tree; a test that changes it must copy it first."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    commit(folder)
    return folder


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """The binaries of a fresh environment with a staged function's requirements and nothing else."""
    made: dict[str, Path] = {}

    def interpreter(folder: Path) -> Path:
        wanted = (folder / "requirements.txt").read_text()
        if wanted not in made:
            place = tmp_path_factory.mktemp("environment")
            # With this environment's pip: installing pip into each takes longer than the packages.
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
            pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python"]
            pip += ["--quiet", "--disable-pip-version-check"]
            install = [*pip, "install", "--no-compile", "-r", folder / "requirements.txt"]
            subprocess.run(install, check=True)
            subprocess.run([*pip, "check"], check=True)
            made[wanted] = place / "bin"
        return made[wanted]

    return interpreter


@pytest.fixture(scope="session")
def quick_gcloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a gcloud whose process is already running, for speed."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    with warm(tmp_path_factory.mktemp("gcloud")) as folder:
        yield folder


@pytest.fixture(scope="session")
def quick_bq(quick_gcloud: Path) -> Iterator[Path]:
    """The folder with gcloud, and a bq whose process is already running."""
    with warm(quick_gcloud, "bq") as folder:
        yield folder


@pytest.fixture(scope="session")
def answering(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of each function, served from the checkout, for tests that do not depend on the upload."""
    logs = tmp_path_factory.mktemp("answering")
    binaries = Path(sys.executable).parent
    with contextlib.ExitStack() as stack:
        urls = {}
        for name in FUNCTIONS:
            urls[name] = stack.enter_context(running(from_source(name), checkout, binaries, logs / name))
        yield urls


@pytest.fixture
def google(tmp_path: Path, quick_gcloud: Path, answering: dict[str, str]) -> Iterator[cloud.Cloud]:
    """A project with billing, in which the functions of the checkout answer for every deployment."""
    with cloud.cloud() as google:
        google.builders_may_build = True
        # App Engine's first service is `default`; the version's name begins with the function's.
        google.on_deploy = lambda name, resource, _: answering[
            resource["id"].partition("-")[0] if name == "default" else name
        ]
        google.settings = google.environment(tmp_path) | {
            "PATH": f"{quick_gcloud}:/usr/bin:/bin",
            "PROJECT_ID": google.project,
            "INVOKER": f"caller@{google.project}.iam.gserviceaccount.com",
            "PATIENCE": "5",
        }
        google.add_account(google.settings["INVOKER"])
        yield google
        assert not google.unknown


@pytest.fixture
def uploaded(
    google: cloud.Cloud, tmp_path: Path, interpreter: Callable[[Path], Path]
) -> Iterator[cloud.Cloud]:
    """A project in which each deployment runs its uploaded files, alone, in a fresh environment."""
    with contextlib.ExitStack() as stack:

        def build(name: str, resource: Any, content: bytes) -> str:
            folder = Path(tempfile.mkdtemp(dir=tmp_path)) / "source"
            zipfile.ZipFile(io.BytesIO(content)).extractall(folder)
            command, settings = command_of(resource)
            own = {"STORAGE_EMULATOR_HOST": google.url, "TMPDIR": str(folder.parent)}
            log = folder.parent / "log"
            return stack.enter_context(running(command, folder, interpreter(folder), log, **settings | own))

        google.on_deploy = build
        yield google


@pytest.fixture
def changed(checkout: Path, tmp_path: Path) -> Path:
    """A checkout that a test may change."""
    return Path(shutil.copytree(checkout, tmp_path / "changed"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; the test is skipped if none is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium here")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
