"""The linear model: weights of hashed n-grams, and how their sum is scaled."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.runtimes.outputs import logistic

from .language import NGRAM, SPACE, Languages, Vocabulary
from .ngrams import Buckets, Codes, Floats, Ngrams, Span, code_points, distinct, token_spans, with_unmarked


@dataclass(frozen=True)
class Limits:
    """Limits for short, unknown and undecided texts; all were chosen in training.

    Attributes:
        evidence: in a short text, the intercept grows with the square root of the number of known character
            n-grams, up to this number; so does the sum of n weights over sqrt(n) in a text without opinion.
        short: a text with at most so many tokens is short, and the weights for short texts count fully.
        long: a text with at least so many tokens is not short; in between, it is short in part.
        known: if a smaller share of the words is known, the log-odds are multiplied by `doubt`.
        doubt: see `known`.
        sure: a language is named if it has at least this probability.
        undecided: the range of probabilities that is too close to 0.5 for a decision.
        few: a text in doubt with fewer words is too short.
        many: but with so many letters that are not known words, it is in another language (Chinese has no
            spaces), and not just a name or a typing error.
        strong: a text is mixed only if its words have at least these log-odds on both sides.
        even: a text is mixed only if the weaker side has at least this share of the stronger one.
    """

    evidence: int = 400
    short: int = 5
    long: int = 10
    known: float = 0.65
    doubt: float = 0.05
    sure: float = 0.8
    undecided: tuple[float, float] = (0.25, 0.75)
    few: int = 4
    many: int = 12
    strong: float = 2.0
    even: float = 0.5

    def brevity(self, tokens: int) -> float:
        """How short a line with so many tokens is, from 0 to 1."""
        return min(max((self.long - tokens) / (self.long - self.short), 0.0), 1.0)

    def share(self, met: int, brevity: float) -> float:
        """The share of the intercept that counts if so many character n-grams are known."""
        return float(1 - brevity * (1 - min(met / self.evidence, 1.0) ** 0.5))


@dataclass(frozen=True)
class Short:
    """Weights for short texts only: `weights`, int8, times `scale` for each of `buckets`, sorted uint32."""

    buckets: Buckets
    weights: NDArray[np.int8]
    scale: float

    def of(self, buckets: Buckets) -> Floats:
        """The weight of each bucket; 0 for a bucket without a weight."""
        place = np.minimum(np.searchsorted(self.buckets, buckets), max(self.buckets.size - 1, 0))
        if not self.buckets.size:
            return np.zeros(buckets.size)
        return np.where(self.buckets[place] == buckets, self.weights[place] * self.scale, 0.0)


@dataclass(frozen=True)
class Scale:
    """How a line is scored: log-odds = intercept + factor * (sum of weights + brevity * sum of short ones).

    `language` is None if it is in doubt. `words` counts the line's words, `letters` their letters. `known`
    says whether enough words are known.
    """

    intercept: float
    factor: float
    brevity: float
    language: str | None
    words: int
    letters: int
    known: bool


@dataclass(frozen=True)
class Contribution:
    """What one token adds to the log-odds; `text` is `[start:end]`, in code points, of the text as sent."""

    text: str
    start: int
    end: int
    log_odds: float


@dataclass(frozen=True)
class Explanation:
    """The log-odds of the second label, and the terms of their sum.

    `intercept` is the part that belongs to no word; it is near 0 if the text is very short. `tokens` are in
    the order of the text and do not overlap. The tokens and the intercept sum to `log_odds`.
    """

    log_odds: float
    intercept: float
    tokens: list[Contribution]

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the answer, like `asdict`, but in a third of the time."""
        return vars(self) | {"tokens": [vars(token) for token in self.tokens]}


@dataclass(frozen=True)
class Line:
    """The code points of a cleaned line, shape (code points,), and its n-grams.

    If the text has marks, the line is followed by the same line without them, which begins at `bare`. `words`
    and `chars` are the buckets of n-grams, one for each occurrence.
    """

    codes: Codes
    bare: int
    words: Buckets
    chars: Buckets


