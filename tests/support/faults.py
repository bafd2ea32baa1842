"""A bucket that fails on demand: the part of the Cloud Storage API that downloads use, and faults."""

import contextlib
import http.server
import re
import socket
import struct
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PATH = re.compile(r"/download/storage/v1/b/([^/?]+)/o/([^?]+)")
SIGNED = re.compile(r"/([^/?]+)/([^?]+)\?X-Goog-")


class Bucket(http.server.ThreadingHTTPServer):
    """Serves `objects`, or does what `fault` does; `seen` holds the Range header of each download."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.objects: dict[str, bytes] = {}
        self.fault: Callable[[Handler, bytes], None] | None = None
        self.seen: list[str] = []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that disconnect, which the tests do on purpose."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one download."""

    protocol_version = "HTTP/1.1"
    server: Bucket

    def do_GET(self) -> None:
        asked = PATH.match(self.path) or SIGNED.match(self.path)
        content = self.server.objects.get(urllib.parse.unquote(asked[2])) if asked else None
        if asked:
            self.server.seen.append(self.headers.get("Range", ""))
        if self.server.fault is not None:
            self.server.fault(self, content or b"")
        elif content is None:
            self.answer(404, b"No such object: " + self.path.encode())
        else:
            self.whole(content)

    @property
    def start(self) -> int:
        """The offset at which a resumed download continues."""
        resumed = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(resumed[1]) if resumed else 0

    def whole(self, content: bytes) -> None:
        self.head(content)
        self.wfile.write(content[self.start :])

    def head(self, content: bytes, length: int | None = None) -> None:
        self.send_response(206 if self.start else 200)
        if self.start:
            self.send_header("Content-Range", f"bytes {self.start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - self.start if length is None else length))
        self.send_header("X-Goog-Generation", "1")
        self.end_headers()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """Reset the connection, as after a crash."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def bucket(port: int = 0) -> Iterator[Bucket]:
    server = Bucket(port)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """Yield a port of this machine that never answers an attempt to connect, as a dead address does."""
    if sys.platform != "linux":
        pytest.skip("a full queue of connections is silent on Linux only")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(3):  # the queue is full
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def resolve_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let every name be resolved to these ports of this machine, in this order."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


Fault = Callable[[Handler, bytes], None]


def status(code: int, body: bytes = b"no", **headers: str) -> Fault:
    return lambda handler, _: handler.answer(code, body, **headers)


def twice(fault: Fault) -> Fault:
    """Apply the fault to the first two downloads only."""
    return lambda handler, content: (fault if len(handler.server.seen) <= 2 else Handler.whole)(
        handler, content
    )


def reset_half_way(handler: Handler, content: bytes) -> None:
    """Break off the first download in the middle; the resumed download succeeds."""
    if handler.start:
        handler.whole(content)
    else:
        handler.head(content)
        handler.wfile.write(content[: len(content) // 2])
        handler.reset()


def reset_then_corrupted(handler: Handler, content: bytes) -> None:
    """Break off in the middle, and send other bytes for the second half."""
    if handler.start:
        handler.whole(content[: handler.start] + bytes(len(content) - handler.start))
    else:
        reset_half_way(handler, content)


def always_reset(handler: Handler, _: bytes) -> None:
    handler.reset()


def stall(handler: Handler, content: bytes) -> None:
    """Send half of the object, then hang until the end of the test."""
    handler.head(content)
    handler.wfile.write(content[: len(content) // 2])
    handler.server.released.wait()


def trickle(handler: Handler, content: bytes) -> None:
    """Send one byte a second."""
    handler.head(content)
    for byte in content:
        handler.wfile.write(bytes([byte]))
        if handler.server.released.wait(1):
            return


def held(handler: Handler, content: bytes) -> None:
    """Send the whole object after the test's signal."""
    handler.server.released.wait()
    handler.whole(content)


def cut_short(handler: Handler, content: bytes) -> None:
    """Always send less than Content-Length."""
    handler.head(content)
    handler.wfile.write(content[handler.start : -100])
    handler.close_connection = True


def runs_over(handler: Handler, content: bytes) -> None:
    """Send more than Content-Length."""
    handler.head(content)
    handler.wfile.write(content[handler.start :] + b"more")
    handler.close_connection = True


def endless(handler: Handler, _: bytes) -> None:
    """Send zeros without end and without Content-Length."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.released.is_set():
        handler.wfile.write(bytes(65536))


def flipped(handler: Handler, content: bytes) -> None:
    """Send the right number of bytes, with one bit wrong."""
    changed = bytearray(content)
    changed[len(changed) // 3] ^= 1
    handler.whole(bytes(changed))


def smaller(handler: Handler, content: bytes) -> None:
    handler.whole(content[:-1])
