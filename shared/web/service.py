"""What the endpoint knows about one function."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..classifier import Classifier
from ..pin import Pin
from ..settings import Settings
from .readers import Reader


class LazyClassifier(Protocol):
    """Returns the classifier, and loads it first if it is not in memory."""

    @property
    def ready(self) -> bool: ...

    def __call__(self) -> Classifier[Any, Any, Any]: ...


@dataclass(frozen=True)
class Service:
    """One function.

    Attributes:
        name: the function's name, which is part of every answer.
        pin: its `model.json`.
        settings: those of the environment.
        path: the path that classifies, besides `/`.
        reader: reads the inputs of a request.
        classifier: the model, loaded when first called; `ready` says whether it is in memory.
        key: the field of an answer that holds the label.
        folder: the folder with its `example.json` and `page.html`.
        explanation: the JSON schema of an explanation, if the classifier gives one.
        fields: the JSON schemas of further fields of an answer, by name.
    """

    name: str
    pin: Pin
    settings: Settings
    path: str
    reader: Reader
    classifier: LazyClassifier
    key: str
    folder: Path
    explanation: Mapping[str, Any] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, str]:
        """Name and version."""
        return {"name": self.name, "version": self.pin.version}

    @property
    def stamp(self) -> dict[str, Any]:
        """What is added to every response: `model`.

        It is empty on Vertex AI, which adds a field `model` of its own.
        """
        return {} if self.settings.vertex else {"model": self.model}

    @property
    def about(self) -> dict[str, Any]:
        """The status, for programs."""
        pin, settings = self.pin, self.settings
        return {
            "error": "0",
            "message": "Successful",
            "status": "alive",
            "model": {
                **self.model,
                "trained": pin.trained,
                "labels": pin.labels,
                "threshold": pin.decision_threshold if len(pin.labels) == 2 else None,
                "metrics": dict(pin.metrics),
            },
            "ready": self.classifier.ready,
            "max_instances": settings.max_instances,
            "max_body_bytes": settings.max_body,
        }
