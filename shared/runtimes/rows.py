"""Classifiers of tables: a scikit-learn model over numeric columns, of any number of labels."""

import contextlib
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
"""Values by column name, or in the model's order."""


class Classifier:
    """A loaded table model. Any number of threads may use it at once.

    Attributes:
        columns: the columns' names, in the model's order.
        takes_missing: whether a value may be missing.
    """

    def __init__(self, model: sklearn.Model, pin: Pin) -> None:
        """Serve `model` with the settings in `pin`.

        Raises:
            ModelUnavailable: the pin's columns do not match the model's, the number of columns is not known,
                or the model accepts no row of numbers.
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
        # The model gets numbers without column names, in its own order.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        self._known = model.categories(self.columns, only_strict=True)
        self._named = False
        self._sample = self._find_sample()
        self.takes_missing = self._takes_missing()

    def _find_sample(self) -> Floats:
        """Find a row that the model accepts: zeros, ones, or categories that it knows.

        Raises:
            ModelUnavailable: it accepts none of them, or a column takes texts.
        """
        categories = self._model.categories(self.columns)
        for name, known in categories.items():
            if not all(isinstance(each, int | float | np.number | np.bool_) for each in known):
                raise ModelUnavailable(
                    f"{self._pin.file}: its column {name!r} takes texts "
                    f"({', '.join(map(str, known[:5]))}): expected numbers in every column; "
                    "train it on numbers in their place, such as 0, 1, 2"
                )
        zeros = np.zeros(len(self.columns))
        known_values = np.array([categories.get(name, [1.0])[0] for name in self.columns], float)
        try:
            self._probe(zeros)
        except ModelUnavailable as error:
            # Some models select columns by name.
            self._named = "dataframe" in str(error).casefold()
            with contextlib.suppress(ModelUnavailable):
                self._probe(zeros)
                return zeros
            self._probe(known_values)
            return known_values
        return zeros

    def _probe(self, row: Floats) -> Floats:
        """Predict for a row, shape (columns,); raises `ModelUnavailable` if that fails."""
        try:
            return self._model.probabilities(self._table([row]))
        except ModelUnavailable:
            raise
        except Exception as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
            raise ModelUnavailable(
                f"{self._pin.file} cannot classify a row of numbers ({type(error).__name__}: {reason})"
            ) from error

    def _table(self, batch: Sequence[Floats]) -> Any:
        """Return the rows as the model needs them: numbers, or a data frame if it selects columns by name."""
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
            Unusable: a column is missing or not numeric; the message names it. Further columns are ignored.
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
        known = self._known.get(name, (number,))
        if number not in known:
            shown = ", ".join(map(str, known[:20]))
            raise Unusable(
                f"expected a value that the model knows in the column {name!r}, {shown}; got {number:g}"
            )
        return number

    def sample(self) -> Floats:
        """Return a row that the model accepts."""
        return self._sample

    def predict(self, batch: Sequence[Floats]) -> list[Floats]:
        """Return the probabilities of the labels, shape (labels,), for each row.

        Raises:
            Unusable: an encoder within the model does not know a value.
        """
        try:
            return list(self._model.probabilities(self._table(batch)))
        except ValueError as error:
            if "unknown categories" not in str(error):
                raise
            raise Unusable(f"expected values that the model knows: {str(error)[:300]}") from error

    def encode(self, output: Floats, explain: bool) -> Answer:
        """Return the label and the probabilities; there is no explanation."""
        answer = verdict(self.labels, output.tolist(), self._pin.threshold)
        return {**answer, "explanation": None} if explain else answer

    def _takes_missing(self) -> bool:
        try:
            probabilities = self._probe(np.full(len(self.columns), math.nan))
        except Exception:
            return False
        return bool(np.isfinite(probabilities).all())
