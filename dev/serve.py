"""Serve the functions on this machine as the cloud does: each in a process and an environment of its own.

    python -m dev.serve [--port 8081] [--only NAME[,NAME]] [--python PYTHON]

Prints the addresses and a call to try once all of them answer, then their logs. Ctrl-C stops them all.
"""

import argparse
import contextlib
import http.client
import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from shared.example import Example
from shared.pin import Pin, Unpublished

from . import leash
from .environments import NotInstalled, check, environment

ROOT = Path(__file__).resolve().parents[1]
PORT = 8081
"""The default of --port. Another value shifts the ports in all `example.json` files by the difference."""
PATIENCE = 60
"""Timeout of a function's first answer, in seconds; importing TensorFlow alone takes six."""
OPENAPI = "/openapi.json"
MAX_STATUS = 100_000
"""The most bytes that are read of a function's status."""
NO_FUNCTION = (http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError)
"""What reading the answer of another program, as if it were a function's, may raise."""


class ServeError(Exception):
    """The functions cannot be served; the message says why, and what to do."""


@dataclass(frozen=True)
class Function:
    """A function that has a model, and its port."""

    folder: Path
    example: Example
    port: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Running:
    """A function that has been started, and the thread that prints its log."""

    function: Function
    process: subprocess.Popen[bytes]
    printer: threading.Thread


