"""Make the callable that the platform calls, from a function's folder, a reader and a runtime.

A function's `main.py` is two calls:

    fetch(__file__)  # the model is fetched while the modules below are imported
    ...
    predict = start(__file__, name="digits", reads=Images("image"), model=images.Classifier, key="digit")
"""

import contextlib
import ctypes
import gc
import hashlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Request, Response

from . import logs, timing
from .classifier import Classifier, Loader
from .errors import ModelUnavailable
from .pin import CODE_FORMATS, Pin, PinError
from .settings import SettingError, Settings
from .store import fetch as store
from .store.lazy import Lazy, warm_up
from .timing import span
from .web import worker
from .web.endpoint import serve
from .web.readers import Reader
from .web.service import Service

RESERVED = r"/health|/ready|/openapi\.json|/bigquery|/v[12](/.*)?"
"""Paths that every function has already."""


def fetch(file: str) -> None:
    """Start to download the model that is pinned in the `model.json` beside `file`.

    Exits with one line if the pin or a setting is not valid.
    """
    _speed_up_imports()
    store.prefetch(*_read(Path(file).parent))


def start(
    file: str,
    *,
    name: str,
    reads: Reader,
    model: Loader[Classifier[Any, Any, Any]],
    key: str,
    path: str = "/predict",
    explanation: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
) -> Callable[[Request], Response]:
    """Make the function that the platform calls.

    Args:
        file: the `__file__` of its main.py; the same folder holds `model.json`, `example.json` and perhaps
            `page.html`.
        name: the function's name, which is in every answer.
        reads: the reader of its requests.
        model: the loader, which makes a classifier from the model file.
        key: the response field that holds the label.
        path: the path that classifies, beside `/`.
        explanation: the JSON schema of an answer's `explanation`, if the classifier gives one.
        fields: the JSON schemas of the classifier's further response fields, by name.

    Exits with one line if the path, the pin or a setting is not valid.
    """
    if not re.fullmatch(r"(/[\w.-]+)+", path) or re.fullmatch(RESERVED, path):
        sys.exit(f"{file}: path: expected one of the function's own, such as /predict; got {path!r}")
    folder = Path(file).parent
    _bound_heap()
    pin, settings = _read(folder, max_instances=reads.max_instances)
    classifier = Lazy(lambda: load(pin, settings, model))
    logs.capture()
    if settings.warm_up:
        warm_up(classifier)
    service = Service(
        name=name,
        pin=pin,
        settings=settings,
        path=path,
        reader=reads,
        classifier=classifier,
        key=key,
        folder=folder,
        explanation=explanation,
        fields=fields or {},
    )
    predict = serve(service)
    vars(predict)["service"] = service  # `models.publish` examines a model through it
    worker.install(predict)
    store.join(pin, settings)  # no thread survives the fork that follows
    gc.freeze()  # everything imported so far stays, so no collection need inspect it
    gc.enable()
    return predict


def _speed_up_imports() -> None:
    """Speed up the imports by a fifth: no garbage collection, and no BLAS threads.

    Imports leave hardly any garbage. numpy's BLAS would start a thread for each core, which spins while it
    waits for work.
    """
    gc.disable()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _bound_heap() -> None:
    """Keep little free memory: use two malloc arenas, and return blocks of over a megabyte at once.

    By default glibc keeps up to 64 MB in each of eight arenas for each core: see M_ARENA_MAX in mallopt(3).
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(-3, 1_000_000)
        library.mallopt(-8, 2)


def load(pin: Pin, settings: Settings, model: Loader[Classifier[Any, Any, Any]]) -> Classifier[Any, Any, Any]:
    """Fetch, verify and load the pinned model, and log how long each took.

    Raises:
        ModelUnavailable: the model cannot be loaded; the message says why.
    """
    with timing.collected() as seconds:
        with span("import"):
            model.prepare(pin)
        content = store.fetch(pin, settings)
        with span("load"):
            classifier = model.load(content, pin)
    if classifier.labels != pin.labels:
        raise ModelUnavailable(f"the model's labels are {classifier.labels}; model.json says {pin.labels}")
    logs.write(
        "INFO",
        f"model loaded: {pin.file}",
        version=pin.version,
        source=store.source(pin, settings.model_store),
        bytes=pin.bytes,
        seconds={name: round(value, 4) for name, value in seconds.items()},
    )
    return classifier


def _read(folder: Path, **defaults: Any) -> tuple[Pin, Settings]:
    try:
        pin, settings = Pin.read(folder / "model.json"), Settings.read(**defaults)
        if pin.format in CODE_FORMATS and not settings.allow_code:
            raise SettingError(
                f"ALLOW_CODE_IN_MODELS=0: {folder / 'model.json'} pins the format {pin.format!r}, "
                "which can run code while it is loaded"
            )
        _check_modules(folder, pin)
    except ValueError as error:
        sys.exit(str(error))
    return pin, settings


def _check_modules(folder: Path, pin: Pin) -> None:
    """Compare the modules that a pickled model imports with their digests in the pin.

    Raises:
        PinError: one is missing or has changed.
    """
    for file, digest in pin.modules.items():
        path = folder / file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise PinError(
                f"{path}: {'changed since' if path.is_file() else 'missing, though'} it was pinned with the "
                f"model: publish the model again, with --with {file}"
            )
