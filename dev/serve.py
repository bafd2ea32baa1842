"""Run every function on this machine, each on a port of its own, as the cloud runs it.

    python -m dev.serve [--port 8081]

Prints the addresses and a call to try once all of them answer. Ctrl-C stops them all.
"""

import argparse
import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = {
    "malaria": "-F malaria_cell_image=@models/malaria/examples/infected.png {url}/classify",
    "review": "--data-urlencode 'movie_review=Dis film sweet well well, I go watch am again.' {url}/predict",
}
PATIENCE = 60


def main() -> None:
    """Serve until interrupted, or until a function stops by itself."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--port", type=int, default=8081, help="the first function's port; the next take the next"
    )
    first = parser.parse_args().port
    names = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
    ports = dict(zip(names, range(first, first + len(names)), strict=True))
    for name, port in ports.items():
        if taken(port):
            sys.exit(
                f"port {port}, for {name}, is taken: stop what listens there, "
                f"or choose another with `make serve PORT={port + 100}`"
            )

    signal.signal(signal.SIGTERM, interrupt)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, port in ports.items():
            processes[name] = start(name, port)
        for name, port in ports.items():
            await_answer(name, port, processes[name])
        for name, port in ports.items():
            url = f"http://127.0.0.1:{port}"
            print(f"\n{name}: {url}\n  curl {EXAMPLES.get(name, '{url}/').format(url=url)}", flush=True)
        print("\nCtrl-C stops them.", flush=True)
        while all(process.poll() is None for process in processes.values()):
            time.sleep(0.2)
        stopped = [name for name, process in processes.items() if process.poll() is not None]
        sys.exit(f"{', '.join(stopped)} stopped by itself; its last lines above say why")
    except KeyboardInterrupt:
        print("\nstopping")
    finally:
        stop(processes)


def interrupt(_: int, __: FrameType | None) -> None:
    """Treat a request to terminate as Ctrl-C."""
    raise KeyboardInterrupt


def taken(port: int) -> bool:
    """Whether something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def start(name: str, port: int) -> subprocess.Popen[bytes]:
    """Start one function in a process of its own.

    It gets a process group of its own too, so that Ctrl-C reaches it through `stop` alone.
    """
    command = [sys.executable, "-m", "functions_framework", "--target", "predict"]
    command += ["--source", f"functions/{name}/main.py", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True)  # noqa: S603 (our own command)


def await_answer(name: str, port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the function answers.

    Raises:
        SystemExit: it stopped, or did not answer within `PATIENCE` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{name} did not start; its last lines above say why")
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    sys.exit(f"{name} did not answer on port {port} within {PATIENCE} seconds")


def stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Let each finish what it has in work, and end it if it takes longer than the platform would wait."""
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