def main() -> None:
    """Serve until interrupted, or until a function stops by itself."""
    parser = argparse.ArgumentParser(prog="python -m dev.serve", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=PORT, help="the first port, 8081; moves the others too")
    parser.add_argument("--only", default="", metavar="NAME[,NAME]", help="these functions; default: all")
    parser.add_argument("--python", type=Path, help="a Python that has all packages: build no environments")
    arguments = parser.parse_args()
    # SIGHUP: stop them if the terminal is closed. SIGINT: a script's `make serve &` would ignore it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    if "MAKELEVEL" in os.environ:
        leash.stop_with(os.getppid())  # make runs this, and may be killed alone
    try:
        functions = published(chosen(arguments.only), arguments.port - PORT)
        check_ports(functions, arguments.port + 100)
        for function in functions:
            check(function.folder, Pin.read(function.folder / "model.json").format)
        pythons = [arguments.python or environment(function.folder) for function in functions]
        serve(functions, pythons)
    except (ServeError, NotInstalled, ValueError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("\nstopped")


def interrupt(_: int, __: FrameType | None) -> None:
    """Treat a termination signal as Ctrl-C."""
    raise KeyboardInterrupt


def chosen(only: str) -> list[Path]:
    """Return the folders of the functions named in `only`, or of all; raises `ServeError`."""
    folders = {path.parent.name: path.parent for path in sorted(ROOT.glob("functions/*/main.py"))}
    names = [name.strip() for name in only.split(",") if name.strip()] or list(folders)
    if unknown := [name for name in names if name not in folders]:
        raise ServeError(f"there is no function {unknown[0]!r}; expected one of {', '.join(folders)}")
    return [folders[name] for name in dict.fromkeys(names)]


def published(folders: Sequence[Path], shift: int) -> list[Function]:
    """Return the functions with a model, and print the others; raises `ServeError` if there are none."""
    functions = []
    for folder in folders:
        try:
            Pin.read(folder / "model.json")
        except Unpublished as error:
            print(f"{folder.name} is not served: {error}", flush=True)
        else:
            example = Example.read(folder)
            functions.append(Function(folder, example, example.port + shift))
    if not functions:
        raise ServeError("there is no function with a model to serve")
    return functions


def check_ports(functions: Sequence[Function], other: int) -> None:
    """Check that each function has a free port of its own; raises `ServeError`."""
    owners: dict[int, str] = {}
    for function in functions:
        name, port = function.name, function.port
        if port in owners:
            raise ServeError(
                f"{owners[port]} and {name} have the same port: change it in functions/{name}/example.json"
            )
        owners[port] = name
        if not 1 <= port <= 65535:
            raise ServeError(f"{name}: expected a port from 1 to 65535, got {port}; choose another --port")
        if taken(port):
            raise ServeError(
                f"port {port}, for {name}, is taken by {occupant(port)}: stop it, or choose other ports with "
                f"`make serve PORT={other}`"
            )


def taken(port: int) -> bool:
    """Whether something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def occupant(port: int) -> str:
    """Return what listens on a port: a function, by the status that it answers, or another program."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(*NO_FUNCTION, OSError):
        connection.request("GET", "/", headers={"Accept": "application/json"})
        status = json.loads(connection.getresponse().read(MAX_STATUS))
        return f"the function {status['model']['name']}, perhaps of another `make serve`"
    return "another program"


def serve(functions: Sequence[Function], pythons: Sequence[Path]) -> None:
    """Run the functions until one stops; raises `ServeError` then."""
    running: list[Running] = []
    try:
        for function, python in zip(functions, pythons, strict=True):
            running.append(start(function, python))
        for each in running:
            path, field, value = wait_for(each)
            words = one_input(each.function, field, value)
            command = shlex.join(["curl", *words, each.function.url + path])
            print(f"\n{each.function.name}: {each.function.url}\n  {command}", flush=True)
        print(
            "\nEach address is a page to try the function in a browser. `make demo`, in another terminal, "
            "sends a few calls.\nThe log of requests follows. Ctrl-C stops them.",
            flush=True,
        )
        while all(each.process.poll() is None for each in running):
            time.sleep(0.2)
        stopped = [each.function.name for each in running if each.process.poll() is not None]
        raise ServeError(f"{', '.join(stopped)} stopped by itself; its last lines above say why")
    finally:
        stop(running)


def start(function: Function, python: Path) -> Running:
    """Start one function.

    It gets its own process group, so that only `stop` ends it on Ctrl-C; it is on a leash, because SIGKILL
    leaves no time to stop it. If standard output is a terminal, the function's output is one too, so that it
    logs plain text.
    """
    command = [str(python), "-m", "dev.leash", str(os.getpid())]
    command += [str(python), "-m", "functions_framework", "--target", "predict"]
    command += ["--source", f"functions/{function.name}/main.py"]
    command += ["--host", "127.0.0.1", "--port", str(function.port)]
    reading, writing = pty.openpty() if sys.stdout.isatty() else os.pipe()
    process = subprocess.Popen(  # noqa: S603 (our own command)
        command,
        cwd=ROOT,
        stdout=writing,
        stderr=writing,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    os.close(writing)
    printer = threading.Thread(target=pass_on, args=(function.name, reading), daemon=True)
    printer.start()
    return Running(function, process, printer)


def pass_on(name: str, reading: int) -> None:
    """Print a function's log under its name, except for the request of `wait_for`."""
    own = True
    # A terminal has no end of file: reading fails once nobody writes.
    with os.fdopen(reading, errors="replace") as stream, contextlib.suppress(OSError):
        for line in stream:
            if own and f"GET {OPENAPI} 200" in line:
                own = False
            else:
                sys.stdout.write(f"{name}: {line}")
                sys.stdout.flush()


def wait_for(running: Running) -> tuple[str, str, Any]:
    """Wait until the function answers; return its `document`.

    Raises:
        ServeError: it stopped, or did not answer within `PATIENCE` seconds.
    """
    function = running.function
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            raise ServeError(f"{function.name} did not start; its last lines above say why")
        with contextlib.suppress(ConnectionError):
            return document(function)
        time.sleep(0.05)  # the port is closed until main.py is imported
    raise ServeError(f"{function.name} did not answer on port {function.port} within {PATIENCE} seconds")


def document(function: Function) -> tuple[str, str, Any]:
    """Return a path, a field and an example input from the OpenAPI document of a running function.

    Raises:
        ServeError: the answer is not such a document.
        ConnectionError: nothing answers yet.
    """
    connection = http.client.HTTPConnection("127.0.0.1", function.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        try:
            connection.request("GET", OPENAPI)
            response = connection.getresponse()
            if response.status == 200:
                return described(json.load(response)["paths"])
            answer = f"status {response.status}"
        except ConnectionError:
            raise
        except NO_FUNCTION:
            answer = "something else"
    raise ServeError(
        f"{function.url}{OPENAPI}: expected the description of {function.name}, got {answer}: is it another "
        "program that listens there?"
    )


def described(paths: dict[str, Any]) -> tuple[str, str, Any]:
    """Return the path of a function, the field of its input and an example, from the paths of its OpenAPI."""
    [path] = [
        path
        for path, operations in paths.items()
        if operations.get("post", {}).get("operationId") == "classifyByName"
    ]
    content = paths[path]["post"]["requestBody"]["content"]
    [(field, value)] = content["application/json"]["examples"]["one"]["value"].items()
    return path, field, value


def one_input(function: Function, field: str, value: Any) -> list[str]:
    """Return curl's arguments that send the function's example."""
    example = function.example
    if example.file is not None:
        return ["-F", f"{field}=@{example.file.relative_to(ROOT)}"]
    if isinstance(example.input, str):
        return ["--data-urlencode", f"{field}={example.input}"]
    return ["-H", "Content-Type: application/json", "-d", json.dumps({field: value})]


def stop(running: Sequence[Running]) -> None:
    """Let each function finish its requests; kill it after ten seconds, as the platform would."""
    for each in running:
        each.process.terminate()
    for each in running:
        try:
            each.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(each.process.pid, signal.SIGKILL)
            each.process.wait()
        each.printer.join(5)  # a worker ends within seconds after its server


if __name__ == "__main__":
    main()
