"""The linear model: weights of hashed n-grams, and how their sum is scaled."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.runtimes.outputs import logistic

from . import shifters
from .language import ENOUGH, NGRAM, SPACE, Languages, Reading
from .ngrams import Buckets, Codes, Floats, Ngrams, Span, code_points, distinct, token_spans, with_unmarked


@dataclass(frozen=True)
class Limits:
    """Limits for short, unknown and undecided texts; all were chosen in training.

    Attributes:
        evidence: in a short text, the intercept grows with the square root of the number of known character
            n-grams, up to this number.
        short: a text with at most so many tokens is short, and the weights for short texts count fully.
        long: a text with at least so many tokens is not short; in between, it is short in part.
        turned: as `short` and `long`, but for negation and contrast, see `shifters`.
        hunch: if a short text has no opinion, its log-odds are multiplied by this.
        known: if a smaller share of the words is known, the log-odds are multiplied by `doubt`.
        foreign: the probability of another language, times this, is subtracted from that share.
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
    turned: tuple[int, int] = (10, 20)
    hunch: float = 0.07
    known: float = 0.67
    foreign: float = 0.35
    doubt: float = 0.05
    sure: float = 0.8
    undecided: tuple[float, float] = (0.25, 0.75)
    few: int = 4
    many: int = 12
    strong: float = 2.0
    even: float = 0.5

    def brevity(self, tokens: int) -> float:
        """How short a line with so many tokens is, from 0 to 1."""
        return _fading(tokens, self.short, self.long)

    def turning(self, tokens: int) -> float:
        """How much a negation turns the words of a line with so many tokens, from 0 to 1."""
        return _fading(tokens, *self.turned)

    def share(self, met: int, brevity: float) -> float:
        """The share of the intercept that counts if so many character n-grams are known."""
        return float(1 - brevity * (1 - min(met / self.evidence, 1.0) ** 0.5))


