"""From the pin in git to the very bytes it names, verified, as a local file.

`model.json` says which file a commit serves and what its SHA-256 is; `MODEL_STORE` says where the files
lie: `gs://bucket/prefix`, or a folder. No loader sees a byte that the digest has not vouched for.
"""

import atexit
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .. import logs, timing
from ..errors import ModelUnavailable
from ..settings import whole

ROOT = Path(__file__).resolve().parents[2]
STORE = os.environ.get("MODEL_STORE") or str(ROOT / "models")
CACHE = Path(tempfile.gettempdir()) / "models"
FETCH_SECONDS = whole("FETCH_SECONDS", 20, 1, 600, "whole seconds")

_REQUIRED = {"file": str, "sha256": str, "bytes": int, "format": str, "version": str, "labels": list}

if "://" in STORE and not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", STORE):
    raise ValueError(f"MODEL_STORE: expected gs://bucket/prefix or a folder, got {STORE!r}")


def read_pin(path: Path) -> dict[str, Any]:
    """Read a `model.json`.

    Raises:
        ValueError: it is not one; the message names what is missing. The function does not start.
    """
    pin = json.loads(path.read_text())
    if not isinstance(pin, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(pin).__name__}")
    for key, kind in _REQUIRED.items():
        if not isinstance(pin.get(key), kind):
            raise ValueError(f"{path}: expected {key!r} of type {kind.__name__}, got {pin.get(key)!r}")
    if len(pin["labels"]) != 2:
        raise ValueError(
            f"{path}: expected two labels, the second being the positive one, got {pin['labels']}"
        )
    if not re.fullmatch(r"[0-9a-f]{64}", pin["sha256"]):
        raise ValueError(f"{path}: expected 'sha256' in 64 hexadecimal digits, got {pin['sha256']!r}")
    if Path(pin["file"]).is_absolute() or ".." in Path(pin["file"]).parts:
        raise ValueError(f"{path}: expected 'file' relative to the model store, got {pin['file']!r}")
    return dict(pin)


T_co = TypeVar("T_co", covariant=True)


class Loader(Protocol[T_co]):
    """What a function's `Classifier` class offers."""

    def prepare(self, pin: Mapping[str, Any]) -> None:
        """Import what `load` will need."""

    def load(self, path: Path, pin: Mapping[str, Any]) -> T_co:
        """Load the file; raises `ModelUnavailable`."""


def load(pin: Mapping[str, Any], loader: Loader[T_co], store: str = STORE) -> T_co:
    """Fetch, verify and load the pinned model, and log how long each took.

    Raises:
        ModelUnavailable: whatever the reason that the model cannot be had.
    """
    with timing.collected() as seconds:
        with timing.span("import"):
            loader.prepare(pin)
        path = fetch(pin, store)
        with timing.span("load"):
            model = loader.load(path, pin)
    logs.write(
        "INFO",
        f"model loaded: {pin['file']}",
        version=pin["version"],
        source=source(pin, store),
        bytes=pin["bytes"],
        seconds={name: round(value, 4) for name, value in seconds.items()},
    )
    return model


def fetch(pin: Mapping[str, Any], store: str = STORE) -> Path:
    """The pinned file as a local path, its size and digest checked.

    Raises:
        ModelUnavailable: not in the store, not readable, not the pinned bytes, or not in time.
    """
    remote = store.startswith("gs://")
    path = _cached(pin) if remote else Path(store, pin["file"])
    deadline = time.monotonic() + FETCH_SECONDS
    with timing.span("fetch"):
        while remote and _busy(path):
            if time.monotonic() > deadline:
                raise ModelUnavailable(f"{source(pin, store)}: timed out: another download of it hangs")
            time.sleep(0.005)
    try:
        verify(path, pin)
    except ModelUnavailable:
        if not remote:
            raise
        with timing.span("fetch"):
            _download(pin, store, deadline - time.monotonic())
        verify(path, pin)
    return path


def prefetch(pin: Mapping[str, Any], store: str = STORE) -> None:
    """Begin to download the pinned file, in the background, where the store is a bucket.

    The file outlives gunicorn's fork. Whoever calls `fetch` meanwhile waits for it; where the download
    fails, which its process logs, `fetch` downloads again.
    """
    if store.startswith("gs://") and not _cached(pin).exists():
        atexit.register(_start(pin, store, FETCH_SECONDS).terminate)


def verify(path: Path, pin: Mapping[str, Any]) -> None:
    """Check a file's size and SHA-256 against the pin.

    Raises:
        ModelUnavailable: no such file, or other bytes; the message names both digests.
    """
    try:
        size = path.stat().st_size
        if size != pin["bytes"]:
            raise ModelUnavailable(
                f"{path}: expected {pin['bytes']} bytes, found {size}; publish the pinned file"
            )
        with timing.span("verify"), path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelUnavailable(
            f"{path}: cannot read the pinned model: {error.strerror}; check MODEL_STORE"
        ) from error
    if digest != pin["sha256"]:
        raise ModelUnavailable(
            f"{path}: expected SHA-256 {pin['sha256']}, found {digest}; "
            "the file is damaged, or not the pinned one"
        )


def source(pin: Mapping[str, Any], store: str) -> str:
    """Where the file lies, as people write it."""
    return f"{store.rstrip('/')}/{pin['file']}"


def _cached(pin: Mapping[str, Any]) -> Path:
    """Where the file lies once it is whole; the name is its digest, so it is never an old one."""
    return CACHE / f"{pin['sha256']}{Path(pin['file']).suffix}"


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


def _download(pin: Mapping[str, Any], store: str, seconds: float) -> None:
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


def _start(
    pin: Mapping[str, Any], store: str, seconds: float, stdout: int | None = None
) -> subprocess.Popen[str]:
    """Start `shared.store.download`; see there why it is a process of its own."""
    arguments = [source(pin, store), str(_cached(pin)), pin["sha256"], str(pin["bytes"]), f"{seconds:.3f}"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(  # noqa: S603 (our own command)
        [sys.executable, "-m", "shared.store.download", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        text=True,
    )
