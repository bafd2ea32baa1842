"""Text classifiers: a scikit-learn pipeline over texts, of any number of labels."""

from collections.abc import Sequence

from ..classifier import Answer, verdict
from ..pin import Pin
from . import sklearn
from .outputs import Floats


class Classifier:
    """A loaded text model. Any number of threads may use it at once."""

    def __init__(self, model: sklearn.Model, pin: Pin) -> None:
        self.labels = pin.labels
        self._model = model
        self._pin = pin

    prepare = staticmethod(sklearn.prepare)

    @classmethod
    def load(cls, content: bytes, pin: Pin) -> "Classifier":
        """Load the verified bytes of a pickled pipeline; raises `ModelUnavailable`."""
        return cls(sklearn.Model(content, pin), pin)

    def decode(self, raw: str) -> str:
        """Return the text itself."""
        return raw

    def sample(self) -> str:
        """Return something to predict on."""
        return "A short text."

    def predict(self, batch: Sequence[str]) -> list[Floats]:
        """Probabilities of the labels, shape (labels,), for each text."""
        return list(self._model.probabilities(list(batch)))

    def encode(self, output: Floats, explain: bool) -> Answer:
        """Say the label and the probabilities; there is no explanation."""
        answer = verdict(self.labels, output.tolist(), self._pin.decision_threshold)
        return {**answer, "explanation": None} if explain else answer
