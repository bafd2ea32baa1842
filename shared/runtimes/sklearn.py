"""scikit-learn models that `joblib.dump` or `pickle.dump` wrote."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import re
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelUnavailable
from ..pin import Pin
from .outputs import Floats, logistic, softmax

PACKAGES = {
    "bs4": "beautifulsoup4",
    "catboost": "catboost",
    "category_encoders": "category-encoders",
    "cloudpickle": "cloudpickle",
    "contractions": "contractions",
    "dill": "dill",
    "emoji": "emoji",
    "feature_engine": "feature-engine",
    "ftfy": "ftfy",
    "gensim": "gensim",
    "imblearn": "imbalanced-learn",
    "jieba": "jieba",
    "joblib": "joblib",
    "lightgbm": "lightgbm",
    "mlxtend": "mlxtend",
    "nltk": "nltk",
    "pandas": "pandas",
    "polars": "polars",
    "regex": "regex",
    "scipy": "scipy",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
    "skops": "skops",
    "skorch": "skorch",
    "snowballstemmer": "snowballstemmer",
    "spacy": "spacy",
    "statsmodels": "statsmodels",
    "textblob": "textblob",
    "torch": "torch",
    "transformers": "transformers",
    "umap": "umap-learn",
    "unidecode": "Unidecode",
    "xgboost": "xgboost",
}
"""Modules that pickled models import, and their packages. Any other module may be the user's own."""
NETWORKS = ("keras", "scikeras", "tensorflow")
"""Modules of Keras networks, which must not be pickled."""
LZ4 = b"\x04\x22\x4d\x18"
JOIN = (
    "  from sklearn.pipeline import make_pipeline\n"
    '  joblib.dump(make_pipeline(vectoriser, classifier), "model.joblib")'
)


def prepare(pin: Pin) -> None:
    """Import what `load` will need, if it is installed."""
    if pin.format == "joblib":
        with contextlib.suppress(Exception):  # `load` reports it
            importlib.import_module("sklearn.pipeline")


