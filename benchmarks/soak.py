"""A long run of mixed requests to both functions, a fifth of them hostile: `make soak`.

    python -m benchmarks.soak [--requests 100000]

Sixteen clients send requests to one function, then to the other. Now and then one of its two workers is
killed, and the store is broken while the next one starts. Prints a table: wrong, missing and 5xx answers, and
the memory and the latencies of normal requests.
"""

import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from shared.pin import Pin

from .environments import ROOT
from .process import Server, free_port

CLIENTS = 16
HOSTILE = 0.2
KILLS = 12
"""Workers that are killed in a run; after each kill the store is broken for a while."""
FAULT_SECONDS = 1.0
NEAR_A_KILL = 1.5
"""Seconds after a kill in which broken connections are counted as its effect."""
CLOSE = 2e-4
"""The tolerance between two probabilities of one input: in a batch, sums may be in another order."""

Send = tuple[str, bytes, str]
"""The path, the body and its type."""


@dataclass(frozen=True)
class Case:
    """A normal request, and the indices of its inputs, in order."""

    send: Send
    inputs: tuple[int, ...]


@dataclass
class Tally:
    """The outcomes of the requests to one function."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    killed: float = 0.0

    def add(self, name: str, wait: float | None = None) -> None:
        """Count one more outcome called `name`, and the wait of its request."""
        with self.lock:
            self.counts[name] += 1
            if wait is not None:
                self.waits.append(wait)


class Traffic:
    """The requests to one function: its inputs with their expected answers, and hostile requests."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs = cells() if name == "malaria" else reviews()
        self.path = "/classify" if name == "malaria" else "/predict"
        self.hostile = hostile_images() if name == "malaria" else hostile_texts()
        self.expected: list[float] = []

    def case(self, rng: random.Random) -> Case:
        """Return a random normal request, as a batch or with one input."""
        if rng.random() < 0.2:
            chosen = tuple(rng.randrange(len(self.inputs)) for _ in range(rng.randint(2, 8)))
            values = [as_json(self.inputs[index]) for index in chosen]
            body = {"instances": values, "explain": rng.random() < 0.2}
            return Case((self.path, json.dumps(body).encode(), "application/json"), chosen)
        index = rng.randrange(len(self.inputs))
        return Case(self.one(index, rng.randrange(3)), (index,))

    def one(self, index: int, way: int) -> Send:
        """Return a request with one input as a raw body (`way` 0), a form (1) or JSON (2)."""
        content = self.inputs[index]
        if way == 0:
            return self.path, content, "image/png" if self.name == "malaria" else "text/plain"
        if way == 1:
            field_name = "image" if self.name == "malaria" else "text"
            head = f'--x\r\nContent-Disposition: form-data; name="{field_name}"\r\n\r\n'.encode()
            return self.path, head + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
        body = {"image" if self.name == "malaria" else "text": as_json(content)}
        return self.path, json.dumps(body).encode(), "application/json"


def as_json(content: bytes) -> str:
    """Return an input as a JSON value."""
    return base64.b64encode(content).decode() if content.startswith(b"\x89PNG") else content.decode()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of the image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def cells() -> list[bytes]:
    """Return the example cells at several angles and in several colours, so that their answers differ."""
    examples = [
        Image.open(path).convert("RGB") for path in sorted((ROOT / "models/malaria/examples").glob("*.png"))
    ]
    turned = [image.rotate(angle) for image in examples for angle in (0, 30, 75, 140)]
    return [
        encoded(ImageOps.colorize(image.convert("L"), "black", colour), "PNG")
        for image in turned
        for colour in ("#ffd0d0", "#e0b0d8", "#ffe0c0")
    ] + [encoded(image, "PNG") for image in turned]


def reviews() -> list[bytes]:
    """Return texts whose answers differ."""
    words = ["film", "sweet", "well", "bad", "boring", "loved", "acting", "story", "music", "dara", "pupo"]
    rng = random.Random(0)  # noqa: S311 (not for secrets; as below)
    return [" ".join(rng.choices(words, k=4 + index)).encode() for index in range(40)]


