"""The review model: texts in, `Sentiment`s out. No HTTP, no storage.

Two formats: `linear`, the weights of our own model, read with numpy alone, and `joblib`, a
scikit-learn model as `joblib.dump` wrote it. Only the latter imports scikit-learn.
"""

import contextlib
import importlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelUnavailable

from .ngrams import Buckets, Ngrams, Span, code_points, token_spans, with_unmarked

Floats = NDArray[np.float64]
Score = Callable[[Sequence[str]], Floats]
"""Texts to the probability of the second label: float64 of shape (texts,)."""

Explain = Callable[[str], "Explanation"]
Model = tuple[Score, Explain | None]
"""What a format's loader gives."""

_REQUIREMENT = {"sklearn": "scikit-learn"}


@dataclass(frozen=True)
class Sentiment:
    """A label, and the probability of each label, unrounded."""

    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Contribution:
    """What one token adds to the log-odds; `text` is `[start:end]`, in code points, of the text as sent."""

    text: str
    start: int
    end: int
    log_odds: float


@dataclass(frozen=True)
class Explanation:
    """The log-odds of the second label, and the parts that they are the sum of.

    `intercept` is what the model says before it reads a word: of a text without tokens, all it says.
    `tokens` are in the order of the text and do not overlap; they and the intercept sum to `log_odds`.
    """

    log_odds: float
    intercept: float
    tokens: list[Contribution]


@dataclass(frozen=True)
class Linear:
    """Weights of hashed n-grams: a log-odds score that is a plain sum over a text's n-grams.

    log-odds = intercept + sum over tables of scale / sqrt(n) * sum of the weights of its n distinct
    buckets. `weights` is int8 of shape (2, 2**bits): words, characters; `scales` has shape (2,).
    """

    ngrams: Ngrams
    weights: NDArray[np.int8]
    scales: Floats
    intercept: float

    @classmethod
    def read(cls, path: Path) -> "Linear":
        """Raises: OSError, ValueError, KeyError or TypeError where `path` is not what `save` wrote."""
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            weights, scales = file["weights"], file["scales"]
        ngrams = Ngrams(tuple(about["words"]), tuple(about["chars"]), about["bits"])
        if weights.dtype != np.int8 or weights.shape != (2, ngrams.size // 2):
            raise ValueError(f"its weights are {weights.dtype} of shape {weights.shape}")
        return cls(ngrams, weights, scales, about["intercept"])

    def save(self, path: Path) -> None:
        """Write the `linear` format: an .npz without pickles, the same bytes for the same model."""
        about = {"words": self.ngrams.words, "chars": self.ngrams.chars, "bits": self.ngrams.bits}
        text = json.dumps(about | {"intercept": self.intercept})
        np.savez_compressed(path, about=text, weights=self.weights, scales=self.scales)

    def log_odds(self, text: str) -> float:
        """Log-odds of the second label against the first."""
        total = self.intercept
        table = self.weights.reshape(-1)
        for scale, buckets in zip(self.scales, self.ngrams.features(text), strict=True):
            if buckets.size:
                total += scale * table[buckets].sum(dtype=np.int64) / np.sqrt(buckets.size)
        return float(total)

    def score(self, texts: Sequence[str]) -> Floats:
        """Probability of the second label for each text."""
        return logistic(np.array([self.log_odds(text) for text in texts], dtype=np.float64))

    def explain(self, text: str) -> Explanation:
        """Share out the log-odds among the tokens of `text`, with nothing left over.

        A bucket's term is shared equally among the occurrences of its n-grams, an occurrence's share among
        the tokens it covers: see `Ngrams.shares`. A token gets its share of the unmarked line too.
        """
        codes = with_unmarked(code_points(text))
        words, chars = map(self._terms, self.scales, self.ngrams.buckets(codes))
        log_odds = float(self.intercept + words.sum() + chars.sum())
        spans = token_spans(text)
        if not spans:
            return Explanation(log_odds, log_odds, [])
        shares = self.ngrams.shares(codes, words, chars).reshape(-1, len(spans)).sum(axis=0)
        return Explanation(log_odds, self.intercept, _contributions(text, spans, shares))

    def _terms(self, scale: float, buckets: Buckets) -> Floats:
        """What each occurrence of a bucket adds to the log-odds."""
        distinct, place, counts = np.unique(buckets, return_inverse=True, return_counts=True)
        step = scale / np.sqrt(max(distinct.size, 1))
        return np.asarray((self.weights.reshape(-1)[distinct] * step / counts)[place], dtype=np.float64)


@dataclass(frozen=True)
class Classifier:
    """A loaded model. `predict` keeps no state, so any number of threads may call it."""

    score: Score
    labels: tuple[str, str]
    threshold: float
    explainer: Explain | None = None

    @staticmethod
    def prepare(pin: Mapping[str, Any]) -> None:
        """Import what `load` will read the model with, where it is installed."""
        if pin.get("format") == "joblib":
            with contextlib.suppress(ImportError):
                importlib.import_module("sklearn.pipeline")

    @classmethod
    def load(cls, path: Path, pin: Mapping[str, Any]) -> "Classifier":
        """Load `path`, whose format, labels and threshold `pin` (the parsed model.json) states.

        `labels` are in the order of the model's classes: the second one's probability is compared
        with `threshold` (0.5 where the pin has none).

        Raises:
            ModelUnavailable: unknown format, not a file of that format, or a package is missing.
        """
        loaders = {"linear": _load_linear, "joblib": _load_joblib}
        kind, labels = pin.get("format"), tuple(pin.get("labels", ()))
        if kind not in loaders:
            raise ModelUnavailable(f"format {kind!r} in model.json: expected one of {list(loaders)}")
        if len(labels) != 2:
            raise ModelUnavailable(f"labels {list(labels)} in model.json: expected two")
        score, explainer = loaders[kind](path)
        return cls(score, labels, float(pin.get("threshold", 0.5)), explainer)

    def sample(self) -> str:
        """Something to predict on."""
        return "A film."

    def predict(self, texts: Sequence[str]) -> list[Sentiment]:
        """One `Sentiment` per text, in order."""
        return [self._sentiment(float(p)) for p in self.score(texts)] if len(texts) else []

    def explain(self, text: str) -> Explanation | None:
        """Which tokens of `text` speak for the second label, and how much; None for a `joblib` model."""
        return self.explainer(text) if self.explainer else None

    def _sentiment(self, second: float) -> Sentiment:
        probabilities = dict(zip(self.labels, (1 - second, second), strict=True))
        return Sentiment(self.labels[second >= self.threshold], probabilities)


def logistic(log_odds: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -log_odds)), dtype=np.float64)


