"""Call classifiers without HTTP: the pin of a model file, and an answer or an error for each input."""

import hashlib
from pathlib import Path
from typing import Any

from shared.classifier import classify
from shared.errors import ServiceError
from shared.pin import Input, Pin
from shared.settings import Settings

FORMATS = {".tflite": "tflite", ".keras": "keras", ".h5": "h5", ".npz": "linear", ".joblib": "joblib"}
SETTINGS = Settings()


def pin_of(path: Path, labels: Any, size: Any = None, **more: Any) -> Pin:
    """Return a pin of the file."""
    content = path.read_bytes()
    about = {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": max(len(content), 1),
        "format": FORMATS.get(path.suffix, "linear"),
        "version": "test",
        "labels": tuple(labels),
        **({"input": Input(size=size)} if size else {}),
    }
    return Pin(**{**about, **more})


def load(loader: Any, path: Path, labels: Any, **more: Any) -> Any:
    """Load the classifier of a model file; raises `ModelUnavailable`."""
    return loader.load(path.read_bytes(), pin_of(path, labels, **more))


def answer(classifier: Any, raw: Any, explain: bool = False) -> dict[str, Any]:
    """Return the answer to one input; raises its error."""
    [found] = classify(classifier, [raw], explain)
    if isinstance(found, ServiceError):
        raise found
    return found


def second_probabilities(classifier: Any, inputs: Any) -> list[float]:
    """Return the second label's probability in the answer to each input."""
    return [list(answer(classifier, each)["probabilities"].values())[1] for each in inputs]


def labels_of(classifier: Any, inputs: Any) -> list[str]:
    """Return the label of each input."""
    return [answer(classifier, each)["label"] for each in inputs]