class Model:
    """A pipeline or classifier, alone or with its vectoriser and its LabelEncoder. Threads may share it.

    Attributes:
        classes: the names of the classes, in the order of the outputs; numbers become texts.
        named: whether the classes are names rather than numbers.
        threshold: the model's own threshold for the probability of the second class, if it has one.
    """

    def __init__(self, content: bytes, file: str) -> None:
        """Load the verified bytes of a pickled model; `file` is its name. Loading runs code of the file.

        Raises:
            ModelUnavailable: a package is missing or has another version, or the model is not a fitted
                classifier.
        """
        loaded = _unpickle(content, file)
        self._vectoriser, self._model, encoder = _parts(loaded, file)
        classes = getattr(self._model, "classes_", None)
        if isinstance(classes, list) and any(np.ndim(each) for each in classes):
            raise ModelUnavailable(f"{file} gives {len(classes)} answers at once: expected one classifier")
        if classes is None or np.ndim(classes) != 1 or len(classes) < 2:
            raise ModelUnavailable(
                f"{file}: expected a fitted classifier of two classes or more; this "
                f"{type(self._model).__name__} has {'none' if classes is None else list(classes)}"
            )
        _check_one_answer(self._model, len(classes), file)
        self.threshold = _threshold(self._model, list(classes), file)
        if encoder is not None:
            classes = _decoded(encoder, classes, file)
        self.classes = tuple(map(_class_name, classes))
        self.named = not all(isinstance(each, int | float | np.number | np.bool_) for each in classes)

    @property
    def joined(self) -> bool:
        """Whether there is a vectoriser or a pipeline, not only a classifier."""
        inner = getattr(self._model, "best_estimator_", getattr(self._model, "estimator", self._model))
        return self._vectoriser is not None or hasattr(inner, "steps")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that it was trained on; empty if the file does not have them."""
        return tuple(map(str, getattr(self._first, "feature_names_in_", ())))

    @property
    def width(self) -> int:
        """The number of columns that it was trained on; 0 if the file does not have it."""
        return int(getattr(self._first, "n_features_in_", 0))

    def categories(self, columns: Sequence[str], only_strict: bool = False) -> dict[str, list[Any]]:
        """Return the values that its encoders know for each column, by column name.

        With `only_strict`, only those of encoders that fail for any other value and get the column unchanged.
        """
        known: dict[str, list[Any]] = {}
        for part, chosen in _column_parts(self._first, columns):
            encoder = next((each for each in _steps(part) if hasattr(each, "categories_")), None)
            if only_strict and not (encoder is not None and _is_strict(encoder, _steps(part))):
                continue
            if encoder is not None and len(encoder.categories_) == len(chosen):
                known |= {name: list(each) for name, each in zip(chosen, encoder.categories_, strict=True)}
        return known

    @property
    def _first(self) -> Any:
        return self._vectoriser if self._vectoriser is not None else self._model

    def probabilities(self, inputs: Any) -> Floats:
        """Return probabilities, shape (n, classes); uncalibrated if the model has no `predict_proba`.

        `inputs` is what the model takes: a sequence of texts, or numbers of shape (n, columns).
        """
        if self._vectoriser is not None:
            inputs = self._vectoriser.transform(inputs)
        name = "predict_proba" if hasattr(self._model, "predict_proba") else "decision_function"
        scores = np.asarray(getattr(self._model, name)(inputs), dtype=np.float64)
        if name == "decision_function" and scores.ndim == 1:
            second = logistic(scores)
            return np.stack([1 - second, second], axis=1)
        if scores.ndim != 2 or scores.shape[1] != len(self.classes):
            raise ModelUnavailable(
                f"{name} of the {type(self._model).__name__} gives the shape {('n', *scores.shape[1:])}: "
                f"expected a column for each of its {len(self.classes)} classes"
            )
        return scores if name == "predict_proba" else softmax(scores)


def _where_to_publish(form: str) -> str:
    """Say what to do with a file of another format."""
    if form == "linear":
        return "an .npz file is read only by the function it was trained for; publish a pickled pipeline"
    return "publish a network in a function that reads images"


def load(content: bytes, pin: Pin) -> Model:
    """Load the pinned model.

    Raises:
        ModelUnavailable: `Model` raises it, or the model's classes do not match the labels in the pin.
    """
    if pin.format != "joblib":
        raise ModelUnavailable(
            f"{pin.file}: this function runs scikit-learn models (.joblib, .pkl, .pickle), not the format "
            f"{pin.format!r}: {_where_to_publish(pin.format)}"
        )
    model = Model(content, pin.file)
    if len(model.classes) != len(pin.labels):
        raise ModelUnavailable(
            f"{pin.file}: expected {len(pin.labels)} classes, as model.json has labels; it has "
            f"{len(model.classes)}: {', '.join(model.classes)}"
        )
    names, labels = ([_folded(each) for each in some] for some in (model.classes, pin.labels))
    if names != labels and set(names) == set(labels):
        raise ModelUnavailable(
            f"{pin.file}: its classes are {', '.join(model.classes)}, in this order; "
            f"model.json has the labels {', '.join(pin.labels)}: publish it with "
            f"--labels {','.join(model.classes)}"
        )
    return model


def _class_name(name: Any) -> str:
    """Return the name of a class as text; whole numbers without a decimal point."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def _folded(name: str) -> str:
    """Return a name for comparison: without case, and `False` and `True` as 0 and 1."""
    folded = name.strip().casefold()
    return {"false": "0", "true": "1"}.get(folded, folded)


def _decoded(encoder: Any, classes: Any, file: str) -> Any:
    """Return the LabelEncoder's names for the classes, unless the classes are these names already."""
    if set(map(str, classes)) <= set(map(str, encoder.classes_)) and isinstance(classes[0], str):
        return classes
    try:
        return encoder.inverse_transform(np.asarray(classes))
    except Exception as error:
        raise ModelUnavailable(
            f"{file}: its {type(encoder).__name__} knows {', '.join(map(str, encoder.classes_[:20]))}, the "
            f"classifier's classes are {', '.join(map(str, classes[:20]))}: "
            "expected the one it was trained with"
        ) from error


