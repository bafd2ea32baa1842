"""From the pin in git to the very bytes it names, verified, as a local file.

`model.json` says which file a commit serves and what its SHA-256 is; `MODEL_STORE` says where the files
lie: `gs://bucket/prefix`, or a folder. No loader sees a byte that the digest has not vouched for.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ModelUnavailable

STORE = os.environ.get("MODEL_STORE") or str(Path(__file__).resolve().parents[1] / "models")
CACHE = Path(tempfile.gettempdir()) / "models"

_REQUIRED = {"file": str, "sha256": str, "bytes": int, "format": str, "version": str, "labels": list}

if "://" in STORE and not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", STORE):
    raise ValueError(f"MODEL_STORE: expected gs://bucket/prefix or a folder, got {STORE!r}")


def read_pin(path: Path) -> dict[str, Any]:
    """Read a `model.json`.

    Raises:
        ValueError: it is not one; the message names what is missing. The function does not start.
    """
    pin = json.loads(path.read_text())
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


def fetch(pin: Mapping[str, Any], store: str = STORE) -> Path:
    """The pinned file as a local path, its size and digest checked.

    Raises:
        ModelUnavailable: not in the store, not readable, or not the pinned bytes.
    """
    if store.startswith("gs://"):
        return _cached(pin, store)
    path = Path(store, pin["file"])
    verify(path, pin)
    return path


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
        with path.open("rb") as file:
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


def _cached(pin: Mapping[str, Any], store: str) -> Path:
    """Download into the cache, unless it is there; the name carries the digest, so it is never stale."""
    path = CACHE / f"{pin['sha256']}{Path(pin['file']).suffix}"
    if path.exists():
        try:
            verify(path, pin)
            return path
        except ModelUnavailable:
            path.unlink(missing_ok=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=CACHE, suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        _download(f"{store.rstrip('/')}/{pin['file']}", part)
        verify(part, pin)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _download(uri: str, path: Path) -> None:
    try:
        from google.cloud import storage
    except ImportError as error:
        raise ModelUnavailable(f"{uri}: add google-cloud-storage to requirements.txt") from error
    try:
        storage.Blob.from_uri(uri, client=storage.Client()).download_to_filename(str(path))
    except Exception as error:  # the client raises its own, requests' and google.auth's errors
        raise ModelUnavailable(
            f"{uri}: cannot download the pinned model: {type(error).__name__}: {error}"
        ) from error