def _contributions(text: str, spans: Sequence[Span], shares: Floats) -> list[Contribution]:
    """The tokens of these spans; those that share a character of `text` are given as one."""
    starts, ends = np.array(spans).T
    first = np.flatnonzero(np.concatenate([[True], starts[1:] >= ends[:-1]]))
    last = np.append(first[1:], starts.size) - 1
    sums = np.add.reduceat(shares, first)
    merged = zip(starts[first].tolist(), ends[last].tolist(), sums.tolist(), strict=True)
    return [Contribution(text[start:end], start, end, share) for start, end, share in merged]


def _load_linear(path: Path) -> Model:
    try:
        linear = Linear.read(path)
        return linear.score, linear.explain
    except FileNotFoundError as error:
        raise ModelUnavailable(f"no model file at {path}") from error
    except Exception as error:
        raise ModelUnavailable(
            f"{path.name} is not of the format 'linear', which models/review/train.py writes "
            f"({error}); is `format` in model.json right?"
        ) from error


def _load_joblib(path: Path) -> Model:
    """A pipeline that takes texts, or a pair (vectoriser, classifier)."""
    loaded = _unpickle(path)
    vectoriser, model = loaded if _is_pair(loaded) else (None, loaded)
    if not any(hasattr(model, name) for name in ("predict_proba", "decision_function")):
        raise ModelUnavailable(
            f"{path.name} holds a {type(loaded).__name__}: expected a scikit-learn pipeline with "
            "predict_proba or decision_function, or a pair (vectoriser, classifier)"
        )
    if len(getattr(model, "classes_", ())) != 2:
        raise ModelUnavailable(f"{path.name}: expected a fitted classifier of two classes")

    def score(texts: Sequence[str]) -> Floats:
        inputs = vectoriser.transform(texts) if vectoriser is not None else texts
        return _second_class(model, inputs)

    return score, None


def _is_pair(loaded: Any) -> bool:
    return isinstance(loaded, tuple | list) and len(loaded) == 2 and hasattr(loaded[0], "transform")


def _second_class(model: Any, inputs: Any) -> Floats:
    """Probability of `classes_[1]`; of a model without probabilities, an uncalibrated one."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(inputs), dtype=np.float64)[:, 1]
    return logistic(np.asarray(model.decision_function(inputs), dtype=np.float64))


def _unpickle(path: Path) -> Any:
    """What `joblib.dump` wrote to `path`. It runs code of the file: its digest was checked before.

    Raises:
        ModelUnavailable: a package is missing, or of another version than the file was written
            with, or the file is no such file.
    """
    try:
        import joblib
        from sklearn.exceptions import InconsistentVersionWarning

        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            return joblib.load(path)
    except ModuleNotFoundError as error:
        package = _REQUIREMENT.get(str(error.name).split(".")[0], error.name)
        raise ModelUnavailable(
            f"{path.name} needs the package {package}: add it to functions/review/requirements.txt"
        ) from error
    except FileNotFoundError as error:
        raise ModelUnavailable(f"no model file at {path}") from error
    except Exception as error:
        raise ModelUnavailable(_why_unreadable(path, error)) from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if hasattr(error, "original_sklearn_version"):
        return (
            f"{path.name} was written with scikit-learn {error.original_sklearn_version}, here is "
            f"{error.current_sklearn_version}: pin scikit-learn=={error.original_sklearn_version} "  # type: ignore[attr-defined]
            "in functions/review/requirements.txt, or dump the model anew"
        )
    return f"{path.name} is not a model that joblib.dump wrote ({type(error).__name__}: {error})"