def hostile_images() -> list[Send]:
    """Return requests with damaged, huge and rare images, and a batch of large ones."""
    gradient = Image.linear_gradient("L").resize((4000, 3000)).convert("RGB")
    photo = encoded(gradient, "JPEG", quality=80)
    progressive = encoded(gradient.resize((1024, 1024)), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    repeated = progressive[:-2] + progressive[last:-2] * 400 + b"\xff\xd9"
    million = encoded(gradient.resize((1000, 1000)), "PNG")
    batch = {"instances": [{"b64": base64.b64encode(million).decode()}] * 32}
    files = {
        "image/jpeg": [photo, progressive, repeated, photo[: len(photo) // 2], photo[:300] + bytes(100_000)],
        "image/png": [
            million[:-200],
            million[:16] + b"\0\1\0\0" * 2 + million[24:],
            b"\x89PNG\r\n\x1a\n",
            b"x",
        ],
        "image/tiff": [encoded(gradient, "TIFF", compression="tiff_lzw"), b"II*\0" + b"\xff" * 5000],
    }
    sent = [("/classify", body, kind) for kind, bodies in files.items() for body in bodies]
    return [
        *sent,
        ("/classify", json.dumps(batch).encode(), "application/json"),
        *hostile_bodies("/classify"),
    ]


def hostile_texts() -> list[Send]:
    """Return requests with long and strange texts, and batches of them."""
    texts = [">" * 99_999, "a\u0301" * 49_999, "&#" + "9" * 4301, "<" * 50_000, "\ud800", "x" * 100_001, ""]
    sent: list[dict[str, Any]] = [
        {"text": text, "explain": explain} for text in texts for explain in (False, True)
    ]
    sent += [{"instances": texts * 4}, {"instances": [None, 1, True, [], {}, {"text": 1}, 10**400, "good"]}]
    bodies = [("/predict", json.dumps(body).encode(), "application/json") for body in sent]
    return [*bodies, *hostile_bodies("/predict")]


def hostile_bodies(path: str) -> list[Send]:
    """Return requests that are invalid for every function."""
    return [
        (path, b"[" * 100_000, "application/json"),
        (path, b'{"instances": [' + b"{}," * 90_000 + b"{}]}", "application/json"),
        (path, b'{"text": NaN, "image": NaN}', "application/json"),
        (path, b"text=" + b"%41" * 50_000, "application/x-www-form-urlencoded"),
        (path, b"--x\r\n" * 1200, "multipart/form-data; boundary=x"),
        (path, bytes(10_000_001), "application/octet-stream"),
        ("/%0a%00" + "a" * 5000, b"x", "text/plain"),
        ("/" + "a" * 9000, b"", "text/plain"),
        ("/health", b"x" * 100_000, "text/plain"),
    ]


def ask(port: int, send: Send) -> tuple[int, bytes]:
    """Send a request on its own connection; raises `OSError` or `HTTPException` if there is no answer."""
    path, body, kind = send
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=70)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def leave(port: int, send: Send, rng: random.Random) -> None:
    """Send a part of a request, or all of it, and disconnect without reading the answer."""
    path, body, kind = send
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode() + body
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(whole[: rng.randint(1, len(whole))])
        time.sleep(rng.random() / 2)


def probabilities(content: bytes) -> list[float | None]:
    """Return the second label's probability in each answer; None for an error."""
    answer = json.loads(content)
    answers = answer.get("predictions", [answer])
    return [list(one["probabilities"].values())[1] if "probabilities" in one else None for one in answers]


def judge(case: Case, status: int, content: bytes, expected: Sequence[float]) -> str:
    """Return the outcome of a normal request: `right`, `wrong`, `mixed up` (other inputs), or the status."""
    if status != 200:
        return str(status)
    got = probabilities(content)
    right = [expected[index] for index in case.inputs]
    if len(got) != len(right) or None in got:
        return "wrong"
    others = [value for value, known in zip(got, right, strict=True) if abs((value or 0) - known) > CLOSE]
    if not others:
        return "right"
    known = all(any(abs((value or 0) - each) <= CLOSE for each in expected) for value in others)
    return "mixed up" if known else "wrong"


def client(traffic: Traffic, port: int, tally: Tally, requests: int, seed: int) -> None:
    """Send `requests` random requests, one after another."""
    rng = random.Random(seed)  # noqa: S311
    for _ in range(requests):
        hostile = rng.random() < HOSTILE
        case = traffic.case(rng)
        send = rng.choice(traffic.hostile) if hostile else case.send
        began = time.monotonic()
        if hostile and rng.random() < 0.25:
            leave(port, send, rng)
            tally.add("left")
            continue
        try:
            status, content = ask(port, send)
        except (OSError, http.client.HTTPException):
            near = time.monotonic() - tally.killed < NEAR_A_KILL or began < tally.killed
            # A server may refuse a large body and close the connection while the client is still sending.
            unread = hostile and len(send[1]) > 1_000_000
            tally.add("refused unread" if unread else "lost by a kill" if near else "lost")
            continue
        if hostile:
            tally.add("hostile")
            if status >= 500:
                tally.add(code(status, content))
        else:
            outcome = judge(case, status, content, traffic.expected)
            tally.add(outcome if status < 500 else code(status, content), time.monotonic() - began)


def code(status: int, content: bytes) -> str:
    """Return the status of a 5xx answer, with the code in its body."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return f"{status} {json.loads(content)['code']}"
    return str(status)


Fault = Callable[[Path, bytes], None]


def swap(path: Path, content: bytes) -> None:
    """Replace the file with other bytes of the same length."""
    path.write_bytes(content[::-1])


def cut(path: Path, content: bytes) -> None:
    """Truncate the file to half its bytes."""
    path.write_bytes(content[: len(content) // 2])


def delete(path: Path, _: bytes) -> None:
    """Leave no file."""


def fifo(path: Path, _: bytes) -> None:
    """Replace the file with a FIFO that nobody writes to."""
    os.mkfifo(path)


def link(path: Path, _: bytes) -> None:
    """Replace the file with a symbolic link to an endless device."""
    path.symlink_to("/dev/zero")


FAULTS: tuple[Fault, ...] = (swap, cut, delete, fifo, link)


def disturb(server: Server, store: Path, content: bytes, tally: Tally, fault: Fault) -> None:
    """Break the store, kill a worker, and repair the store after the next worker has tried to read it."""
    workers = [pid for pid in server.processes() if pid != server.process.pid]
    store.unlink()
    fault(store, content)
    if workers:
        tally.killed = time.monotonic()
        os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
    time.sleep(FAULT_SECONDS)
    store.unlink(missing_ok=True)
    part = store.with_suffix(".part")
    part.write_bytes(content)
    part.replace(store)


def run(name: str, requests: int, folder: Path) -> Tally:
    """Start a function, and send all requests to it."""
    pin = Pin.read(ROOT / "functions" / name / "model.json")
    store = folder / pin.file
    store.parent.mkdir(parents=True)
    shutil.copy(ROOT / "models" / pin.file, store)
    content = store.read_bytes()
    port, tally, traffic = free_port(), Tally(), Traffic(name)
    command = [sys.executable, "-m", "functions_framework", "--target=predict", "--host=127.0.0.1"]
    command += [f"--source=functions/{name}/main.py", f"--port={port}"]
    settings = {"MODEL_STORE": str(folder), "WORKERS": "2", "THREADS": "8"}
    server = Server(command, port, ROOT, {**os.environ, **settings}, folder / "log")
    try:
        answering(server)
        traffic.expected = [
            probabilities(ask(port, traffic.one(index, 0))[1])[0] or 0.0
            for index in range(len(traffic.inputs))
        ]
        share = requests // CLIENTS
        arguments = [(traffic, port, tally, share, seed) for seed in range(CLIENTS)]
        threads = [threading.Thread(target=client, args=each) for each in arguments]
        for thread in threads:
            thread.start()
        watch(server, store, content, tally, threads, requests)
        if b"Traceback" in (folder / "log").read_bytes():
            tally.add("tracebacks in the log")
    finally:
        server.stop()
    return tally


def answering(server: Server) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(server.port, ("/health", b"", "text/plain"))
            return
        time.sleep(0.05)
    raise RuntimeError(server.last_lines())


def watch(
    server: Server,
    store: Path,
    content: bytes,
    tally: Tally,
    threads: Sequence[threading.Thread],
    requests: int,
) -> None:
    """Measure the memory until all clients have ended, and disturb the server now and then."""
    kills = 0
    while any(thread.is_alive() for thread in threads):
        tally.memory.append(server.memory())
        done = sum(tally.counts[each] for each in ("right", "hostile", "left"))
        if done > (kills + 1) * requests / (KILLS + 1):
            disturb(server, store, content, tally, FAULTS[kills % len(FAULTS)])
            kills += 1
        time.sleep(0.2)
    tally.counts["workers killed"] = kills


def table(tallies: dict[str, Tally], seconds: dict[str, float]) -> str:
    """Return a Markdown table of the figures of each function."""
    shown = {name: figures(tally, seconds[name]) for name, tally in tallies.items()}
    rows = list(dict.fromkeys(row for each in shown.values() for row in each))
    lines = [f"|  | {' | '.join(shown)} |", "| --- |" + " --- |" * len(shown)]
    lines += [f"| {row} | {' | '.join(each.get(row, '0') for each in shown.values())} |" for row in rows]
    return "\n".join(lines)


def figures(tally: Tally, seconds: float) -> dict[str, str]:
    """Return the figures of a run, by name."""
    counts = tally.counts
    total = len(tally.waits) + sum(counts[each] for each in ("hostile", "left", *LOST))
    waits = np.array(tally.waits)
    fifth = max(1, len(tally.memory) // 5)
    early, late = (np.median(part) / 1e6 for part in (tally.memory[fifth : 2 * fifth], tally.memory[-fifth:]))
    named = {"right", "wrong", "mixed up", "hostile", "left", *LOST}
    return {
        "requests": f"{total:,} in {seconds:.0f} s",
        "wrong answers": str(counts["wrong"]),
        "mixed-up answers": str(counts["mixed up"]),
        "lost, but for kills": str(counts["lost"]),
        "lost by a kill": str(counts["lost by a kill"]),
        "p50 of normal requests": f"{1000 * np.percentile(waits, 50):.0f} ms",
        "p99 of normal requests": f"{1000 * np.percentile(waits, 99):.0f} ms",
        "slowest normal request": f"{waits.max():.1f} s",
        "memory: second fifth, last, peak": f"{early:.0f}, {late:.0f}, {max(tally.memory) / 1e6:.0f} MB",
        **{name: str(count) for name, count in sorted(counts.items()) if name not in named},
    }


LOST = ("lost", "lost by a kill", "refused unread")


def main() -> None:
    """Run both functions, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000, help="in total (100,000)")
    requests = parser.parse_args().requests // 2
    tallies, seconds = {}, {}
    for name in ("malaria", "review"):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            tallies[name] = run(name, requests, Path(folder))
            seconds[name] = time.monotonic() - began
    print(table(tallies, seconds))


if __name__ == "__main__":
    main()
