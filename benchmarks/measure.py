"""The measurements of a contender: cold start, loads, batches and memory."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import load
from .contenders import Contender
from .environments import ROOT
from .process import Answer, Server, free_port

CLIENTS = (1, 2, 4, 8, 16, 32)
BATCHES = {"malaria": (1, 8, 32, 128), "review": (1, 1000)}
PARTS = ("interpreter", "framework", "imports", "fetch", "load", "first prediction")


@dataclass
class Bench:
    """What all measurements share: the environments, a temporary folder, and the seconds of a load."""

    environments: Mapping[str, Path]
    folder: Path
    seconds: float
    bucket: Mapping[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def started(self, contender: Contender, **variables: str) -> Iterator[Server]:
        """Start a contender's server; stop it and delete its temporary folder afterwards."""
        port, temporary = free_port(), Path(tempfile.mkdtemp(dir=self.folder))
        environment = contender.variables(port, {"TMPDIR": str(temporary), **variables})
        command = contender.command(self.environments[contender.setup], port)
        server = Server(command, port, contender.folder, environment, temporary / "log")
        try:
            yield server
        finally:
            server.stop()
            shutil.rmtree(temporary, ignore_errors=True)


def cold(bench: Bench, contender: Contender, **variables: str) -> dict[str, Any]:
    """Start a contender, send one request, and stop it; see `first` for the result."""
    with bench.started(contender, **variables) as server:
        return first(server, contender)


def first(server: Server, contender: Contender) -> dict[str, Any]:
    """Return the seconds from the spawn to the first right answer, and those of the parts in its log."""
    seconds, answer = server.first_answer(contender.request)
    time.sleep(0.05)  # the log line follows the answer
    return {"seconds": seconds, "cpu": server.cpu_seconds(), "parts": parts(server.log, answer)}


def parts(log: Path, answer: Answer) -> dict[str, float]:
    """Return the seconds of the parts of a cold start, from `stopwatch` or the log line of our functions."""
    found: dict[str, float] = {}
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            if "part" in entry:  # of several workers, the slowest
                found[entry["part"]] = max(found.get(entry["part"], 0.0), entry["seconds"])
            elif entry["message"].startswith("model loaded"):
                spent = entry["seconds"]
                found["fetch"] = spent.get("fetch", 0.0)
                found["load"] = spent.get("load", 0.0) + spent.get("verify", 0.0)
                spans = answer.server_timing
                steps = ("read", "decode", "predict")
                found["first prediction"] = sum(spans.get(name, 0.0) for name in steps) / 1000
    return found


def interpreter(folder: Path) -> float:
    """Return the seconds that an interpreter takes to start and end."""
    began = time.perf_counter()
    subprocess.run([folder / "bin" / "python", "-c", "pass"], check=True)  # noqa: S603 (our own command)
    return time.perf_counter() - began


def busy() -> float:
    """Return the share of the machine's CPU time that other processes take: they disturb the measurements."""
    before = _times()
    time.sleep(0.3)
    after = _times()
    spent = [late - early for early, late in zip(before, after, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)


def _times() -> list[int]:
    """Return the machine's CPU ticks: user, nice, system, idle, waiting for the disk, and others."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def ladder(bench: Bench, server: Server, contender: Contender) -> dict[str, list[dict[str, float]]]:
    """Load with more and more clients: all of `CLIENTS` for the first form of body, 1 and 8 for others."""
    found: dict[str, list[dict[str, float]]] = {}
    for kind, request in contender.requests.items():
        loads = found[kind] = []
        slowest = 0.0
        for clients in CLIENTS if request is contender.request else (1, 8):
            # Long enough for each client to get several answers even from a slow server.
            seconds = min(max(bench.seconds, 4 * slowest * clients), 6 * bench.seconds)
            loads.append(load.run(server, request, clients, seconds).as_dict())
            slowest = loads[0]["p50"] / 1000
            server.settle()
    return found


def batches(bench: Bench, server: Server, contender: Contender) -> dict[str, float]:
    """Return the inputs a second, by the number of inputs in a request."""
    if contender.batch is None:
        return {}
    found = {}
    for count in BATCHES[contender.task]:
        measured = load.run(server, contender.batch(count), 1, max(bench.seconds, 2.0))
        if measured.failed:
            raise RuntimeError(f"{contender.name}: {measured.failed} batches of {count} failed")
        found[str(count)] = count * measured.rate
    return found


def growth(server: Server, contender: Contender, requests: int) -> dict[str, float]:
    """Return the memory of a warm server, in bytes, before and after at least `requests` from 8 clients."""
    warm = load.run(server, contender.request, 8, 3)
    server.settle()
    before, done, failed = server.memory(), 0, 0
    while done < requests:
        more = load.run(server, contender.request, 8, (requests - done) / warm.rate)
        done, failed = done + more.requests, failed + more.failed
    server.settle()
    return {"requests": done, "failed": failed, "before": before, "after": server.memory()}


def floor(folder: Path, which: str, content: bytes, passing: Path) -> dict[str, Any]:
    """Run the module `floor` in an environment, and return its figures."""
    file = passing / "input"
    file.write_bytes(content)
    command = [str(folder / "bin" / "python"), "-m", "benchmarks.floor", which, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"the floor of {which}: {done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def bucket(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """Run a Cloud Storage emulator with these objects under `v1/`; yield the variables for a function."""
    port = free_port()
    program = (
        "from gcp_storage_emulator.server import create_server;"
        f"create_server('127.0.0.1', {port}, in_memory=True, default_bucket='models').run()"
    )
    silent = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, "-c", program], stdout=silent, stderr=silent)  # noqa: S603
    try:
        address = f"http://127.0.0.1:{port}"
        upload(address, files)
        yield {"STORAGE_EMULATOR_HOST": address, "MODEL_STORE": "gs://models/v1"}
    finally:
        process.kill()
        process.wait()


def upload(address: str, files: Mapping[str, Path]) -> None:
    """Wait until the emulated bucket answers, and put the files into it."""
    import urllib.request

    for name, path in files.items():
        url = f"{address}/upload/storage/v1/b/models/o?uploadType=media&name=v1/{name}"
        request = urllib.request.Request(url, path.read_bytes(), method="POST")  # noqa: S310 (loopback)
        for attempt in range(100):
            try:
                with urllib.request.urlopen(request, timeout=10):  # noqa: S310
                    break
            except OSError:
                if attempt == 99:
                    raise
                time.sleep(0.1)
