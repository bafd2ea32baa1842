"""Classifiers of tables: a scikit-learn model over numeric columns, of any number of labels."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..classifier import Answer, verdict
from ..errors import ModelUnavailable, Unusable
from ..pin import Pin
from . import sklearn
from .outputs import Floats

Row = Mapping[str, Any] | Sequence[Any]
"""Values by the names of their columns, or in the model's order."""


class Classifier:
    """A loaded table model. Any number of threads may use it at once.

    Attributes:
        columns: the columns' names, in the model's order.
        takes_missing: whether a value may be missing.
    """

    def __init__(self, model: sklearn.Model, pin: Pin) -> None:
        """Serve `model` as `pin` says.

        Raises:
            ModelUnavailable: the pin's columns are not the model's, or nobody says how many there are.
        """
        self.labels = pin.labels
        self.columns = model.columns or pin.input.columns or tuple(f"x{n}" for n in range(model.width))
        self._model = model
        self._pin = pin
        if not self.columns:
            raise ModelUnavailable(
                f"{pin.file}: the model does not say which columns it takes: if it takes rows of numbers, "
                """give their names, 'columns=["age","dose"]'"""
            )
        if model.width and model.width != len(self.columns):
            raise ModelUnavailable(
                f"{pin.file}: input.columns names {len(self.columns)}; the model takes {model.width}"
            )
        if pin.input.columns and pin.input.columns != self.columns:
            raise ModelUnavailable(
                f"{pin.file}: input.columns are {', '.join(pin.input.columns)}; "
                f"the model's are {', '.join(self.columns)}"
            )
        # The model is given numbers without names, in its own order.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        self._named = False
        try:
            self._probe(0.0)
        except ModelUnavailable as error:
            if "dataframe" not in str(error).casefold():
                raise
            self._named = True  # it chooses columns by their names
            self._probe(0.0)
        self.takes_missing = self._takes_missing()

    def _probe(self, value: float) -> Floats:
        """Predict on a row of this value; raises `ModelUnavailable` if that is not possible."""
        try:
            return self._model.probabilities(self._table([np.full(len(self.columns), value)]))
        except ModelUnavailable:
            raise
        except Exception as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
            raise ModelUnavailable(
                f"{self._pin.file} cannot classify a row of numbers ({type(error).__name__}: {reason})"
            ) from error

    def _table(self, batch: Sequence[Floats]) -> Any:
        """The rows as the model takes them: numbers, or a data frame if it asks for columns by name."""
        values = np.stack(batch)
        if not self._named:
            return values
        try:
            import pandas
        except ImportError as error:
            raise ModelUnavailable(
                f"{self._pin.file} cannot classify rows without names: add pandas to the function's "
                "requirements.in"
            ) from error
        return pandas.DataFrame(values, columns=list(self.columns))

    prepare = staticmethod(sklearn.prepare)

    @classmethod
    def load(cls, content: bytes, pin: Pin) -> "Classifier":
        """Load the verified bytes of a pickled model; raises `ModelUnavailable`."""
        return cls(sklearn.load(content, pin), pin)

    def decode(self, raw: Row) -> Floats:
        """Put a row's values into the model's order, shape (columns,), float64.

        Raises:
            Unusable: a column is missing or not numeric; the message names it. Others are ignored.
        """
        if not isinstance(raw, Mapping):
            if len(raw) != len(self.columns):
                raise Unusable(f"expected {len(self.columns)} values; this row has {len(raw)}")
            raw = dict(zip(self.columns, raw, strict=True))
        if missing := [name for name in self.columns if name not in raw]:
            raise Unusable(f"expected the columns {', '.join(self.columns)}; {missing[0]!r} is missing")
        return np.array([self._number(name, raw[name]) for name in self.columns], dtype=np.float64)

    def _number(self, name: str, value: Any) -> float:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if self.takes_missing:
                return math.nan
            raise Unusable(f"expected a number in the column {name!r}; it is empty")
        try:
            number = float(value) if isinstance(value, int | float) else math.inf
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise Unusable(f"expected a number in the column {name!r}; got {str(value)[:50]!r}")
        return number

    def sample(self) -> Floats:
        """Return a row of zeros."""
        return np.zeros(len(self.columns))

    def predict(self, batch: Sequence[Floats]) -> list[Floats]:
        """Probabilities of the labels, shape (labels,), for each row."""
        return list(self._model.probabilities(self._table(batch)))

    def encode(self, output: Floats, explain: bool) -> Answer:
        """Say the label and the probabilities; there is no explanation."""
        answer = verdict(self.labels, output.tolist(), self._pin.decision_threshold)
        return {**answer, "explanation": None} if explain else answer

    def _takes_missing(self) -> bool:
        try:
            found = self._probe(math.nan)
        except Exception:
            return False
        return bool(np.isfinite(found).all())
