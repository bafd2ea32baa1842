"""The classifier protocol, and the one loop that calls it: decode, predict, encode."""

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from . import budget, logs
from .errors import ServiceError, Unexpected
from .pin import Pin
from .timing import span
from .turns import turn

Raw = TypeVar("Raw")
Raw_contra = TypeVar("Raw_contra", contravariant=True)
Input = TypeVar("Input")
Output = TypeVar("Output")
Given = TypeVar("Given")
Result = TypeVar("Result")

ROUNDING = 5e-7
"""The largest rounding error of a probability with six digits."""

Answer = dict[str, Any]
"""The answer for one input: `label`, `probabilities` by label, and the classifier's further fields."""


class Classifier(Protocol[Raw_contra, Input, Output]):
    """A loaded model. Any number of threads may call it at once.

    `Raw` is what a reader returns (bytes, a text, a row), `Input` is the model's input, `Output` its output.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the model's outputs."""

    def decode(self, raw: Raw_contra) -> Input:
        """Turn a raw input into an input of the model; raises `ServiceError` if it is bad."""

    def predict(self, batch: Sequence[Input]) -> Sequence[Output]:
        """Predict for each input, in order; the batch is not empty."""

    def encode(self, output: Output, explain: bool) -> Answer:
        """Return `label` and `probabilities`, and with `explain` an `explanation` (None if there is none)."""

    def sample(self) -> Input:
        """Return a valid input, for a trial prediction."""


T_co = TypeVar("T_co", covariant=True)


class Loader(Protocol[T_co]):
    """Makes a classifier from a model file."""

    def prepare(self, pin: Pin) -> None:
        """Import what `load` will need, while the file is being downloaded."""

    def load(self, content: bytes, pin: Pin) -> T_co:
        """Load the verified bytes of the pinned file; raises `ModelUnavailable`."""


def classify(
    classifier: Classifier[Raw, Input, Output],
    raws: Sequence[Raw | ServiceError],
    explain: bool,
    check: Callable[[], None] = lambda: None,
) -> list[Answer | ServiceError]:
    """Return an answer or an error for each raw input, in the same order.

    The good inputs are predicted together. If that fails, each is predicted alone, so that the others get
    their answers even if the model cannot handle one. `check` is called before each step; it raises if the
    client has left or the deadline has passed.
    """
    inputs: list[Input | ServiceError] = []
    budget.expect(len(raws))
    with span("decode"):
        for raw in raws:
            check()
            inputs.append(_attempt(classifier.decode, raw))
    check()
    with span("predict"), turn():
        outputs = _predict(classifier, inputs)
    with span("encode"), turn():
        return [
            _attempt(lambda output: checked(classifier.encode(output, explain)), each) for each in outputs
        ]


def _predict(
    classifier: Classifier[Raw, Input, Output], inputs: Sequence[Input | ServiceError]
) -> list[Output | ServiceError]:
    good = [each for each in inputs if not isinstance(each, ServiceError)]
    if len(good) > 1:
        try:
            outputs = iter(classifier.predict(good))
            return [each if isinstance(each, ServiceError) else next(outputs) for each in inputs]
        except Exception as error:
            logs.write("WARNING", f"{len(good)} inputs fail together ({error!r}); trying each alone")
    return [_attempt(lambda one: classifier.predict([one])[0], each) for each in inputs]


def _attempt(step: Callable[[Given], Result], value: Given | ServiceError) -> Result | ServiceError:
    """Apply a step to a value; return the error if the step fails, or if the value is an error already."""
    if isinstance(value, ServiceError):
        return value
    try:
        return step(value)
    except ServiceError as error:
        return error
    except Exception as error:
        return Unexpected(f"{type(error).__name__}: {error}", traceback.format_exc())


def checked(answer: Answer) -> Answer:
    """Return the answer if its probabilities are valid.

    Raises:
        ValueError: they are not finite numbers from 0 to 1 that sum to 1, within the precision of float32 and
            of the six digits that each is rounded to.
    """
    probabilities: Mapping[str, float] = answer["probabilities"]
    values = probabilities.values()
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in values) or not math.isclose(
        sum(values), 1, abs_tol=1e-4 + ROUNDING * len(values)
    ):
        raise ValueError(f"the model's output is no probability: {dict(probabilities)}")
    if answer["label"] not in probabilities:
        raise ValueError(f"the model's label {answer['label']!r} has no probability")
    return answer


def verdict(labels: Sequence[str], probabilities: Sequence[float], threshold: float | None = None) -> Answer:
    """Choose the label, and round the probabilities to six digits.

    Args:
        labels: two or more.
        probabilities: one for each label; they sum to 1.
        threshold: with two labels, the second one is chosen if its probability is at least this. Without
            a threshold, the most probable label is chosen; of equal ones the first, as with `argmax`.
    """
    if len(labels) == 2 and threshold is not None:
        best = int(probabilities[1] >= threshold)
    else:
        best = max(range(len(labels)), key=probabilities.__getitem__)
    rounded = {label: round(float(value), 6) for label, value in zip(labels, probabilities, strict=True)}
    return {"label": labels[best], "probabilities": rounded}
