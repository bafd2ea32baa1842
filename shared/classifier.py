"""What a classifier is, and the one loop through which it is always asked: decode, predict, encode."""

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
"""How far a probability of six digits may be from the exact one."""

Answer = dict[str, Any]
"""`label`, `probabilities` by label, and what else the classifier says of one input."""


class Classifier(Protocol[Raw_contra, Input, Output]):
    """A loaded model. Any number of threads may call it at once.

    `Raw` is what a reader gives (bytes, a text, a row), `Input` what the model takes, `Output` what it says.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the model's outputs."""

    def decode(self, raw: Raw_contra) -> Input:
        """Make one input of what a reader gave; raises `ServiceError` if it is bad."""

    def predict(self, batch: Sequence[Input]) -> Sequence[Output]:
        """Predict for each input, in order; the batch is not empty."""

    def encode(self, output: Output, explain: bool) -> Answer:
        """Say `label` and `probabilities`, and with `explain` an `explanation` (None if there is none)."""

    def sample(self) -> Input:
        """Return something to predict on."""


T_co = TypeVar("T_co", covariant=True)


class Loader(Protocol[T_co]):
    """Makes a classifier of a model file."""

    def prepare(self, pin: Pin) -> None:
        """Import what `load` will need, while the file is being fetched."""

    def load(self, content: bytes, pin: Pin) -> T_co:
        """Load the verified bytes of the pinned file; raises `ModelUnavailable`."""


def classify(
    classifier: Classifier[Raw, Input, Output],
    raws: Sequence[Raw | ServiceError],
    explain: bool,
    check: Callable[[], None] = lambda: None,
) -> list[Answer | ServiceError]:
    """Answer each raw input in its place, or say there what is wrong with it.

    The good ones are predicted together. If that fails, each is tried alone, so that an input which the
    model cannot take harms no other. Before each step `check` is called, which raises if nobody waits for
    the answer any more.
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
            found = iter(classifier.predict(good))
            return [each if isinstance(each, ServiceError) else next(found) for each in inputs]
        except Exception as error:
            logs.write("WARNING", f"{len(good)} inputs fail together ({error!r}); trying each alone")
    return [_attempt(lambda one: classifier.predict([one])[0], each) for each in inputs]


def _attempt(step: Callable[[Given], Result], value: Given | ServiceError) -> Result | ServiceError:
    """Take one step with one value, or pass on what is wrong with it."""
    if isinstance(value, ServiceError):
        return value
    try:
        return step(value)
    except ServiceError as error:
        return error
    except Exception as error:
        return Unexpected(f"{type(error).__name__}: {error}", traceback.format_exc())


def checked(answer: Answer) -> Answer:
    """Return the answer if its probabilities are some.

    Raises:
        ValueError: they are not finite numbers from 0 to 1 that sum to 1, to the precision of float32 and of
            the six digits that each is rounded to.
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
    """Name the label of these probabilities, and round them to six digits.

    Args:
        labels: two or more.
        probabilities: one for each label; they sum to 1.
        threshold: with two labels, the probability of the second from which on it is the answer. Without
            one, the answer is the most probable label, and of equal ones the first, as with `argmax`.
    """
    if len(labels) == 2 and threshold is not None:
        best = int(probabilities[1] >= threshold)
    else:
        best = max(range(len(labels)), key=probabilities.__getitem__)
    rounded = {label: round(float(value), 6) for label, value in zip(labels, probabilities, strict=True)}
    return {"label": labels[best], "probabilities": rounded}