def _threshold(model: Any, classes: list[Any], file: str) -> float | None:
    """Return the threshold of a Fixed- or TunedThresholdClassifier, for the probability of the second class.

    Raises:
        ModelUnavailable: it is a threshold for a score that is not a probability.
    """
    last = next(
        (each for each in (model, _last(model)) if "ThresholdClassifier" in type(each).__name__), None
    )
    chosen = getattr(last, "best_threshold_", getattr(last, "threshold", "auto"))
    if last is None or chosen == "auto":
        return None
    inner = getattr(last, "estimator_", last.estimator)
    if last.response_method == "decision_function" or not hasattr(inner, "predict_proba"):
        raise ModelUnavailable(
            f"{file}: its {type(last).__name__} decides by decision_function: expected "
            "response_method='predict_proba', of a classifier that has it"
        )
    tuned = getattr(last, "_curve_scorer", None)
    positive = tuned._get_pos_label() if tuned is not None else last.pos_label
    first = positive is not None and positive == classes[0]
    return float(np.clip(1 - float(chosen) if first else float(chosen), 0, 1))


def _parts(loaded: Any, file: str) -> tuple[Any, Any, Any]:
    """Find the vectoriser, the classifier and the LabelEncoder; the first and the last may be None."""
    if isinstance(loaded, Mapping):
        loaded = list(loaded.values())
    parts = list(loaded) if isinstance(loaded, tuple | list) else [loaded]
    classifiers = [each for each in parts if hasattr(each, "predict") and not isinstance(each, type)]
    others = [each for each in parts if not any(each is one for one in classifiers)]
    encoders = [each for each in others if hasattr(each, "classes_") and hasattr(each, "inverse_transform")]
    vectorisers = [
        each for each in others if hasattr(each, "transform") and not any(each is one for one in encoders)
    ]
    expected = "expected a scikit-learn pipeline, or a pair (vectoriser, classifier)"
    if len(classifiers) != 1 or len(encoders) > 1 or len(vectorisers) > 1:
        raise ModelUnavailable(f"{file} holds {_names(parts)}: {expected}")
    if len(parts) != len(classifiers) + len(encoders) + len(vectorisers):
        raise ModelUnavailable(f"{file} holds {_names(parts)}: {expected}, and nothing else")
    [model] = classifiers
    if not any(hasattr(model, name) for name in ("predict_proba", "decision_function")):
        raise ModelUnavailable(
            f"{file} holds a {type(model).__name__}, which has neither predict_proba nor decision_function: "
            "expected a classifier that can say how sure it is"
        )
    return next(iter(vectorisers), None), model, next(iter(encoders), None)


def _check_one_answer(model: Any, classes: int, file: str) -> None:
    """Refuse a model that does not give one score for each class; raises `ModelUnavailable`."""
    last = _last(model)
    for name in ("label_binarizer_", "_label_binarizer"):
        if str(getattr(getattr(last, name, None), "y_type_", "")).startswith("multilabel"):
            raise ModelUnavailable(
                f"{file} gives several labels at once: expected a classifier that gives one"
            )
    # Three classes have three pairs, so the number of scores alone does not show it.
    pairs = getattr(last, "decision_function_shape", "ovr") == "ovo"
    if pairs and classes > 2 and not hasattr(model, "predict_proba"):
        raise ModelUnavailable(
            f"{file} scores pairs of classes: expected a score for each class; train it with "
            "decision_function_shape='ovr', or probability=True"
        )


def _last(model: Any) -> Any:
    """Return the classifier at the end of a pipeline or of the best pipeline of a search."""
    return _steps(model)[-1]


def _steps(model: Any) -> list[Any]:
    """Return the steps of a pipeline, or of the best one of a search; any other model is its only step."""
    model = getattr(model, "best_estimator_", model)
    return [step for _, step in model.steps] if hasattr(model, "steps") else [model]


