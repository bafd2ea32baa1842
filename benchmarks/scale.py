"""Measure the cost of a row in each way of scoring many: a plain loop, HTTP in batches, Beam and Spark.

    .venv/batch/bin/python -m benchmarks.scale ../shared/data [--reviews 25000] [--cells 5000]

It needs the environment of `make batch-test`, Java for Spark, and a folder with `aclImdb_train.tar.xz` and
`cell_images.zip`. Each way runs in a session of its own. After its start and a warm-up, the CPU time and the
memory of all its processes are measured, so that other work on the machine matters little.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "scale"
TICK = os.sysconf("SC_CLK_TCK")
COLUMNS = {"review": "text", "malaria": "image"}
BATCH = {"review": 512, "malaria": 32}
"""Rows in a request; more rows bring no gain."""
AIM = 0.75
"""The share of the plain loop's rate for each core that Beam, which also reads and writes, should reach."""


def main() -> None:
    """Measure each way, one after the other, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--reviews", type=int, default=25_000)
    parser.add_argument("--cells", type=int, default=5_000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        measure(arguments.way, arguments.name, arguments.data)
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    print(
        "| | rows | ms of CPU a row | rows a second and core | of the loop | memory |"
        "\n|---|---|---|---|---|---|"
    )
    for name, count, make in (("review", arguments.reviews, reviews), ("malaria", arguments.cells, cells)):
        path = make(arguments.data, count)
        if path is None:
            print(f"skipped {name}: its data is not in {arguments.data}", file=sys.stderr)
            continue
        best = 0.0
        for way in WAYS:
            if way == "spark" and not shutil.which("java"):
                print("skipped spark: Java is not installed", file=sys.stderr)
                continue
            result = run(way, name, path)
            rate = result["rows"] / result["cpu"]
            best = best or rate
            print(
                f"| {name}, {way} | {result['rows']:,} | {1000 / rate:.3f} | {rate:,.0f} "
                f"| {rate / best:.2f} | {result['memory'] / 1e6:.0f} MB |",
                flush=True,
            )


def run(way: str, name: str, path: Path) -> dict[str, float]:
    """Measure one way in a session of its own, by which its processes are recognised."""
    command = [sys.executable, "-m", "benchmarks.scale", str(path), "--way", way, "--name", name]
    own = {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "MAX_INSTANCES": "1024", "WARM_UP": "1"}
    done = subprocess.run(  # noqa: S603 (our own command)
        command,
        cwd=ROOT,
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        check=True,
        start_new_session=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(way: str, name: str, path: Path) -> None:
    """Warm up on a few rows, score all rows of the file, and print the cost."""
    few = path.with_name(f"few-{path.name}")
    parquet.write_table(parquet.read_table(path).slice(0, 64), few)
    with WAYS[way](name) as score, tempfile.TemporaryDirectory() as folder:
        score(few, Path(folder, "warm"))
        before = cpu_seconds()
        with watched() as peak:
            rows = score(path, Path(folder, "out"))
        cpu = cpu_seconds() - before
    print(json.dumps({"rows": rows, "cpu": cpu, "memory": peak[0]}))


Score = Callable[[Path, Path], int]
"""Scores a file into a folder, and returns the number of its rows."""


@contextlib.contextmanager
def loop(name: str) -> Iterator[Score]:
    """Read the file and classify its rows; write nothing."""
    from batch.scoring import load
    from shared.classifier import classify

    classifier = load(name).classifier()

    def score(path: Path, _: Path) -> int:
        rows = 0
        for batch in parquet.ParquetFile(path).iter_batches(256, columns=[COLUMNS[name]]):
            rows += len(classify(classifier, batch.column(0).to_pylist(), explain=False))
        return rows

    yield score


@contextlib.contextmanager
def http(name: str) -> Iterator[Score]:
    """Send batches to the function; the cost of the client is included."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = ROOT / "functions" / name / "main.py"
    command = [sys.executable, "-m", "functions_framework", "--target=predict", f"--source={source}"]
    command += [f"--port={port}", "--host=127.0.0.1"]
    url = f"http://127.0.0.1:{port}"

    def ask(instances: list[Any]) -> int:
        body = json.dumps({"instances": instances}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 (of this machine)
            return len(json.load(answer)["predictions"])

    def score(path: Path, _: Path) -> int:
        rows = 0
        for batch in parquet.ParquetFile(path).iter_batches(BATCH[name], columns=[COLUMNS[name]]):
            values = batch.column(0).to_pylist()
            rows += ask(
                [{"b64": b64encode(each).decode()} for each in values] if name == "malaria" else values
            )
        return rows

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as server:  # noqa: S603 (our own)
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ready"):  # noqa: S310
                    break
                time.sleep(0.1)
            yield score
        finally:
            server.terminate()


@contextlib.contextmanager
def beam(name: str) -> Iterator[Score]:
    """Run `python -m batch`, which reads Parquet and writes JSON Lines."""
    from batch.__main__ import main as batch

    def score(path: Path, folder: Path) -> int:
        with contextlib.redirect_stdout(sys.stderr):
            batch(
                [
                    name,
                    "--input",
                    str(path),
                    "--column",
                    COLUMNS[name],
                    "--keep",
                    "id",
                    "--output",
                    str(folder),
                ]
            )
        return sum(len(file.read_bytes().splitlines()) for file in folder.glob("good-*"))

    yield score


@contextlib.contextmanager
def spark(name: str) -> Iterator[Score]:
    """Run the README's lines for Spark on two cores, from Parquet to Parquet."""
    from pyspark.sql import SparkSession

    from batch.scoring import columns

    def scored(frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            yield frame[["id"]].assign(**columns(name, frame[COLUMNS[name]]))

    builder: Any = SparkSession.builder
    session = builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")

    def score(path: Path, folder: Path) -> int:
        schema = "id long, label string, probabilities map<string, double>, error string"
        rows = session.read.parquet(str(path)).repartition(4)
        rows.mapInPandas(scored, schema).write.parquet(str(folder))
        return int(session.read.parquet(str(folder)).count())

    yield score
    session.stop()


WAYS: dict[str, Callable[[str], contextlib.AbstractContextManager[Score]]] = {
    "loop": loop,
    "http": http,
    "beam": beam,
    "spark": spark,
}


def reviews(data: Path, count: int) -> Path | None:
    """Write the reviews as Parquet, and return the file; None if the archive is missing."""
    archive, path = data / "aclImdb_train.tar.xz", PLACE / f"reviews-{count}.parquet"
    if not archive.is_file():
        return None
    if not path.is_file():
        with tarfile.open(archive) as file:
            members = [each for each in file.getmembers() if each.name.endswith(".txt")][:count]
            texts = [(file.extractfile(each) or sys.exit(each.name)).read().decode() for each in members]
        write(path, "text", texts)
    return path


def cells(data: Path, count: int) -> Path | None:
    """Write the cells as Parquet, and return the file; None if the archive is missing."""
    archive, path = data / "cell_images.zip", PLACE / f"cells-{count}.parquet"
    if not archive.is_file():
        return None
    if not path.is_file():
        with zipfile.ZipFile(archive) as file:
            names = sorted(name for name in file.namelist() if name.endswith((".webp", ".png")))
            images = [file.read(name) for name in names[:: max(1, len(names) // count)][:count]]
        write(path, "image", images)
    return path


def write(path: Path, column: str, values: list[Any]) -> None:
    """Write values with an ID each, in row groups of 1,000."""
    table = pyarrow.table({"id": range(len(values)), column: values})
    parquet.write_table(table, path, row_group_size=1000)


def processes() -> Iterator[Path]:
    """Yield the folder in /proc of each process of this session."""
    session = os.getsid(0)
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            if path.name.isdigit() and int(fields(path)[3]) == session:
                yield path


def fields(process: Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the command's name: state, parent, group, session, ..."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def cpu_seconds() -> float:
    """Return the CPU seconds of this session's processes and of their ended children."""
    total = 0
    for process in processes():
        with contextlib.suppress(OSError):
            total += sum(map(int, fields(process)[11:15]))
    return total / TICK


def memory() -> int:
    """Return the memory of this session's processes in bytes, shared memory once (proportional set size)."""
    total = 0
    for process in processes():
        with contextlib.suppress(OSError):
            for line in (process / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


@contextlib.contextmanager
def watched() -> Iterator[list[int]]:
    """Measure the memory inside this context; the only item of the list is the peak."""
    peak, over = [memory()], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            peak[0] = max(peak[0], memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    main()