def _fading(tokens: int, short: int, long: int) -> float:
    """1 up to `short` tokens, 0 from `long` tokens on, and linear in between."""
    return min(max((long - tokens) / (long - short), 0.0), 1.0)


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

    `factors` has one for each word of the line, or is None if all are 1: see `shifters`. `language` is None
    if it is in doubt. `words` counts the line's words, `letters` their letters. `known` says whether the
    model knows the language.
    """

    intercept: float
    factor: float
    brevity: float
    factors: tuple[float, ...] | None
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
            ("word_weights", (ngrams.size // 2,)),
            ("char_weights", arrays["char_gaps"].shape),
            ("short_weights", arrays["short_buckets"].shape),
            ("language_weights", (len(arrays["language_weights"]), len(about["languages"]) + 1)),
            ("word_kinds", arrays["word_buckets"].shape),
        ):
            if arrays[name].dtype.itemsize != 1 or arrays[name].shape != shape:
                raise ValueError(f"its {name} are {arrays[name].dtype} of shape {arrays[name].shape}")
        limits: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list) else each for name, each in about["limits"].items()
        }
        return cls(
            ngrams,
            np.stack([arrays["word_weights"], _filled(arrays["char_gaps"], arrays["char_weights"], ngrams)]),
            arrays["scales"],
            about["intercept"],
            Short(arrays["short_buckets"], arrays["short_weights"], about["short_scale"]),
            Languages(
                tuple(about["languages"]),
                arrays["language_weights"],
                about["language_scale"],
                arrays["language_intercepts"],
                arrays["word_buckets"],
                arrays["word_kinds"],
                ngrams.bits,
            ),
            {name: (slope, offset) for name, (slope, offset) in about["calibration"].items()},
            Limits(**limits),
        )

    def save(self, path: Path) -> None:
        """Write the `linear` format: an .npz without pickles, the same bytes for the same model.

        Most weights of words are not 0, and are written as they are. Most of those of characters are 0: only
        the others are written, and how far each is from the one before.
        """
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
        gaps, weights = _thinned(self.weights[1])
        np.savez(  # not compressed: a download is faster than to decompress it
            path,
            about=json.dumps(about),
            word_weights=self.weights[0],
            char_gaps=gaps,
            char_weights=weights,
            scales=self.scales,
            short_buckets=self.short.buckets,
            short_weights=self.short.weights,
            language_weights=self.languages.weights,
            language_intercepts=self.languages.intercepts,
            word_buckets=self.languages.buckets,
            word_kinds=self.languages.kinds,
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
        scale = self.scale_of(line)
        return self.total(self.features(line, scale), scale), scale

    def total(self, features: Sequence[tuple[Buckets, Floats]], scale: Scale) -> float:
        """The log-odds of a line with these features and this scale."""
        sums = [
            self._weights(table, buckets, scale) @ values for table, (buckets, values) in enumerate(features)
        ]
        return float(scale.intercept + scale.factor * sum(sums))

    def features(self, line: Line, scale: Scale) -> list[tuple[Buckets, Floats]]:
        """For each table, the distinct buckets of a line, and how much each counts; sorts `line` in place."""
        if scale.factors is None:
            families = distinct(line.words), distinct(line.chars)
            return [(once, np.full(once.size, max(once.size, 1) ** -0.5)) for once in families]
        found = []
        for buckets, factors in zip((line.words, line.chars), self._factors(line, scale), strict=True):
            once, place, counts = np.unique(buckets, return_inverse=True, return_counts=True)
            found.append((once, np.bincount(place, factors) / (counts * np.sqrt(max(once.size, 1)))))
        return found

    def _factors(self, line: Line, scale: Scale) -> tuple[Floats | float, Floats | float]:
        """The factor of each n-gram of words and of characters: that of its word with the greatest one.

        So "not good" counts fully and "good" is turned: the n-gram with the "not" needs no turning.
        """
        if scale.factors is None:
            return 1.0, 1.0
        return self.ngrams.greatest(line.codes, np.array(scale.factors))

    def _weights(self, table: int, buckets: Buckets, scale: Scale) -> Floats:
        """The weight of each bucket of a table, for a line of this scale."""
        weights = self.weights.reshape(-1)[buckets] * self.scales[table]
        if scale.brevity:
            weights += scale.brevity * self.short.of(buckets)
        return np.asarray(weights)

    def scale_of(self, line: Line) -> Scale:
        """How a line is scored."""
        limits, reading = self.limits, self._reading(line)
        known = reading.share - limits.foreign * reading.foreign >= limits.known
        trust = 1.0 if known else limits.doubt
        brevity, turning = limits.brevity(reading.tokens), limits.turning(reading.tokens)
        factors = _word_factors(line, reading.likely, turning) if turning else None
        met = 0
        if brevity:
            met = int(np.count_nonzero(self.weights.reshape(-1)[distinct(line.chars.copy())]))
            if not self.languages.opinionated(line.words):
                trust *= 1 - brevity * (1 - limits.hunch)
        slope, offset = self.calibration[(known and reading.language) or ""]
        return Scale(
            intercept=trust * limits.share(met, brevity) * (slope * self.intercept + offset),
            factor=trust * slope,
            brevity=brevity,
            factors=factors,
            language=reading.language if known else None,
            words=reading.words,
            letters=reading.letters,
            known=known,
        )

    def _reading(self, line: Line) -> Reading:
        """What a line says about its language; `line` is not sorted."""
        bare = line.codes[line.bare :]
        spaces = np.flatnonzero(bare == SPACE)
        words = line.words[spaces.size - 1 :] if line.bare else line.words
        start = sum(max(line.codes.size - n + 1, 0) for n in self.ngrams.chars if n < NGRAM)
        count = max(line.codes.size - NGRAM + 1, 0)
        trigrams = line.chars[start : start + count : 1 + count // ENOUGH] - self.ngrams.size // 2
        coarser = self.ngrams.size // 2 // len(self.languages.weights)
        return self.languages.read(
            bare, spaces, words[: spaces.size - 1], trigrams // coarser, self.limits.sure
        )

    def sides(self, codes: Codes, scale: Scale) -> tuple[float, float]:
        """The sums of a line's word weights for the second label and against it, in log-odds."""
        words = replace(
            self, ngrams=replace(self.ngrams, chars=self.ngrams.chars[:1])
        )  # characters cost time
        buckets, values = words.features(words.line(codes), scale)[0]
        terms = scale.factor * values * self._weights(0, buckets, scale)
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
            self._terms(table, buckets, factors, scale)
            for table, (buckets, factors) in enumerate(
                zip((line.words, line.chars), self._factors(line, scale), strict=True)
            )
        )
        log_odds = float(scale.intercept + words.sum() + chars.sum())
        spans = token_spans(text)
        if not spans:
            return Explanation(log_odds, log_odds, [])
        shares = self.ngrams.shares(line.codes, words, chars).reshape(-1, len(spans)).sum(axis=0)
        return Explanation(log_odds, scale.intercept, _contributions(text, spans, shares))

    def _terms(self, table: int, buckets: Buckets, factors: Floats | float, scale: Scale) -> Floats:
        """What each occurrence of a bucket adds to the log-odds."""
        once, place, counts = np.unique(buckets, return_inverse=True, return_counts=True)
        terms = scale.factor * self._weights(table, once, scale) / (np.sqrt(max(once.size, 1)) * counts)
        return np.asarray(terms[place] * factors, dtype=np.float64)


def _word_factors(line: Line, language: str, turning: float) -> tuple[float, ...] | None:
    """The factor of each word of a line; the less `turning`, the nearer to 1."""
    marked = line.codes[: line.bare + 1] if line.bare else line.codes
    tokens, bare = (
        part.tobytes().decode("utf-32-le", "surrogatepass")[1:-1].split(" ")
        for part in (marked, line.codes[line.bare :])
    )
    found = shifters.factors(tokens, bare, language)
    if found is None:
        return None
    return tuple(1 + turning * (factor - 1) for factor in found) * (2 if line.bare else 1)


def _thinned(table: NDArray[np.int8]) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """The distances between the weights that are not 0, and these weights, with some zeros in wide gaps."""
    places = np.union1d(np.flatnonzero(table), np.arange(0, table.size, 255))
    return np.diff(places, prepend=0).astype(np.uint8), table[places]


def _filled(gaps: NDArray[np.uint8], weights: NDArray[np.int8], ngrams: Ngrams) -> NDArray[np.int8]:
    """The table of weights that `_thinned` returned, shape (2**bits,)."""
    table = np.zeros(ngrams.size // 2, np.int8)
    table[np.cumsum(gaps, dtype=np.uint32)] = weights
    return table


def _contributions(text: str, spans: Sequence[Span], shares: Floats) -> list[Contribution]:
    """The tokens of these spans; tokens that share a character of `text` are merged."""
    starts, ends = np.array(spans).T
    first = np.flatnonzero(np.concatenate([[True], starts[1:] >= ends[:-1]]))
    last = np.append(first[1:], starts.size) - 1
    sums = np.add.reduceat(shares, first)
    merged = zip(starts[first].tolist(), ends[last].tolist(), sums.tolist(), strict=True)
    return [Contribution(text[start:end], start, end, share) for start, end, share in merged]
