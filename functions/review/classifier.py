"""The review classifier: texts in, a `Sentiment` each out. No HTTP, no storage.

Two formats: `linear`, the weights of our own model, read with numpy alone, and `joblib`, a scikit-learn
model. Only the latter imports scikit-learn.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared import budget
from shared.classifier import Answer, verdict
from shared.errors import ModelUnavailable, Unusable
from shared.pin import Pin
from shared.runtimes import sklearn, texts
from shared.runtimes.outputs import logistic
from shared.turns import turn

from .ngrams import Buckets, Codes, Ngrams, Span, code_points, token_spans, with_unmarked

Floats = NDArray[np.float64]

PER_CHARACTER = 80
"""Work for a character of a review, in the unit of `budget.MAX_WORK`: of one that has marks."""
PER_EXPLAINED = 400
"""Work for a character of an explained review in which each is a token."""

EXPLANATION: dict[str, Any] = {
    "type": ["object", "null"],
    "description": "What each word adds to the log-odds of the second label: `intercept` and the `log_odds` "
    "of all `tokens` sum to `log_odds`. Null for a model that cannot tell.",
    "required": ["log_odds", "intercept", "tokens"],
    "properties": {
        "log_odds": {"type": "number"},
        "intercept": {"type": "number"},
        "tokens": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["text", "start", "end", "log_odds"],
                "properties": {
                    "text": {"type": "string"},
                    "start": {"type": "integer", "description": "in code points of the text as sent"},
                    "end": {"type": "integer", "description": "the first code point after the token"},
                    "log_odds": {"type": "number"},
                },
            },
        },
    },
}


NOTHING = 2
"""Code points of a line without a token: the two spaces around it."""


@dataclass(frozen=True)
class Review:
    """A review as it was sent, and the code points of its cleaned line, shape (letters,), uint32."""

    text: str
    codes: Codes


@dataclass(frozen=True)
class Sentiment:
    """A review, and the log-odds of the second label."""

    review: str
    log_odds: float


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

    @property
    def fields(self) -> dict[str, Any]:
        """As `EXPLANATION` has it: `asdict`, for a third of its time."""
        return vars(self) | {"tokens": [vars(token) for token in self.tokens]}


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
    def read(cls, content: bytes) -> "Linear":
        """Read what `save` wrote.

        Raises:
            ValueError, KeyError, TypeError or OSError: the bytes are something else.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
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
        return self.log_odds_of(with_unmarked(code_points(text)))

    def log_odds_of(self, codes: Codes) -> float:
        """The same of a line that `code_points` and `with_unmarked` have made."""
        total = self.intercept
        table = self.weights.reshape(-1)
        for scale, buckets in zip(self.scales, self.ngrams.features_of(codes), strict=True):
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


class Classifier:
    """The linear model, loaded. `predict` keeps no state, so any number of threads may call it."""

    def __init__(self, linear: Linear, pin: Pin) -> None:
        self.labels = pin.labels
        self._linear = linear
        self._threshold = pin.decision_threshold

    prepare = staticmethod(sklearn.prepare)

    @classmethod
    def load(cls, content: bytes, pin: Pin) -> "Classifier | texts.Classifier":
        """Load the verified bytes of a model file.

        Raises:
            ModelUnavailable: unknown format, not a file of that format, or a package is missing.
        """
        if pin.format == "joblib":
            return texts.Classifier.load(content, pin)
        if pin.format != "linear" or len(pin.labels) != 2:
            raise ModelUnavailable(
                f"{pin.file}: expected the format linear with two labels, or joblib; "
                f"got {pin.format!r} with {len(pin.labels)}"
            )
        try:
            return cls(Linear.read(content), pin)
        except Exception as error:
            raise ModelUnavailable(
                f"{pin.file} is not of the format 'linear', which models/review/train.py writes ({error}); "
                "is `format` in model.json right?"
            ) from error

    def decode(self, raw: str) -> Review:
        """Clean a review, its work counted.

        Raises:
            Unusable: there is nothing in it to read.
            TooMuchWork: it, and what the request asked for before, are over the budget.
        """
        budget.spend(PER_CHARACTER * len(raw), "review")
        codes = code_points(raw)
        if codes.size <= NOTHING:
            raise Unusable("expected a text; this one has nothing but links, tags or invisible characters")
        return Review(raw, with_unmarked(codes))

    def sample(self) -> Review:
        """Return something to predict on."""
        return self.decode("A film.")

    def predict(self, batch: Sequence[Review]) -> list[Sentiment]:
        """One `Sentiment` for each review, in order."""
        return [Sentiment(review.text, self._linear.log_odds_of(review.codes)) for review in batch]

    def encode(self, output: Sentiment, explain: bool) -> Answer:
        """Say the label and the probabilities, and which tokens speak for the second label."""
        second = float(logistic(np.array(output.log_odds)))
        answer = verdict(self.labels, (1 - second, second), self._threshold)
        if explain:
            budget.spend(PER_EXPLAINED * len(output.review), "explanation")
            with turn():  # if that makes it a slow request
                answer["explanation"] = self._linear.explain(output.review).fields
        return answer


def _contributions(text: str, spans: Sequence[Span], shares: Floats) -> list[Contribution]:
    """The tokens of these spans; those that share a character of `text` are given as one."""
    starts, ends = np.array(spans).T
    first = np.flatnonzero(np.concatenate([[True], starts[1:] >= ends[:-1]]))
    last = np.append(first[1:], starts.size) - 1
    sums = np.add.reduceat(shares, first)
    merged = zip(starts[first].tolist(), ends[last].tolist(), sums.tolist(), strict=True)
    return [Contribution(text[start:end], start, end, share) for start, end, share in merged]
