"""Download one file from Cloud Storage into the cache: a process of its own.

    python -m shared.store.download gs://bucket/object PATH SHA256 BYTES SECONDS

It is one because a thread would not live through gunicorn's fork, and so that it goes on beside the
function's own imports. The storage client, where it is needed, takes longer to import than all the rest of a
function, and as much memory: here that is given back at the end. And a process keeps its deadline whatever
it hangs in: a server that sends a byte a second never trips a read timeout.

Prints one JSON line and exits with 1 where it fails. The file at PATH is whole, or it is not there.
"""

import contextlib
import errno
import fcntl
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from .. import logs
from ..errors import ModelUnavailable
from . import fetch, plain

CONNECT, READ = 3.0, 5.0
"""Seconds that one connection, and one read, may take before they are tried again."""


class Stopped(BaseException):
    """The deadline is over, or the process has been told to end; no library catches it."""


def main() -> int:
    """Download, and say why not."""
    uri, path, sha256, size, seconds = sys.argv[1:]
    pin = fetch.Expected(sha256, int(size))
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_REAL, max(float(seconds), 0.001))
    try:
        download(uri, Path(path), pin, float(seconds))
    except ModelUnavailable as error:
        logs.write("ERROR", str(error))
    except Stopped as stopped:
        logs.write("ERROR", f"{uri}: {stopped}")
    else:
        return 0
    return 1


def stop(number: int, _: FrameType | None) -> None:
    """Unwind, so that nothing is left behind."""
    raise Stopped("timed out: not downloaded in time" if number == signal.SIGALRM else "stopped half-way")


def download(uri: str, path: Path, pin: fetch.Pinned, seconds: float) -> None:
    """Have the pinned bytes of `uri` at `path`, unless they are there.

    Raises:
        ModelUnavailable: they cannot be had; the message says why.
    """
    part = fetch.part(path)
    with writing(part):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(part) as file:
            if not whole(path, pin):
                receive(uri, Part(file, pin), seconds)
                fetch.read(part, pin)
                part.replace(path)


@contextlib.contextmanager
def locked(part: Path) -> Iterator[IO[bytes]]:
    """Open an empty `part` that no other process writes to; waits for one that does.

    It is gone afterwards, also where an earlier process was killed and left it.
    """
    while True:
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if not os.path.samestat(os.fstat(file.fileno()), part.stat()):
                    continue  # the one waited for has finished, and renamed or removed it
            except FileNotFoundError:
                continue
            try:
                file.truncate(0)
                yield file
            finally:
                part.unlink(missing_ok=True)
            return


def whole(path: Path, pin: fetch.Pinned) -> bool:
    """Whether the pinned bytes are at `path`."""
    try:
        fetch.read(path, pin)
    except ModelUnavailable:
        return False
    return True


class Part:
    """What the client writes to: the file, up to the pinned size and no further."""

    def __init__(self, file: IO[bytes], pin: fetch.Pinned) -> None:
        self._file = file
        self._expected = pin.bytes
        self._written = 0

    def write(self, data: bytes) -> int:
        """Write, or raise `ModelUnavailable`: the object is larger than the pin says, or the disk is full."""
        self._written += len(data)
        if self._written > self._expected:
            raise ModelUnavailable(
                f"expected {self._expected} bytes, and more are coming; publish the pinned file"
            )
        with writing(self._file.name):
            return self._file.write(data)

    def seek(self, offset: int) -> int:
        """Begin again: the client does where the bucket cannot resume; `offset` is 0."""
        self._written = offset
        with writing(self._file.name):
            return self._file.truncate(offset)

    def flush(self) -> None:
        """Write what is buffered."""
        with writing(self._file.name):
            self._file.flush()


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn errors of the disk into `ModelUnavailable`, so that none is taken for one of the network."""
    try:
        yield
    except OSError as error:
        full = (
            "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "check TMPDIR"
        )
        raise ModelUnavailable(f"{path}: cannot be written: {error.strerror}; {full}") from error


def receive(uri: str, part: Part, seconds: float) -> None:
    """Read the object into `part`: by one plain request, or by the client where that is not enough."""
    try:
        if not (plain.possible() and plain.read(uri, part)):
            part.seek(0)
            by_client(uri, part, seconds)
        part.flush()
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{uri}: {error}") from error


def by_client(uri: str, part: Part, seconds: float) -> None:
    """Read the object into `part`, with the official client.

    Connections that break and answers such as 429 and 503 are tried again, in all for the time given.
    """
    # Else the client asks for the bucket's metadata too, in a thread of its own.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    try:
        from google.cloud import storage
        from google.cloud.storage.retry import DEFAULT_RETRY
    except ImportError as error:
        raise ModelUnavailable("add google-cloud-storage to requirements.txt") from error
    retry = DEFAULT_RETRY.with_delay(initial=0.2, maximum=2.0, multiplier=2.0).with_timeout(0.9 * seconds)
    try:
        blob = storage.Blob.from_uri(uri, client=storage.Client())
        blob.download_to_file(part, timeout=(CONNECT, READ), retry=retry, checksum=None)
    except ModelUnavailable:
        raise
    except Exception as error:  # the client raises its own, requests' and google.auth's errors
        raise ModelUnavailable(cause(error)) from error


def cause(error: Exception) -> str:
    """What went wrong, and what to do; without what may follow a URL's `?`, such as a signature."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    said = re.sub(r"\?\S+", "", str(error))
    match error:
        case api.NotFound() if "bucket does not exist" in said:
            told = "no such bucket: check MODEL_STORE"
        case api.NotFound():
            told = "no such object: publish the pinned file to this store"
        case api.Forbidden() | api.Unauthorized():
            told = "forbidden: give the function's service account roles/storage.objectViewer on the bucket"
        case auth.DefaultCredentialsError():
            told = "no credentials: run `gcloud auth application-default login`"
        case api.RetryError():
            told = "gave up trying"
        case _:
            told = "cannot be downloaded"
    return f"{told} ({type(error).__name__}: {said})"


if __name__ == "__main__":
    sys.exit(main())
