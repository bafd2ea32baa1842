"""Fetch the pinned model file, from a folder or a bucket, and verify its bytes in memory.

`model.json` names the file and its SHA-256; `MODEL_STORE` says where the files are: `gs://bucket/prefix`, or
a folder. A file is read once, its bytes are verified, and the loader gets these bytes. No loader opens a file
by name, and nothing is cached on disk, where it could be changed after the check.
"""

import hashlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

from .. import logs, timing
from ..errors import ModelUnavailable
from ..pin import Pin
from ..settings import Settings
from . import plain

ROOT = Path(__file__).resolve().parents[2]

_early: dict[str, plain.Request] = {}
"""Requests started by `prefetch`, by URI. Finished ones survive gunicorn's fork."""


def prefetch(pin: Pin, settings: Settings) -> None:
    """Start to download the pinned file in a thread, if a plain request to its bucket is possible."""
    uri = source(pin, settings.model_store)
    if uri.startswith("gs://") and plain.possible():
        seconds = min(plain.patience(pin.bytes), settings.fetch_seconds)
        _early[uri] = plain.Request(uri, pin.bytes, seconds)


def join(pin: Pin, settings: Settings) -> None:
    """Wait for the request that `prefetch` started, because a thread does not survive gunicorn's fork.

    `fetch` returns its bytes, once in each worker, or falls back to the official client.
    """
    if request := _early.get(source(pin, settings.model_store)):
        request.wait()


def fetch(pin: Pin, settings: Settings) -> bytes:
    """Fetch the pinned file; return its bytes, with their size and digest verified.

    Raises:
        ModelUnavailable: the file is not in the store, cannot be read, is not the pinned one, or does not
            arrive in time.
    """
    origin = source(pin, settings.model_store)
    if not origin.startswith("gs://"):
        return read(Path(origin), pin)
    with timing.span("fetch"):
        content = _download(origin, pin.bytes, settings.fetch_seconds)
    verify(content, pin, origin)
    return content


def read(path: Path, pin: Pin) -> bytes:
    """Read a file once, up to the pinned size, and verify its bytes.

    Raises:
        ModelUnavailable: the file does not exist, is not a regular file, or is not the pinned one; the
            message then names both digests.
    """
    try:
        with timing.span("fetch"), open(path, "rb", opener=_nonblocking) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelUnavailable(f"{path}: expected a regular file; check MODEL_STORE")
            _check_size(status.st_size, pin, path)
            content = file.read(pin.bytes + 1)
    except OSError as error:
        raise ModelUnavailable(
            f"{path}: cannot read the pinned model: {error.strerror}; check MODEL_STORE"
        ) from error
    verify(content, pin, path)
    return content


def _nonblocking(path: str, flags: int) -> int:
    """Open without blocking: opening a FIFO would wait until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def verify(content: bytes, pin: Pin, origin: object) -> None:
    """Compare the size and SHA-256 of some bytes with the pin.

    Raises:
        ModelUnavailable: they differ; the message names both, and `origin`, the source of the bytes.
    """
    with timing.span("verify"):
        _check_size(len(content), pin, origin)
        digest = hashlib.sha256(content).hexdigest()
    if digest != pin.sha256:
        raise ModelUnavailable(
            f"{origin}: expected SHA-256 {pin.sha256}, found {digest}; "
            "the file is damaged, or not the pinned one"
        )


def _check_size(size: int, pin: Pin, origin: object) -> None:
    if size != pin.bytes:
        raise ModelUnavailable(f"{origin}: expected {pin.bytes} bytes, found {size}; publish the pinned file")


def source(pin: Pin, store: str) -> str:
    """Return the URI or the path of the pinned file."""
    return f"{store.rstrip('/')}/{pin.file}"


def _download(uri: str, size: int, seconds: float) -> bytes:
    """Download with one plain request; if that is not possible or fails, with the official client."""
    deadline = time.monotonic() + seconds
    failure = ""
    if plain.possible():
        request = _early.pop(uri, None) or plain.Request(uri, size, min(plain.patience(size), seconds / 2))
        try:
            return request.result()
        except plain.Incomplete as error:
            failure = f"; a plain request failed before: {error}"
        except ModelUnavailable as error:
            raise ModelUnavailable(f"{uri}: {error}") from error
    try:
        content = _by_client(uri, size, deadline - time.monotonic())
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{uri}: {error}{failure}") from error
    if failure:
        logs.write("WARNING", f"{uri}: downloaded by the official client{failure}")
    return content


def _by_client(uri: str, size: int, seconds: float) -> bytes:
    """Run `shared.store.download`; its docstring says why it is a separate process.

    Raises:
        ModelUnavailable: the process failed, and the message is its own; or it took too long.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(  # noqa: S603 (our own command)
        [sys.executable, "-P", "-m", "shared.store.download", uri, str(size), f"{seconds:.3f}"],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            # It ends by itself at its deadline, unless it hangs in a call that no signal interrupts.
            output, _ = process.communicate(timeout=seconds + 1)
        except subprocess.TimeoutExpired:
            raise ModelUnavailable("timed out: not downloaded in time") from None
        finally:
            process.kill()
    if process.returncode:
        reason = output.decode(errors="replace").strip()
        raise ModelUnavailable(reason or f"the download ended with status {process.returncode}")
    return output
