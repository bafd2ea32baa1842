"""Measure cold starts: from the start of the process to the first right answer.

    python -m benchmarks.cold_start [--rounds 7] [--latency 50] [--cpus 1 2] [CHECKOUT ...]

Each CHECKOUT is a working tree of this project; the default is this one. Several are compared, measured in
turn. The bucket is emulated, and answers each request after --latency milliseconds. Other work on the machine
disturbs the wall-clock time more than the CPU time.
"""

import argparse
import http.server
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from .process import Request, Server, free_port

ROOT = Path(__file__).resolve().parents[1]
Found = dict[tuple[str, str, int, Path], list[tuple[float, float]]]
"""The wall-clock and CPU seconds of each cold start, by function, store, CPUs and checkout."""
REQUESTS = {
    "malaria": Request(
        "/classify",
        "image/png",
        (ROOT / "functions/malaria/example.png").read_bytes(),
        lambda body: b'"Infected"' in body,
    ),
    "review": Request(
        "/predict", "text/plain", b"A brilliant film, I loved it.", lambda body: b'"Positive"' in body
    ),
}


def main() -> None:
    """Measure and print a table, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--latency", type=float, default=50)
    parser.add_argument("--cpus", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    checkouts = [path.resolve() for path in arguments.checkouts] or [ROOT]
    cases = [
        (name, store, cpus, checkout)
        for cpus in arguments.cpus
        for name in REQUESTS
        for store in ("disk", "bucket")
        for checkout in checkouts
    ]
    found: Found = {case: [] for case in cases}
    bucket = Bucket(checkouts, arguments.latency / 1000)
    for number in range(arguments.rounds + 1):
        for case in cases:
            times = cold_start(*case, bucket.url)
            if number:  # the first round compiles the modules
                found[case].append(times)
    print("\n".join(table(found)))


def table(found: Found) -> Iterator[str]:
    """Yield a Markdown table, line by line: the least and the median of each case."""
    yield "| function | model from | CPUs | checkout | least, ms | median, ms | CPU, least | CPU, median |"
    yield "|---|---|---|---|---|---|---|---|"
    for (name, store, cpus, checkout), times in found.items():
        figures = [
            f"{1000 * figure(column):.0f}"
            for column in zip(*times, strict=True)
            for figure in (min, statistics.median)
        ]
        yield f"| {name} | {store} | {cpus} | {checkout.name} | {' | '.join(figures)} |"


def cold_start(name: str, store: str, cpus: int, checkout: Path, bucket: str) -> tuple[float, float]:
    """Return the wall-clock and CPU seconds from the start of a process to its first right answer."""
    port = free_port()
    allowed = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cpus]))
    framework = [sys.executable, "-m", "functions_framework", "--target", "predict", "--host", "127.0.0.1"]
    command = [
        "taskset",
        "-c",
        allowed,
        *framework,
        "--source",
        f"functions/{name}/main.py",
        "--port",
        str(port),
    ]
    settings = {"STORAGE_EMULATOR_HOST": bucket, "MODEL_STORE": "gs://models/v1"} if store == "bucket" else {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PATH": os.environ["PATH"], "TMPDIR": folder, **settings}
        server = Server(command, port, checkout, environment, Path(folder, "log"))
        try:
            return server.first_answer(REQUESTS[name])[0], server.cpu_seconds()
        finally:
            server.stop()


class Bucket(http.server.ThreadingHTTPServer):
    """An emulated bucket with the checkouts' pinned files under `gs://models/v1`; `latency` is in seconds."""

    daemon_threads = True

    def __init__(self, checkouts: list[Path], latency: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.latency = latency
        self.objects: dict[str, bytes] = {}
        for checkout in checkouts:
            for pin in checkout.glob("functions/*/model.json"):
                file = json.loads(pin.read_text())["file"]
                self.objects[f"v1/{file}"] = (checkout / "models" / file).read_bytes()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one download."""

    server: Bucket

    def do_GET(self) -> None:
        time.sleep(self.server.latency)
        path = urllib.parse.urlsplit(self.path).path
        content = self.server.objects[urllib.parse.unquote(path.rpartition("/o/")[2])]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    main()