def _is_strict(encoder: Any, steps: list[Any]) -> bool:
    """Whether an encoder fails for unknown values, and no step before it changes the values."""
    before = steps[: next(place for place, each in enumerate(steps) if each is encoder)]
    untouched = all(type(each).__name__ == "SimpleImputer" for each in before)
    return untouched and getattr(encoder, "handle_unknown", "") == "error"


def _column_parts(model: Any, columns: Sequence[str]) -> list[tuple[Any, list[str]]]:
    """Return the transformers of a ColumnTransformer with their columns, or the model with all columns."""
    head = _steps(model)[0]
    if not hasattr(head, "transformers_"):
        return [(model, list(columns))]
    places = getattr(head, "_transformer_to_input_indices", {})
    return [
        (part, [columns[place] for place in places.get(name, ())]) for name, part, _ in head.transformers_
    ]


def _names(parts: list[Any]) -> str:
    return ", ".join(type(each).__name__ for each in parts[:5]) or "nothing"


def _unpickle(content: bytes, file: str) -> Any:
    try:
        import joblib
        import sklearn.base  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModelUnavailable(_why_missing(file, str(error.name))) from error
    except Exception as error:
        raise ModelUnavailable(_why_not_imported(file, error)) from error
    try:
        with warnings.catch_warnings():
            # Before scikit-learn 1.3 this warning has no category of its own.
            warnings.filterwarnings("error", "Trying to unpickle estimator", UserWarning)
            return joblib.load(io.BytesIO(content))
    except ModuleNotFoundError as error:
        raise ModelUnavailable(_why_no_module(file, str(error.name), _wanted(error)[0])) from error
    except Exception as error:
        if content.startswith(LZ4):
            raise ModelUnavailable(
                f"{file} is compressed with lz4: add lz4 to the function's requirements.in, or dump it with "
                "joblib.dump(model, path, compress=3)"
            ) from error
        raise ModelUnavailable(_why_unreadable(file, error)) from error


def _wanted(error: Exception) -> tuple[str, str]:
    """Return the module and the name that the unpickler was looking up when it failed, or empty texts."""
    module, name = "", ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "find_class":
            module, name = str(frame.f_locals.get("module", "")), str(frame.f_locals.get("name", ""))
    return module, name


def _why_no_module(file: str, missing: str, wanted: str) -> str:
    """Say what to do about a missing module that the pickle's own module imports."""
    if wanted.startswith(f"{missing}."):
        return _why_missing(file, wanted)
    importer, top = wanted.partition(".")[0], missing.partition(".")[0]
    if importer in ("", top, *PACKAGES, *NETWORKS) or top in PACKAGES:
        return _why_missing(file, missing)
    return (
        f"{file} needs {importer}, which imports {missing}: if that is a file of your own, publish it with "
        f"--with {importer}.py {top}.py; if it is a package, add it to the function's requirements.in"
    )


def _why_missing(file: str, module: str) -> str:
    """Say what to do about a missing module, which is a package's or the user's own."""
    top = module.partition(".")[0]
    if top in NETWORKS:
        return _why_network(file)
    if top == "sklearn" and module != top:
        return _why_sklearn_differs(file, module)
    if module != top and _exists(top):
        return (
            f"{file} needs the module {module}, which the {top} here does not have: pin the version of "
            f"{PACKAGES.get(top, top)} that it was written with in the function's requirements.in"
        )
    if top in PACKAGES:
        return f"{file} needs the package {PACKAGES[top]}: add it to the function's requirements.in"
    if module != top:
        return (
            f"{file} needs the module {module}, which is in a package of your own: move what the model needs "
            "into one file, such as helper.py, import it from there, dump the model again, and publish it "
            "with --with helper.py"
        )
    return f"{file} needs the module {module}, a file of your own: publish it with --with {module}.py"


def _why_network(file: str) -> str:
    return (
        f"{file} holds a Keras network, which a pickle is no file for: save it with "
        "model.save('model.keras'), and publish that in a function that reads images"
    )


