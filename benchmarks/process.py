"""Run a server as a real process: start it, wait for its first right answer, measure it and stop it."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 90.0
POLL = 0.002


@dataclass(frozen=True)
class Request:
    """A POST request, and the check of its answer: the status is 200, and `right` accepts the body."""

    path: str
    kind: str
    body: bytes
    right: Callable[[bytes], bool]

    def encoded(self, port: int) -> bytes:
        """Return the bytes of the request, which asks the server to close the connection afterwards."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {self.kind}\r\n"
            f"Content-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass(frozen=True)
class Answer:
    """The status, the head in lower case and the body."""

    status: int
    head: str
    body: bytes

    @property
    def server_timing(self) -> dict[str, float]:
        """The milliseconds of each span."""
        [*lines] = (line for line in self.head.splitlines() if line.startswith("server-timing:"))
        parts = (part.split(";dur=") for line in lines for part in line.partition(":")[2].split(","))
        return {part[0].strip(): float(part[1]) for part in parts if len(part) == 2}


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process with all its descendants, which listens on a port of its own until `stop`."""

    def __init__(
        self, command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        self.port = port
        self.log = log
        self.spawned = time.perf_counter()
        with log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 (our own commands)
                command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def first_answer(self, request: Request) -> tuple[float, Answer]:
        """Return the seconds from the spawn to the first right answer to `request`, and that answer.

        No other request is sent. This one is sent again until its answer is right.

        Raises:
            RuntimeError: the process ended, or gave no right answer in time; the message has its last lines.
        """
        last: Answer | None = None
        while time.perf_counter() - self.spawned < PATIENCE:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{self.last_lines()}")
            with contextlib.suppress(OSError, ValueError):
                last = self.ask(request)
                if last.status == 200 and request.right(last.body):
                    return time.perf_counter() - self.spawned, last
            time.sleep(POLL)
        raise RuntimeError(f"no right answer within {PATIENCE:.0f} s; the last: {last}\n{self.last_lines()}")

    def ask(self, request: Request) -> Answer:
        """Send a request on a connection of its own; return the answer.

        Raises:
            OSError, ValueError: the connection is refused, or the answer is incomplete.
        """
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(request.encoded(self.port))
            received = bytearray()
            while chunk := connection.recv(1 << 16):
                received += chunk
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        text = head.decode("latin-1").lower()
        if "transfer-encoding: chunked" in text:
            body = dechunked(body)
        return Answer(int(text.split()[1]) if text else 0, text, body)

    def processes(self) -> list[int]:
        """Return the IDs of the process and all its descendants."""
        parents = {}
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = _stat(int(path.name))
                    parents[int(path.name)] = (int(fields[1]), int(fields[3]))
        found = {pid for pid, (_, session) in parents.items() if session == self.process.pid}
        found.add(self.process.pid)
        while more := {pid for pid, (parent, _) in parents.items() if parent in found} - found:
            found |= more
        return sorted(found & parents.keys())

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the process and all its descendants."""
        return sum(sum(map(int, fields[11:15])) for fields in self._stats()) / TICK

    def _stats(self) -> Iterator[list[str]]:
        for pid in self.processes():
            with contextlib.suppress(OSError):
                yield _stat(pid)

    def memory(self) -> int:
        """Return the memory of all its processes in bytes, shared memory once (proportional set size)."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def settle(self, limit: float = 20.0) -> None:
        """Wait until the server is idle: it may still work on requests whose clients have left."""
        end = time.perf_counter() + limit
        before = self.cpu_seconds()
        while time.perf_counter() < end:
            time.sleep(0.2)
            now = self.cpu_seconds()
            if now - before < 0.02:
                return
            before = now

    def last_lines(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        """Terminate the process and all its descendants; kill those that do not end."""
        everyone = self.processes()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in everyone:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        end = time.perf_counter() + 5
        while any(map(_runs, everyone)) and time.perf_counter() < end:
            time.sleep(0.01)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command's name: state, parent, group, session, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _runs(pid: int) -> bool:
    """Whether the process is running, and is not a zombie."""
    with contextlib.suppress(OSError):
        return _stat(pid)[0] != "Z"
    return False


def dechunked(body: bytes) -> bytes:
    """Return the content of a chunked body."""
    content = bytearray()
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        content += body[:length]
        body = body[length + 2 :]
        if length == 0:
            break
    return bytes(content)
