"""Objects of Cloud Storage by their signed URLs, which BigQuery's object tables contain.

Any caller may send a URL, so this connects only to Cloud Storage: the host is a constant, and only the path
and the query of the URL are used. A signed URL is a credential, so no message and no log contains it.
"""

import io
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from ...connect import connect
from ...errors import BadRequest, ObjectUnreadable, ServiceError, TooLarge
from ...settings import Settings
from ..body import Take
from ..call import Call

STORAGE = "https://storage.googleapis.com"
THREADS = 8
"""Downloads at once, over all requests: each waits for the network, and a request may have a hundred."""
SECONDS = 10.0
"""For one object, including the connection and a second attempt."""
STEP = 1 << 16
TICK_SECONDS = 0.25
_URL = re.compile(r"\s*+(?!data:)[a-z][a-z0-9+.-]*+:", re.IGNORECASE)
# Printable ASCII without `#` and the backslash, which some programs treat as a slash.
_TARGET = re.compile(r"/[!\"$-\[\]-~]{1,8000}")


@dataclass(frozen=True)
class SignedUrl:
    """A signed URL of Cloud Storage: its path and query."""

    target: str = field(repr=False)


def signed_url(value: Any, settings: Settings) -> SignedUrl | None:
    """Parse a signed URL; None if the value is not a URL.

    Raises:
        BadRequest: it is not a URL of Cloud Storage.
    """
    if not isinstance(value, str) or not _URL.match(value):
        return None
    for origin in {STORAGE, store(settings)}:
        if value.startswith(f"{origin}/") and _TARGET.fullmatch(value, len(origin)):
            return SignedUrl(value[len(origin) :])
    raise BadRequest(f"expected an image in base64, or a signed URL that begins with {STORAGE}/")


def store(settings: Settings) -> str:
    """The origin of objects: Cloud Storage, or in a test the emulator that also has the model.

    In production, the environment variable of the emulator is ignored.
    """
    deployed = settings.service or settings.vertex or os.environ.get("GAE_SERVICE")
    emulator = "" if deployed else os.environ.get("STORAGE_EMULATOR_HOST", "")
    return emulator.rstrip("/") or STORAGE


def fetch(items: Sequence[Any], call: Call, take: Take, settings: Settings) -> list[Any]:
    """Replace each signed URL by its object's bytes, or by an error.

    Raises:
        TooLarge: the objects together are larger than a body may be.
        Overloaded: there is no memory left for them.
        TimedOut or ClientLeft: nobody waits for the answer any more.
    """
    job = _Job(store(settings), settings.max_body, take, call.deadline)
    contents = [_pool().submit(job.fetch, item) if isinstance(item, SignedUrl) else item for item in items]
    pending = {each for each in contents if isinstance(each, Future)}
    try:
        while pending:
            done, pending = wait(pending, TICK_SECONDS)
            for each in done:
                each.result()
            call.check()
    finally:
        job.stopped = True
        for each in pending:
            each.cancel()
        wait(pending)  # otherwise a download could reserve memory after the request has freed its share
    return [each.result() if isinstance(each, Future) else each for each in contents]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "objects")


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Again(Exception):
    """A second attempt may succeed; the message says what went wrong."""


class _Job:
    """The downloads of one request."""

    def __init__(self, origin: str, limit: int, take: Take, deadline: float) -> None:
        self.stopped = False
        self._origin, self._limit, self._take, self._deadline = origin, limit, take, deadline
        self._lock = threading.Lock()
        self._left = limit

    def fetch(self, url: SignedUrl) -> bytes | ServiceError:
        """Return the object, or its error; raises an error that concerns the whole request."""
        end = min(time.monotonic() + SECONDS, self._deadline)
        try:
            try:
                return self._attempt(url, end)
            except _Again:
                return self._attempt(url, end)
        except _Again as error:
            return ObjectUnreadable(f"expected an object of Cloud Storage, but {error}; send this row again")
        except ObjectUnreadable as error:
            return error

    def _attempt(self, url: SignedUrl, end: float) -> bytes:
        try:
            return self._get(url, end)
        except TimeoutError:
            raise _Again(f"it did not arrive within {SECONDS:.0f} seconds") from None
        except (OSError, HTTPException, ValueError) as error:
            raise _Again(f"the connection failed: {type(error).__name__}") from None

    def _get(self, url: SignedUrl, end: float) -> bytes:
        parts = urlsplit(self._origin)
        secure = parts.scheme == "https"
        address = parts.hostname or "", parts.port or (443 if secure else 80)
        with connect(*address, end) as plain:
            stream = _context().wrap_socket(plain, server_hostname=parts.hostname) if secure else plain
            with stream:
                head = f"GET {url.target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept-Encoding: identity\r\n"
                stream.sendall(f"{head}Connection: close\r\n\r\n".encode("ascii"))
                response = HTTPResponse(_Timed(stream, end), method="GET")  # type: ignore[arg-type]
                with response:
                    response.begin()
                    _check_status(response.status)
                    return self._content(response)

    def _content(self, response: HTTPResponse) -> bytes:
        if response.length is not None and response.length > self._limit:
            raise self._larger()
        content = bytearray()
        try:
            while part := response.read(STEP):
                if len(content) + len(part) > self._limit:
                    raise self._larger()
                self._count(len(part))
                content += part
            if response.length:
                raise _Again("the download broke off")
            return bytes(content)
        except Exception:
            with self._lock:
                self._left += len(content)
            raise

    def _larger(self) -> ObjectUnreadable:
        return ObjectUnreadable(f"expected an object of at most {self._limit:,} bytes; this one is larger")

    def _count(self, size: int) -> None:
        with self._lock:
            self._left -= size
            if self._left < 0:
                raise TooLarge(f"expected objects of at most {self._limit:,} bytes in one request")
            if self.stopped:
                raise TooLarge("another object was too large")
            self._take(size)


def _check_status(status: int) -> None:
    if status in (408, 429) or status >= 500:
        raise _Again(f"Cloud Storage answered {status}")
    if status != 200:
        raise ObjectUnreadable(
            f"expected an object of Cloud Storage, which answered {status}: use a new signed URL, "
            "and check that the object still exists"
        )


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Timed(io.RawIOBase):
    """Reads from a connection until `end`, however slow it is; `HTTPResponse` uses this as a socket."""

    def __init__(self, stream: socket.socket, end: float) -> None:
        self._stream, self._end = stream, end

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self, STEP)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._stream.settimeout(_left(self._end))
        return self._stream.recv_into(buffer)
