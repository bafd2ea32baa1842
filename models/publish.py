"""Put a model file into the store under its digest, and pin it in `functions/NAME/model.json`.

    python -m models.publish NAME FILE [key=value ...] [--store gs://bucket/prefix | FOLDER] [--dry-run]
    python -m models.publish --check [--store gs://bucket/prefix | FOLDER]

NAME is a function. Its own classifier loads the file and answers a sample with it first, so that a broken
model is never published. `key=value` pairs, the values in JSON, go into the pin; labels and threshold are
the present pin's where they are not given. A file that is in the store is never written over: publishing
twice does nothing. `--check` reads every pinned file from the store and compares it with its pin.
"""

import argparse
import base64
import contextlib
import datetime
import hashlib
import importlib
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from shared.errors import ModelUnavailable
from shared.store import download, fetch

ROOT = Path(__file__).parents[1]
FORMATS = {".tflite": "tflite", ".keras": "keras", ".h5": "h5", ".npz": "linear", ".joblib": "joblib"}
PATIENCE = 600
"""Seconds a check may take for one file."""


def main() -> None:
    """Publish one file, or check all pins."""
    names = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", choices=names)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("settings", nargs="*", metavar="key=value", help="for the pin; the value is JSON")
    parser.add_argument("--store", default=fetch.STORE, help="default: MODEL_STORE, or models/")
    parser.add_argument("--dry-run", action="store_true", help="load, answer the sample, print the pin")
    parser.add_argument("--check", action="store_true", help="verify every pin against the store")
    arguments = parser.parse_intermixed_args()
    if arguments.check:
        sys.exit(check(names, arguments.store))
    if arguments.name is None or arguments.file is None:
        parser.error("expected NAME and FILE, or --check")
    try:
        pairs = (setting.split("=", 1) for setting in arguments.settings)
        settings = {key: json.loads(value) for key, value in pairs}
    except ValueError as error:
        parser.error(f"expected key=value with the value in JSON, such as threshold=0.4: {error}")
    try:
        pin = examine(arguments.name, arguments.file, settings)
        if arguments.dry_run:
            print(json.dumps(pin, indent=1))
            return
        publish(arguments.name, arguments.file, pin, arguments.store)
    except (ModelUnavailable, OSError) as error:
        sys.exit(f"not published: {error}")
    print(f"{arguments.name}: {pin['file']} is in {arguments.store} and pinned, version {pin['version']}")


def examine(name: str, file: Path, settings: dict[str, Any], root: Path = ROOT) -> dict[str, Any]:
    """The pin of `file`, which has answered a sample.

    Raises:
        SystemExit: no format has such a suffix.
        ModelUnavailable: the function's classifier cannot load it, or gives no proper answer with it.
    """
    if file.suffix not in FORMATS:
        raise SystemExit(f"{file}: expected a file that ends in one of {', '.join(FORMATS)}")
    place = root / "functions" / name / "model.json"
    present = json.loads(place.read_text()) if place.exists() else {}
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    new = {
        "file": f"{name}/{name}-{digest[:12]}{file.suffix}",
        "sha256": digest,
        "bytes": file.stat().st_size,
        "format": FORMATS[file.suffix],
        "version": f"{today}-{digest[:7]}",
        "labels": present.get("labels"),
        "threshold": present.get("threshold", 0.5),
        "trained": today,
    }
    pin = {**(present if present.get("sha256") == digest else new), **settings}
    classifier = importlib.import_module(f"functions.{name}.classifier").Classifier.load(file, pin)
    try_out(classifier, pin)
    if hasattr(classifier, "size"):
        pin["input"] = {"size": list(classifier.size), "channels": "RGB", **pin.get("input", {})}
    return pin


def publish(name: str, file: Path, pin: dict[str, Any], store: str, root: Path = ROOT) -> None:
    """Put `file` into `store`, and only then write its pin.

    Raises:
        ModelUnavailable: the store holds another file of that name, or cannot be written to.
    """
    if store.startswith("gs://"):
        upload(file, pin, store)
    else:
        copy(file, pin, Path(store))
    place = root / "functions" / name / "model.json"
    part = place.with_suffix(".part")
    part.write_text(json.dumps(pin, indent=1) + "\n")
    part.replace(place)


def try_out(classifier: Any, pin: dict[str, Any]) -> None:
    """Have the classifier answer its own sample; raises `ModelUnavailable` where that is no answer."""
    try:
        [answer] = classifier.predict([classifier.sample()])
    except ModelUnavailable:
        raise
    except Exception as error:
        raise ModelUnavailable(f"it loads, but cannot answer: {type(error).__name__}: {error}") from error
    values = list(answer.probabilities.values())
    proper = set(answer.probabilities) == set(pin["labels"]) and answer.label in pin["labels"]
    if not proper or not all(0 <= value <= 1 for value in values) or not math.isclose(sum(values), 1):
        raise ModelUnavailable(
            f"it loads, but its answer to a sample is {answer.probabilities}: expected probabilities of "
            f"{' and '.join(pin['labels'])}; does it end in a sigmoid or a softmax?"
        )


def copy(file: Path, pin: dict[str, Any], folder: Path) -> None:
    """Copy the file to its place in a folder, unless it is there."""
    target = folder / pin["file"]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        shutil.copyfile(file, part)
        part.replace(target)
    fetch.verify(target, pin)


def upload(file: Path, pin: dict[str, Any], store: str) -> None:
    """Upload the file to its place in a bucket, unless it is there; never over another."""
    from google.api_core.exceptions import Forbidden, PreconditionFailed
    from google.cloud import storage

    uri = fetch.source(pin, store)
    try:
        blob = storage.Blob.from_uri(uri, client=storage.Client())
        blob.chunk_size = 1 << 20  # so that the progress bar moves
        if not blob.exists():
            bar = {"total": pin["bytes"], "unit": "B", "unit_scale": True, "desc": uri}
            published_meanwhile = contextlib.suppress(PreconditionFailed)
            with file.open("rb") as stream, tqdm.wrapattr(stream, "read", **bar) as read, published_meanwhile:
                blob.upload_from_file(read, size=pin["bytes"], if_generation_match=0)
        blob.reload()
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    except Forbidden as error:
        raise ModelUnavailable(
            f"{uri}: forbidden: you need roles/storage.objectUser on the bucket"
        ) from error
    except Exception as error:  # the client raises its own, requests' and google.auth's errors
        raise ModelUnavailable(f"{uri}: {download.cause(error)}") from error
    if blob.size != pin["bytes"] or blob.md5_hash != base64.b64encode(content.digest()).decode():
        raise ModelUnavailable(f"{uri}: the store holds another file of this name; it is left as it is")


def check(names: list[str], store: str, root: Path = ROOT) -> int:
    """Compare each pinned file in the store with its pin; the number of those that differ."""
    failures = 0
    for name in names:
        pin = fetch.read_pin(root / "functions" / name / "model.json")
        try:
            if store.startswith("gs://"):
                with tempfile.TemporaryDirectory() as folder:
                    copied = Path(folder, Path(pin["file"]).name)
                    download.download(fetch.source(pin, store), copied, pin, PATIENCE)
            else:
                fetch.fetch(pin, store)
        except ModelUnavailable as error:
            failures += 1
            print(f"{name}: {error}")
        else:
            print(f"{name}: {fetch.source(pin, store)} is the pinned file, version {pin['version']}")
    return failures


if __name__ == "__main__":
    main()
