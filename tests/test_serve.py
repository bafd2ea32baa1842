"""`make serve`: every function on its port, in an environment of its own; calls to try, and a clean end."""

import ast
import hashlib
import json
import os
import pty
import re
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import processes
import pytest
from conftest import FUNCTIONS, ROOT, first_port

from dev import environments, serve
from shared.example import Example

PORTS = {name: Example.read(ROOT / "functions" / name).port for name in FUNCTIONS}
FIRST = serve.PORT


def start(*arguments, cwd=ROOT, output=subprocess.PIPE, **environment):
    """`make serve` with this interpreter, which has all packages."""
    return subprocess.Popen(
        [sys.executable, "-m", "dev.serve", "--python", sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


def refusal(*arguments, **options):
    """Return the message of its exit."""
    process = start(*arguments, **options)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1, text
    return text


def rewrite(folder, **values):
    """Change a JSON file; a value of None removes the field."""
    path = folder / ("example.json" if "port" in values else "model.json")
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_prints_calls_that_work_and_stops_everything_on_a_signal(end):
    terminal = end == signal.SIGINT
    reading, writing = pty.openpty() if terminal else os.pipe()
    port = first_port(PORTS.values())
    process = start("--port", port, output=writing)
    os.close(writing)
    guard = threading.Timer(120, process.kill)
    guard.start()
    text = ""
    with os.fdopen(reading) as lines:
        try:
            while "Ctrl-C stops them" not in text:
                text += next(lines)
            for name, own in PORTS.items():
                assert f"{name}: http://127.0.0.1:{own + port - FIRST}\n" in text
            assert "openapi" not in text, "serve's own request is not in the log"
            calls = re.findall(r"^  (curl .*)$", text, re.MULTILINE)
            assert len(calls) == len(FUNCTIONS)
            for name, call in zip(FUNCTIONS, calls, strict=True):
                answer = subprocess.run(
                    shlex.split(call), cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
                )
                assert f'"{Example.read(ROOT / "functions" / name).label}"' in answer.stdout
                logged = next(line for line in lines if "POST" in line)
                manner = "[0-9:]+ INFO    POST " if terminal else '{"severity": "INFO"'
                assert re.match(f"{name}: {manner}", logged)
        finally:
            process.send_signal(end)
            process.wait(60)
            guard.cancel()
    assert process.returncode == 0
    for own in PORTS.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", own + port - FIRST), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("makes", [False, True], ids=["alone", "under make"])
def test_a_kill_leaves_no_process_behind(makes, tmp_path):
    # Each process inherits the writing end as its standard input, so the pipe ends with the last of them.
    ended, inherited = os.pipe()
    port = first_port(PORTS.values())
    command = [sys.executable, "-m", "dev.serve", "--python", sys.executable, "--port", str(port)]
    if makes:
        (tmp_path / "Makefile").write_text(f"serve:\n\t@{shlex.join(command)}\n")
        command = ["make", "-f", str(tmp_path / "Makefile")]
    process = subprocess.Popen(command, cwd=ROOT, stdin=inherited, stdout=subprocess.PIPE, text=True)
    os.close(inherited)
    with process, os.fdopen(ended):
        while "Ctrl-C stops them" not in next(process.stdout):
            pass
        process.kill()
        readable, _, _ = select.select([ended], [], [], 60)
    assert readable, "a process is left"


def test_a_second_serve_names_the_function_that_has_the_port():
    name, port = FUNCTIONS[0], first_port(PORTS.values())
    with processes.served(ROOT, port, name):
        text = refusal("--port", port, "--only", name)
    taken = PORTS[name] + port - FIRST
    assert f"port {taken}, for {name}, is taken by the function {name}, perhaps of another `make" in text


def test_a_port_in_use_is_named_with_another_one_to_choose():
    name = min(PORTS, key=PORTS.get)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        port = taken - PORTS[name] + FIRST
        text = refusal("--port", port, "--only", name)
    assert f"port {taken}, for {name}, is taken by another program: stop it, or choose other" in text
    assert f"make serve PORT={port + 100}" in text


def test_if_a_function_does_not_start_all_are_stopped_and_it_is_named():
    text = refusal("--port", first_port(PORTS.values()), MODEL_STORE="s3://nowhere")
    assert "MODEL_STORE: expected gs://bucket/prefix or a folder, got 's3://nowhere'" in text
    assert f"{FUNCTIONS[0]} did not start" in text


def test_an_unknown_name_is_refused_with_the_known_ones():
    text = refusal("--only", f"{FUNCTIONS[0]}, nothing")
    assert text == f"there is no function 'nothing'; expected one of {', '.join(FUNCTIONS)}\n"


def test_a_function_without_a_model_is_named_and_the_others_are_served(changed, capsys):
    name, *others = FUNCTIONS
    labels = json.loads((changed / "functions" / name / "model.json").read_text())["labels"]
    (changed / "functions" / name / "model.json").write_text(json.dumps({"labels": labels}))
    left = serve.published([changed / "functions" / each for each in FUNCTIONS], 0)
    assert [each.name for each in left] == others
    advice = f"publish a model first: .venv/dev/bin/python -m models.publish {name} FILE"
    assert re.fullmatch(rf"{name} is not served: .*model\.json: {advice}\n", capsys.readouterr().out)
    text = refusal("--only", name, cwd=changed)
    assert advice in text
    assert text.endswith("there is no function with a model to serve\n")


def test_a_pinned_format_whose_package_is_not_required_is_refused_at_once(changed):
    name = FUNCTIONS[0]
    rewrite(changed / "functions" / name, format="keras")
    text = refusal("--only", name, "--port", first_port(PORTS.values()), cwd=changed)
    assert text == (
        f"functions/{name}/model.json pins the format 'keras', which needs tensorflow-cpu: "
        f"add it to functions/{name}/requirements.in, and run 'make lock ONLY={name}'\n"
    )


def test_two_functions_with_the_same_port_are_refused(changed):
    first, second = FUNCTIONS[:2]
    rewrite(changed / "functions" / second, port=PORTS[first])
    text = refusal("--port", first_port(PORTS.values()), cwd=changed)
    assert text == f"{first} and {second} have the same port: change it in functions/{second}/example.json\n"


def test_an_older_python_is_refused_by_a_file_that_it_can_parse(monkeypatch):
    path = ROOT / "dev" / "__init__.py"
    ast.parse(path.read_text(), feature_version=(3, 6))
    monkeypatch.setattr(sys, "version_info", (3, 10, 2))
    with pytest.raises(SystemExit, match=r"expected Python 3\.11 or newer, this is 3\.10: name one"):
        runpy.run_path(str(path))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A function that requires one small package."""
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "PLACE", tmp_path / ".venv" / "functions")
    folder = tmp_path / "functions" / "small"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("iniconfig==2.1.0\n")
    return folder


def test_an_environment_has_what_the_function_requires_and_is_built_once(folder, capsys):
    other = environments.PLACE / "small-other-0123456789ab"
    old = environments.PLACE / "small-0123456789ab"
    for place in (other, old):
        place.mkdir(parents=True)
    python = environments.environment(folder)
    assert re.fullmatch(r"small-[0-9a-f]{12}", python.parents[1].name)
    assert capsys.readouterr().out == "small: installing its packages (once)\n"
    script = "import iniconfig, importlib.util; print(importlib.util.find_spec('flask'))"
    run = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "None\n"
    assert other.exists(), "it belongs to another function"
    assert not old.exists()
    assert environments.environment(folder) == python
    assert capsys.readouterr().out == ""


def test_an_incomplete_environment_is_rebuilt_and_a_failure_names_its_file(folder):
    requirements = folder / "requirements.txt"
    requirements.write_text("no-such-package-at-all\n")
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    binaries = environments.PLACE / f"small-{digest[:12]}" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").touch()
    with pytest.raises(environments.NotInstalled, match=r"^functions/small/requirements\.txt: its packages"):
        environments.environment(folder)
    assert not (binaries.parent / "complete").exists()


@pytest.mark.parametrize("line", ["Tensorflow_CPU==2.21.0 \\", "tensorflow==2.21.0", "tensorflow"])
def test_a_package_is_recognised_in_every_spelling(folder, line):
    (folder / "requirements.txt").write_text(f"# a comment\n{line}\n    --hash=sha256:00\n")
    environments.check(folder, "keras")
    with pytest.raises(environments.NotInstalled, match="needs scikit-learn"):
        environments.check(folder, "joblib")
    Path(folder / "requirements.txt").unlink()
    with pytest.raises(environments.NotInstalled, match="is missing: run 'make lock ONLY=small'"):
        environments.check(folder, "keras")
