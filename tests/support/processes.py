"""Start server processes as a host starts them."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: str, folder: Path, binaries: Path, log: Path, **environment: str) -> Iterator[str]:
    """Run a command line in a folder as a host does, with only its own variables; yield the address."""
    port = free_port()
    own = {"PATH": f"{binaries}:/usr/bin:/bin", "PORT": str(port), "HOME": str(log.parent)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env={**own, **environment},
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=10):
                break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def storage_emulator(bucket: str) -> Iterator[str]:
    """Run a Cloud Storage emulator with this bucket in a process of its own; yield its address."""
    port = free_port()
    script = (
        "from gcp_storage_emulator.server import create_server;"
        f"create_server('127.0.0.1', {port}, in_memory=True, default_bucket={bucket!r}).run()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def served(tree: Path, port: int, only: str = "", **environment: str) -> Iterator[str]:
    """Run `make serve` of a checkout, with this Python for all functions; yield its output."""
    command = [sys.executable, "-m", "dev.serve", "--python", sys.executable, "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--only", only],
        cwd=tree,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    guard = threading.Timer(120, process.kill)
    guard.start()
    text = ""
    while "Ctrl-C stops them" not in text and (line := process.stdout.readline()):
        text += line
    guard.cancel()
    assert "Ctrl-C stops them" in text, text
    # Its output must still be read, or the functions would block when they log.
    reader = threading.Thread(target=process.stdout.read)
    reader.start()
    try:
        yield text
    finally:
        process.terminate()
        assert process.wait(60) == 0
        reader.join()
        process.stdout.close()


def address(text: str, name: str) -> str:
    """Return the address of a function in the output of `make serve`."""
    found = re.search(rf"^{name}: (http://127\.0\.0\.1:\d+)$", text, re.MULTILINE)
    assert found, text
    return found[1]


def from_source(name: str) -> str:
    """Return the command line that serves a function of a checkout, for its folder."""
    source = f"functions/{name}/main.py"
    return f"python -m functions_framework --target=predict --source={source} --host=127.0.0.1"


def command_of(resource: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the command line and the settings of a deployed function, service or version."""
    serve = "functions-framework --target={} --host=127.0.0.1"
    if "serviceConfig" in resource:
        entry, settings = resource["buildConfig"]["entryPoint"], resource["serviceConfig"]
        return serve.format(entry), settings["environmentVariables"]
    if "entrypoint" in resource:
        return resource["entrypoint"]["shell"], resource["envVariables"]
    [container] = resource["spec"]["template"]["spec"]["containers"]
    return serve.format("predict"), {each["name"]: each.get("value", "") for each in container["env"]}
