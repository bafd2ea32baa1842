"""From the pin in git to the very bytes it names, verified, as a local file.

`model.json` says which file a commit serves and what its SHA-256 is; `MODEL_STORE` says where the files
lie: `gs://bucket/prefix`, or a folder. No loader sees a byte that the digest has not vouched for.
"""

import atexit
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Protocol

from .. import timing
from ..errors import ModelUnavailable
from ..pin import Pin
from ..settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(tempfile.gettempdir()) / "models"


class Pinned(Protocol):
    """What a file is checked against: a pin, or the part of one that another process is told."""

    @property
    def sha256(self) -> str: ...

    @property
    def bytes(self) -> int: ...


class Expected(NamedTuple):
    """The digest and the size of a file."""

    sha256: str
    bytes: int


def fetch(pin: Pin, settings: Settings) -> bytes:
    """Fetch the pinned file and return its bytes, their size and digest checked.

    Raises:
        ModelUnavailable: not in the store, not readable, not the pinned bytes, or not in time.
    """
    store = settings.model_store
    remote = store.startswith("gs://")
    path = _cached(pin) if remote else Path(store, pin.file)
    deadline = time.monotonic() + settings.fetch_seconds
    with timing.span("fetch"):
        while remote and _busy(path):
            if time.monotonic() > deadline:
                raise ModelUnavailable(f"{source(pin, store)}: timed out: another download of it hangs")
            time.sleep(0.005)
    try:
        return read(path, pin)
    except ModelUnavailable:
        if not remote:
            raise
    with timing.span("fetch"):
        _download(pin, store, deadline - time.monotonic())
    return read(path, pin)


def prefetch(pin: Pin, settings: Settings) -> None:
    """Begin to download the pinned file, in the background, where the store is a bucket.

    The file outlives gunicorn's fork. Whoever calls `fetch` meanwhile waits for it; where the download
    fails, which its process logs, `fetch` downloads again.
    """
    store = settings.model_store
    if store.startswith("gs://") and not _cached(pin).exists():
        atexit.register(_start(pin, store, settings.fetch_seconds).terminate)


def read(path: Path, pin: Pinned) -> bytes:
    """Read a file once, and check those bytes against the pin.

    Raises:
        ModelUnavailable: no such file, or other bytes; the message names both digests.
    """
    try:
        with timing.span("fetch"):
            content = path.read_bytes()
    except OSError as error:
        raise ModelUnavailable(
            f"{path}: cannot read the pinned model: {error.strerror}; check MODEL_STORE"
        ) from error
    with timing.span("verify"):
        verify(content, pin, path)
    return content


def verify(content: bytes, pin: Pinned, origin: object) -> None:
    """Check the size and SHA-256 of some bytes against the pin.

    Raises:
        ModelUnavailable: they differ; the message names both, and `origin`, where the bytes are from.
    """
    if len(content) != pin.bytes:
        raise ModelUnavailable(
            f"{origin}: expected {pin.bytes} bytes, found {len(content)}; publish the pinned file"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != pin.sha256:
        raise ModelUnavailable(
            f"{origin}: expected SHA-256 {pin.sha256}, found {digest}; "
            "the file is damaged, or not the pinned one"
        )


def source(pin: Pin, store: str) -> str:
    """Where the file lies, as people write it."""
    return f"{store.rstrip('/')}/{pin.file}"


def _cached(pin: Pin) -> Path:
    """Where the file lies once it is whole; the name is its digest, so it is never an old one."""
    return CACHE / f"{pin.sha256}{pin.suffix}"


def part(path: Path) -> Path:
    """Where the file is written before it is whole. Whoever writes it holds a lock on it."""
    return path.with_suffix(".part")


def _busy(path: Path) -> bool:
    """Whether a download of this file is running, in any process."""
    import fcntl

    try:
        with part(path).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _download(pin: Pin, store: str, seconds: float) -> None:
    """Download into the cache.

    Raises:
        ModelUnavailable: what the download's process said, or that it took too long.
    """
    with _start(pin, store, seconds, subprocess.PIPE) as process:
        try:
            # It ends by itself at its deadline, unless it hangs where no signal reaches it.
            told, _ = process.communicate(timeout=seconds + 1)
        except subprocess.TimeoutExpired:
            raise ModelUnavailable(f"{source(pin, store)}: timed out: not downloaded in time") from None
        finally:
            process.kill()
    if process.returncode:
        try:
            cause = json.loads(told)["message"]
        except (ValueError, KeyError):
            cause = f"{source(pin, store)}: the download ended with status {process.returncode}: {told!r}"
        raise ModelUnavailable(cause)


def _start(pin: Pin, store: str, seconds: float, stdout: int | None = None) -> subprocess.Popen[str]:
    """Start `shared.store.download`; see there why it is a process of its own."""
    arguments = [source(pin, store), str(_cached(pin)), pin.sha256, str(pin.bytes), f"{seconds:.3f}"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(  # noqa: S603 (our own command)
        [sys.executable, "-m", "shared.store.download", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        text=True,
    )
