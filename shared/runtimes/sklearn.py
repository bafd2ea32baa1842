"""scikit-learn models as `joblib.dump` or `pickle.dump` wrote them."""

import contextlib
import importlib
import io
import warnings
from typing import Any

import numpy as np

from ..errors import ModelUnavailable
from ..pin import Pin
from .outputs import Floats, logistic, softmax

_REQUIREMENT = {"sklearn": "scikit-learn"}


def prepare(pin: Pin) -> None:
    """Import what `load` will need, if it is installed."""
    if pin.format == "joblib":
        with contextlib.suppress(ImportError):
            importlib.import_module("sklearn.pipeline")


class Model:
    """A pipeline or classifier, or a pair (vectoriser, classifier). Any number of threads may use it."""

    def __init__(self, content: bytes, pin: Pin) -> None:
        """Load the verified bytes of a pickled model. Loading runs code of the file.

        Raises:
            ModelUnavailable: a package is missing or of another version, or it is no fitted classifier with
                as many classes as the pin has labels.
        """
        if pin.format != "joblib":
            raise ModelUnavailable(f"{pin.file}: expected the format joblib; got {pin.format!r}")
        loaded = _unpickle(content, pin.file)
        pair = isinstance(loaded, tuple | list) and len(loaded) == 2 and hasattr(loaded[0], "transform")
        self._vectoriser: Any = loaded[0] if pair else None
        self._model: Any = loaded[1] if pair else loaded
        if not any(hasattr(self._model, name) for name in ("predict_proba", "decision_function")):
            raise ModelUnavailable(
                f"{pin.file} holds a {type(loaded).__name__}: expected a scikit-learn pipeline with "
                "predict_proba or decision_function, or a pair (vectoriser, classifier)"
            )
        classes = list(getattr(self._model, "classes_", ()))
        if len(classes) != len(pin.labels):
            raise ModelUnavailable(
                f"{pin.file}: expected a fitted classifier of the {len(pin.labels)} classes that model.json "
                f"labels; it has {len(classes)}"
            )
        names = [str(each) for each in classes]
        if set(names) == set(pin.labels) and tuple(names) != pin.labels:
            raise ModelUnavailable(f"{pin.file}: its classes are {names}; model.json has {list(pin.labels)}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns it was trained on; x0, x1, ... if it knows only their number."""
        first = self._vectoriser if self._vectoriser is not None else self._model
        names = getattr(first, "feature_names_in_", None)
        if names is not None:
            return tuple(map(str, names))
        return tuple(f"x{place}" for place in range(int(getattr(first, "n_features_in_", 0))))

    def probabilities(self, inputs: Any) -> Floats:
        """Probabilities of the classes, shape (n, classes); of a model without any, uncalibrated ones.

        `inputs` is whatever the model takes: a sequence of texts, or numbers of shape (n, columns).
        """
        if self._vectoriser is not None:
            inputs = self._vectoriser.transform(inputs)
        if hasattr(self._model, "predict_proba"):
            return np.asarray(self._model.predict_proba(inputs), dtype=np.float64)
        scores = np.asarray(self._model.decision_function(inputs), dtype=np.float64)
        if scores.ndim == 1:
            second = logistic(scores)
            return np.stack([1 - second, second], axis=1)
        return softmax(scores)


def _unpickle(content: bytes, file: str) -> Any:
    try:
        import joblib
        from sklearn.exceptions import InconsistentVersionWarning

        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            return joblib.load(io.BytesIO(content))
    except ModuleNotFoundError as error:
        package = _REQUIREMENT.get(str(error.name).split(".")[0], error.name)
        raise ModelUnavailable(
            f"{file} needs the package {package}: add it to the function's requirements.txt"
        ) from error
    except Exception as error:
        raise ModelUnavailable(_why_unreadable(file, error)) from error


def _why_unreadable(file: str, error: Exception) -> str:
    written = getattr(error, "original_sklearn_version", None)
    if written:
        here = getattr(error, "current_sklearn_version", "another")
        return (
            f"{file} was written with scikit-learn {written}, here is {here}: pin scikit-learn=={written} "
            "in the function's requirements.txt, or dump the model anew"
        )
    return f"{file} is not a model that joblib.dump wrote ({type(error).__name__}: {error})"
