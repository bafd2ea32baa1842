"""The measurements, each of one contender."""

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
    """What all measurements share: the environments, a folder to pass files in, how long a load takes."""

    environments: Mapping[str, Path]
    folder: Path
    seconds: float
    bucket: Mapping[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def started(self, contender: Contender, **variables: str) -> Iterator[Server]:
        """A contender's server; what it leaves in its temporary folder goes with it."""
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
    """Start it, ask once, stop it: see `first`."""
    with bench.started(contender, **variables) as server:
        return first(server, contender)


def first(server: Server, contender: Contender) -> dict[str, Any]:
    """Seconds from the spawn to the first right answer, and of what of its parts is known from its log."""
    seconds, answer = server.first_answer(contender.request)
    time.sleep(0.05)  # the log line follows the answer
    return {"seconds": seconds, "cpu": server.cpu_seconds(), "parts": parts(server.log, answer)}


def parts(log: Path, answer: Answer) -> dict[str, float]:
    """Seconds of the parts of a cold start: what `stopwatch` said, or the log line of our own functions."""
    found: dict[str, float] = {}
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            if "part" in said:  # of several workers, the slowest
                found[said["part"]] = max(found.get(said["part"], 0.0), said["seconds"])
            elif said["message"].startswith("model loaded"):
                spent = said["seconds"]
                found["fetch"] = spent.get("fetch", 0.0)
                found["load"] = spent.get("load", 0.0) + spent.get("verify", 0.0)
                spans = answer.server_timing
                steps = ("read", "decode", "predict")
                found["first prediction"] = sum(spans.get(name, 0.0) for name in steps) / 1000
    return found


def interpreter(folder: Path) -> float:
    """Seconds that an interpreter takes to start and end."""
    began = time.perf_counter()
    subprocess.run([folder / "bin" / "python", "-c", "pass"], check=True)  # noqa: S603 (our own command)
    return time.perf_counter() - began


def busy() -> float:
    """Which share of the machine's time others take, who disturb what is measured next."""
    before = _times()
    time.sleep(0.3)
    after = _times()
    spent = [late - early for early, late in zip(before, after, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)


def _times() -> list[int]:
    """Ticks of the machine: user, nice, system, idle, waiting for the disk, and others."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def ladder(bench: Bench, server: Server, contender: Contender) -> dict[str, list[dict[str, float]]]:
    """Loads of more and more clients for each form of body: the first at all counts, others at 1 and 8."""
    found: dict[str, list[dict[str, float]]] = {}
    for kind, request in contender.requests.items():
        loads = found[kind] = []
        slowest = 0.0
        for clients in CLIENTS if request is contender.request else (1, 8):
            # Long enough for each client to be answered several times, where that is slow.
            seconds = min(max(bench.seconds, 4 * slowest * clients), 6 * bench.seconds)
            loads.append(load.run(server, request, clients, seconds).as_dict())
            slowest = loads[0]["p50"] / 1000
            server.settle()
    return found


def batches(bench: Bench, server: Server, contender: Contender) -> dict[str, float]:
    """Inputs a second, by how many are in a request."""
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
    """Bytes of memory before and after so many requests of 8 clients and a few more, when it is warm."""
    warm = load.run(server, contender.request, 8, 3)
    server.settle()
    before, done, failed = server.memory(), 0, 0
    while done < requests:
        more = load.run(server, contender.request, 8, (requests - done) / warm.rate)
        done, failed = done + more.requests, failed + more.failed
    server.settle()
    return {"requests": done, "failed": failed, "before": before, "after": server.memory()}


def floor(folder: Path, which: str, content: bytes, passing: Path) -> dict[str, Any]:
    """What the steps take by themselves, in an environment: see the module `floor`."""
    file = passing / "input"
    file.write_bytes(content)
    command = [str(folder / "bin" / "python"), "-m", "benchmarks.floor", which, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"the floor of {which}: {done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def bucket(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """A Cloud Storage emulator that holds these objects under `v1/`, and what a function is told of it."""
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
    """Put the files into the emulated bucket, once it answers."""
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
