"""The review classifier: from texts to a `Sentiment` for each.

It reads two formats: `linear`, the weights of our own model, which need only numpy, and `joblib`, a
scikit-learn model. Only `joblib` imports scikit-learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared import budget
from shared.classifier import Answer, verdict
from shared.errors import ModelUnavailable, Unusable
from shared.pin import Pin
from shared.runtimes import sklearn, texts
from shared.runtimes.outputs import logistic
from shared.turns import turn

from .linear import Linear, Scale
from .ngrams import Codes, code_points

PER_CHARACTER = 80
"""Work for a character of a review with marks, in the unit of `budget.MAX_WORK`."""
PER_EXPLAINED = 400
"""Work for a character of an explained review in which each character is a token."""

EXPLANATION: dict[str, Any] = {
    "type": ["object", "null"],
    "description": "What each word adds to the log-odds of the second label: `intercept` and the `log_odds` "
    "of all `tokens` sum to `log_odds`. Null for a model that cannot explain its answers.",
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


FIELDS: dict[str, Any] = {
    "language": {
        "enum": ["en", "ha", "ig", "pcm", "yo", None],
        "description": "the language of the text; null if it is in doubt, or another one",
    }
}

NOTHING = 2
"""Code points of a line without any token: two spaces."""

WARNINGS = {
    "unknown_language": "The model knows too few words of this text to judge it: send a review in English, "
    "Nigerian Pidgin, Hausa, Igbo or Yoruba.",
    "too_short": "The text is too short to judge it: write a sentence or two.",
    "mixed": "The text has about as much praise as blame: read it yourself.",
    "undecided": "The probability is too close to 0.5 for a decision: read the text yourself.",
}
"""The messages of the warnings, by code."""


@dataclass(frozen=True)
class Review:
    """A review as it was sent, and the code points of its cleaned line, shape (code points,), uint32."""

    text: str
    codes: Codes


@dataclass(frozen=True)
class Sentiment:
    """A review, the log-odds of the second label, and how they were computed."""

    review: Review
    log_odds: float
    scale: Scale


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
        """Clean a review, and count its work.

        Raises:
            Unusable: it has no words or other tokens.
            TooMuchWork: the work of this request is over the budget.
        """
        budget.spend(PER_CHARACTER * len(raw), "review")
        codes = code_points(raw)
        if codes.size <= NOTHING:
            raise Unusable("expected a text; this one has only links, tags or invisible characters")
        return Review(raw, codes)

    def sample(self) -> Review:
        """Return an example to predict."""
        return self.decode("A film.")

    def predict(self, batch: Sequence[Review]) -> list[Sentiment]:
        """One `Sentiment` for each review, in order."""
        return [Sentiment(review, *self._linear.weigh(review.codes)) for review in batch]

    def encode(self, output: Sentiment, explain: bool) -> Answer:
        """Return the label, the probabilities, the language and, if asked for, an explanation."""
        second = float(logistic(np.array(output.log_odds)))
        answer = verdict(self.labels, (1 - second, second), self._threshold)
        answer["language"] = output.scale.language
        if code := self._warning(output, second):
            answer["warnings"] = [{"code": code, "message": WARNINGS[code]}]
        if explain:
            budget.spend(PER_EXPLAINED * len(output.review.text), "explanation")
            with turn():  # an explanation may make this a slow request
                answer["explanation"] = self._linear.explain(output.review.text).fields
        return answer

    def _warning(self, output: Sentiment, second: float) -> str | None:
        """The code of the warning that an answer needs, or None; the most specific one."""
        scale, limits = output.scale, self._linear.limits
        short = scale.words < limits.few
        if not scale.known:
            return "too_short" if short and scale.letters < limits.many else "unknown_language"
        if not limits.undecided[0] < second < limits.undecided[1]:
            return None
        if short:
            return "too_short"
        weaker, stronger = sorted(self._linear.sides(output.review.codes, scale))
        return "mixed" if weaker >= max(limits.strong, limits.even * stronger) else "undecided"
