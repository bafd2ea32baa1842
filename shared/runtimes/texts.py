"""Text classifiers: a scikit-learn pipeline over texts, of any number of labels."""

from collections.abc import Sequence

from ..classifier import Answer, verdict
from ..errors import ModelUnavailable
from ..pin import Pin
from . import sklearn
from .outputs import Floats


class Classifier:
    """A loaded text model. Any number of threads may call it at once."""

    def __init__(self, model: sklearn.Model, pin: Pin) -> None:
        """Serve `model` with the settings in `pin`.

        Raises:
            ModelUnavailable: the model cannot classify a text.
        """
        self.labels = pin.labels
        self._model = model
        self._pin = pin
        try:
            self.predict([self.sample()])
        except ModelUnavailable:
            raise
        except Exception as error:
            if not model.joined:
                raise ModelUnavailable(
                    f"{pin.file} holds a classifier without its vectoriser, which cannot read a text: join "
                    f"the two, and publish that:\n{sklearn.JOIN}"
                ) from error
            reason = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
            raise ModelUnavailable(
                f"{pin.file} cannot classify a text ({type(error).__name__}: {reason}): "
                "expected a pipeline that takes a list of texts"
            ) from error

    prepare = staticmethod(sklearn.prepare)

    @classmethod
    def load(cls, content: bytes, pin: Pin) -> "Classifier":
        """Load the verified bytes of a pickled pipeline; raises `ModelUnavailable`."""
        return cls(sklearn.load(content, pin), pin)

    def decode(self, raw: str) -> str:
        """Return the text itself."""
        return raw

    def sample(self) -> str:
        """Return a text for a trial prediction."""
        return "A short text."

    def predict(self, batch: Sequence[str]) -> list[Floats]:
        """Return the probabilities of the labels, shape (labels,), for each text."""
        return list(self._model.probabilities(list(batch)))

    def encode(self, output: Floats, explain: bool) -> Answer:
        """Return the label and the probabilities; there is no explanation."""
        answer = verdict(self.labels, output.tolist(), self._pin.threshold)
        return {**answer, "explanation": None} if explain else answer