def _why_sklearn_differs(file: str, module: str) -> str:
    """Say which scikit-learn wrote the file: one before 0.24, whose modules had public names, or another."""
    here = importlib.metadata.version("scikit-learn")
    missing = module
    while missing.count(".") > 1 and not _exists(missing.rpartition(".")[0]):
        missing = missing.rpartition(".")[0]
    last = missing.rpartition(".")[2]
    if last.startswith("_") or last[0].isupper():
        return (
            f"{file} needs {module}, which is not in scikit-learn {here}: it was written with another, whose "
            "version to pin in the function's requirements.in; or dump the model again with "
            f"scikit-learn {here}"
        )
    return (
        f"{file} was written with a scikit-learn that is too old: it needs {module}, which has been gone "
        f"since 0.24 at the latest. Train it again with scikit-learn {here}, and dump that"
    )


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except Exception:
        return False


def _why_not_imported(file: str, error: Exception) -> str:
    """Say which numpy an old scikit-learn needs: versions before 1.4.2 were compiled for numpy 1."""
    sklearn, numpy = importlib.metadata.version("scikit-learn"), importlib.metadata.version("numpy")
    cause = str(error).strip().splitlines() or [type(error).__name__]
    version = tuple(int(part) for part in re.findall(r"\d+", sklearn)[:3])
    if version < (1, 4, 2) and int(numpy.partition(".")[0]) >= 2:
        return (
            f"{file}: scikit-learn {sklearn} cannot be imported with numpy {numpy}, it was made for numpy 1: "
            f"pin numpy==1.26.4 instead of numpy=={numpy} in the function's requirements.in, which works "
            f"with scikit-learn=={sklearn}; or train it again with a current scikit-learn, and dump that"
        )
    return f"{file}: scikit-learn {sklearn} cannot be imported with numpy {numpy}: {cause[0][:200]}"


def _why_unreadable(file: str, error: Exception) -> str:
    cause = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
    versions = re.match(
        r"Trying to unpickle estimator \S+ from version (\S+) when using version (\S+?)\.? ", cause
    )
    if versions:
        written, here = versions.groups()
        return (
            f"{file} was written with scikit-learn {written}, here is {here}: pin scikit-learn=={written} "
            "in the function's requirements.in, or dump the model again"
        )
    if isinstance(error, UnicodeDecodeError):
        return (
            f"{file} was written by Python 2, and cannot be read: train it again with Python 3, and dump that"
        )
    module, name = _wanted(error)
    if module and isinstance(error, AttributeError):
        return _why_not_found(file, module, name)
    return f"{file} is not a model that joblib.dump or pickle.dump wrote ({type(error).__name__}: {cause})"


def _why_not_found(file: str, module: str, name: str) -> str:
    """Say what to do about a name that is not in its module."""
    if module in ("__main__", "__mp_main__"):
        return (
            f"{file} needs {name!r}, which lives in the script or notebook that trained the model, and is "
            f"not in the file: move it into a module, helper.py, write 'from helper import {name}' in the "
            "script, dump the model again, and publish it with --with helper.py"
        )
    if module.startswith("sklearn."):
        return _why_sklearn_differs(file, f"{module}.{name}")
    top = module.partition(".")[0]
    if top in NETWORKS:
        return _why_network(file)
    if top in PACKAGES:
        return (
            f"{file} needs {name!r} from {module}, which the version here does not have: pin the version of "
            f"{PACKAGES[top]} that it was written with in the function's requirements.in"
        )
    if top in sys.stdlib_module_names or "site-packages" in str(
        getattr(sys.modules.get(top), "__file__", "")
    ):
        return (
            f"{file} needs {name!r} from the module {module}; a module {top} of Python or of a package is "
            f"imported instead of yours: rename yours to my_{top}.py, dump the model again, and publish it "
            f"with --with my_{top}.py"
        )
    return (
        f"{file} needs {name!r} from the module {module}, and the one here has no such name: "
        f"publish the file it was trained with, --with {module}.py"
    )
