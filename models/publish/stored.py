"""Files in a store: add one under its digest without overwriting, and compare the files with their pins."""

import base64
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from shared.errors import ModelUnavailable
from shared.pin import Pin, PinError, Unpublished
from shared.settings import Settings
from shared.store import download, fetch

PATIENCE = 600
"""Timeout for checking one file, in seconds."""


def put(content: bytes, pin: Pin, store: str) -> None:
    """Put the file into the store, unless the store has it already.

    Raises:
        ModelUnavailable: the store holds another file of that name, or cannot be written to.
    """
    if store.startswith("gs://"):
        upload(content, pin, store)
    else:
        copy(content, pin, Path(store))


def copy(content: bytes, pin: Pin, folder: Path) -> None:
    """Write the file into a folder, unless the folder has it already."""
    target = folder / pin.file
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes(content)
        part.replace(target)
    fetch.read(target, pin)


def upload(content: bytes, pin: Pin, store: str) -> None:
    """Upload the file to a bucket, unless the bucket has it already; never overwrite."""
    import io

    from google.api_core.exceptions import Forbidden, PreconditionFailed
    from google.cloud import storage

    uri = fetch.source(pin, store)
    try:
        blob = storage.Blob.from_uri(uri, client=storage.Client())
        blob.chunk_size = 1 << 20  # so that the progress bar moves
        if not blob.exists():
            bar = {"total": pin.bytes, "unit": "B", "unit_scale": True, "desc": uri}
            published_meanwhile = contextlib.suppress(PreconditionFailed)
            with tqdm.wrapattr(io.BytesIO(content), "read", **bar) as read, published_meanwhile:
                blob.upload_from_file(read, size=pin.bytes, if_generation_match=0)
        blob.reload()
    except Forbidden as error:
        raise ModelUnavailable(
            f"{uri}: forbidden: you need roles/storage.objectUser on the bucket"
        ) from error
    except Exception as error:  # the client raises its own, requests' and google.auth's errors
        raise ModelUnavailable(f"{uri}: {download.cause(error)}") from error
    digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    if blob.size != pin.bytes or blob.md5_hash != digest:
        raise ModelUnavailable(f"{uri}: the store holds another file of this name; it is left as it is")


def check(folders: Sequence[Path], store: str) -> int:
    """Compare the pinned files in the store with their pins; return how many differ."""
    settings = replace(Settings.read(), model_store=store, fetch_seconds=PATIENCE)
    failures = 0
    for folder in folders:
        try:
            pin = Pin.read(folder / "model.json")
            fetch.fetch(pin, settings)
        except Unpublished as error:
            print(f"{folder.name}: nothing to check: {error}")
        except (ModelUnavailable, PinError) as error:
            failures += 1
            print(f"{folder.name}: {error}")
        else:
            print(f"{folder.name}: {fetch.source(pin, store)} is the pinned file, version {pin.version}")
    return failures