@dataclass(frozen=True)
class Linear:
    """Weights of hashed n-grams: a log-odds score that is a plain sum over a text's n-grams.

    log-odds = intercept + factor * sum over tables of 1 / sqrt(n) * sum of the weights of its n distinct
    buckets. `weights` is int8 of shape (2, 2**bits): words, characters; `scales` has shape (2,). Intercept
    and factor depend on the line: see `scale_of`. `calibration` has a slope and an offset for each language,
    and under "" for a line without a known language.
    """

    ngrams: Ngrams
    weights: NDArray[np.int8]
    scales: Floats
    intercept: float
    short: Short
    languages: Languages
    calibration: Mapping[str, tuple[float, float]]
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def read(cls, content: bytes) -> "Linear":
        """Read what `save` wrote.

        Raises:
            ValueError, KeyError, TypeError or OSError: the bytes are not in this format.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in file.files if name != "about"}
        ngrams = Ngrams(tuple(about["words"]), tuple(about["chars"]), about["bits"])
        for name, shape in (
            ("weights", (2, ngrams.size // 2)),
            ("short_weights", arrays["short_buckets"].shape),
            ("language_weights", (len(arrays["language_weights"]), len(about["languages"]))),
        ):
            if arrays[name].dtype != np.int8 or arrays[name].shape != shape:
                raise ValueError(f"its {name} are {arrays[name].dtype} of shape {arrays[name].shape}")
        limits = about["limits"] | {"undecided": tuple(about["limits"]["undecided"])}
        return cls(
            ngrams,
            arrays["weights"],
            arrays["scales"],
            about["intercept"],
            Short(arrays["short_buckets"], arrays["short_weights"], about["short_scale"]),
            Languages(
                tuple(about["languages"]),
                arrays["language_weights"],
                about["language_scale"],
                arrays["language_intercepts"],
                arrays["known_words"],
            ),
            {name: (slope, offset) for name, (slope, offset) in about["calibration"].items()},
            Limits(**limits),
        )

    def save(self, path: Path) -> None:
        """Write the `linear` format: an .npz without pickles, the same bytes for the same model."""
        about = {
            "words": self.ngrams.words,
            "chars": self.ngrams.chars,
            "bits": self.ngrams.bits,
            "intercept": self.intercept,
            "short_scale": self.short.scale,
            "languages": self.languages.names,
            "language_scale": self.languages.scale,
            "calibration": self.calibration,
            "limits": asdict(self.limits),
        }
        np.savez_compressed(
            path,
            about=json.dumps(about),
            weights=self.weights,
            scales=self.scales,
            short_buckets=self.short.buckets,
            short_weights=self.short.weights,
            language_weights=self.languages.weights,
            language_intercepts=self.languages.intercepts,
            known_words=self.languages.words,
        )

    def line(self, codes: Codes) -> Line:
        """The n-grams of a line that `code_points` returned."""
        whole = with_unmarked(codes)
        return Line(whole, codes.size - 1 if whole.size > codes.size else 0, *self.ngrams.buckets(whole))

    def log_odds(self, text: str) -> float:
        """Log-odds of the second label against the first."""
        return self.weigh(code_points(text))[0]

    def weigh(self, codes: Codes) -> tuple[float, Scale]:
        """The log-odds of a line, and how they were computed."""
        line = self.line(codes)
        reading = self._reading(line)
        total, met = 0.0, 0
        families = distinct(line.words), distinct(line.chars)  # sorts `line` in place
        for step, buckets in zip(self.scales, families, strict=True):
            weights = self.weights.reshape(-1)[buckets]
            total += step * weights.sum(dtype=np.int64) / np.sqrt(max(buckets.size, 1))
            met = int(np.count_nonzero(weights))
        scale = self._scale(reading, met)
        if scale.brevity:
            for buckets in families:
                total += scale.brevity * self.short.of(buckets).sum() / np.sqrt(max(buckets.size, 1))
        return float(scale.intercept + scale.factor * total), scale

    def scale_of(self, line: Line) -> Scale:
        """How a line is scored."""
        chars = distinct(line.chars.copy())
        met = int(np.count_nonzero(self.weights.reshape(-1)[chars]))
        return self._scale(self._reading(line), met)

    def _reading(self, line: Line) -> tuple[Vocabulary, str | None]:
        """The counts of a line's words, and its language if that is sure."""
        bare = line.codes[line.bare :]
        words = int(np.count_nonzero(line.codes == SPACE)) - 1
        written = int(np.count_nonzero(bare == SPACE)) - 1
        vocabulary = self.languages.vocabulary(bare, line.words[words - written : words])
        start = sum(max(line.codes.size - n + 1, 0) for n in self.ngrams.chars if n < NGRAM)
        trigrams = line.chars[start : start + max(line.codes.size - NGRAM + 1, 0)] - self.ngrams.size // 2
        share = self.languages.probabilities(
            trigrams // (self.ngrams.size // 2 // len(self.languages.weights))
        )
        best = int(share.argmax())
        return vocabulary, self.languages.names[best] if share[best] >= self.limits.sure else None

    def _scale(self, reading: tuple[Vocabulary, str | None], met: int) -> Scale:
        """The scale of a line with so many known character n-grams."""
        limits, (vocabulary, language) = self.limits, reading
        known = vocabulary.share >= limits.known
        trust = 1.0 if known else limits.doubt
        brevity = limits.brevity(vocabulary.tokens)
        slope, offset = self.calibration[(known and language) or ""]
        return Scale(
            intercept=trust * limits.share(met, brevity) * (slope * self.intercept + offset),
            factor=trust * slope,
            brevity=brevity,
            language=language if known else None,
            words=vocabulary.words,
            letters=vocabulary.letters,
            known=known,
        )

    def sides(self, codes: Codes, scale: Scale) -> tuple[float, float]:
        """The sums of a line's word weights for the second label and against it, in log-odds."""
        line = self.line(codes)
        buckets = distinct(line.words)
        weights = self.weights[0][buckets] * self.scales[0]
        if scale.brevity:
            weights = weights + scale.brevity * self.short.of(buckets)
        terms = scale.factor * weights / np.sqrt(max(buckets.size, 1))
        return float(terms[terms > 0].sum()), float(-terms[terms < 0].sum())

    def score(self, texts: Sequence[str]) -> Floats:
        """Probability of the second label for each text."""
        return logistic(np.array([self.log_odds(text) for text in texts], dtype=np.float64))

    def explain(self, text: str) -> Explanation:
        """Distribute the log-odds over the tokens of `text`, so that the sum is exact.

        A bucket's term is shared equally among the occurrences of its n-grams, an occurrence's share among
        the tokens it covers: see `Ngrams.shares`. A token gets its share of the unmarked line too.
        """
        line = self.line(code_points(text))
        scale = self.scale_of(line)
        words, chars = (
            self._terms(scale, step, buckets)
            for step, buckets in zip(self.scales, (line.words, line.chars), strict=True)
        )
        log_odds = float(scale.intercept + words.sum() + chars.sum())
        spans = token_spans(text)
        if not spans:
            return Explanation(log_odds, log_odds, [])
        shares = self.ngrams.shares(line.codes, words, chars).reshape(-1, len(spans)).sum(axis=0)
        return Explanation(log_odds, scale.intercept, _contributions(text, spans, shares))

    def _terms(self, scale: Scale, step: float, buckets: Buckets) -> Floats:
        """What each occurrence of a bucket adds to the log-odds."""
        once, place, counts = np.unique(buckets, return_inverse=True, return_counts=True)
        weights = self.weights.reshape(-1)[once] * step
        if scale.brevity:
            weights = weights + scale.brevity * self.short.of(once)
        terms = scale.factor * weights / (np.sqrt(max(once.size, 1)) * counts)
        return np.asarray(terms[place], dtype=np.float64)


def _contributions(text: str, spans: Sequence[Span], shares: Floats) -> list[Contribution]:
    """The tokens of these spans; tokens that share a character of `text` are merged."""
    starts, ends = np.array(spans).T
    first = np.flatnonzero(np.concatenate([[True], starts[1:] >= ends[:-1]]))
    last = np.append(first[1:], starts.size) - 1
    sums = np.add.reduceat(shares, first)
    merged = zip(starts[first].tolist(), ends[last].tolist(), sums.tolist(), strict=True)
    return [Contribution(text[start:end], start, end, share) for start, end, share in merged]
