"""Which language a line is in, and whether its words are known at all."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .ngrams import Buckets, Codes, Floats

SPACE = 32
FRACTION = 0x2044
"""The slash of a rating: `8\u204410`, in tenths."""
NGRAM = 3
"""Characters that tell a language by three (Cavnar and Trenkle 1994)."""


@dataclass(frozen=True)
class Vocabulary:
    """What is known of the words of a line.

    `tokens` counts words and signs, `words` those with letters, and `letters` the letters of these. `known`
    is what the model has met: words, emoji, emoticons, ratings.
    """

    tokens: int
    words: int
    known: int
    letters: int

    @property
    def share(self) -> float:
        """The share of known words, in doubt a bit more: of two words one may be a name."""
        return (self.known + 1) / (self.words + 1) if self.known else 0.0


@dataclass(frozen=True)
class Languages:
    """A linear classifier over the character trigrams of a line, and the words that its reviews had.

    `weights` is int8 of shape (2**k, languages): log-odds = intercepts + scale / sqrt(n) * sum over the n
    trigrams. `words` is a bit for each bucket of words, little end first.
    """

    names: tuple[str, ...]
    weights: NDArray[np.int8]
    scale: float
    intercepts: Floats
    words: NDArray[np.uint8]

    @cached_property
    def _floats(self) -> NDArray[np.float32]:
        return self.weights.astype(np.float32)

    def probabilities(self, trigrams: Buckets) -> Floats:
        """The probability of each language, shape (languages,), given the hashed trigrams of a line."""
        # Whole numbers below 2**24 are exact in float32, and a product sums them faster than `sum` does.
        sums = np.ones(trigrams.size, np.float32) @ self._floats.take(trigrams, axis=0)
        scores = self.intercepts + self.scale / np.sqrt(max(trigrams.size, 1)) * sums
        odds = np.exp(scores - scores.max())
        return np.asarray(odds / odds.sum(), dtype=np.float64)

    def vocabulary(self, codes: Codes, buckets: Buckets) -> Vocabulary:
        """Count the words of a line, which begins and ends with a space; `buckets` are those of its words."""
        spaces = np.flatnonzero(codes == SPACE)
        initials = codes[spaces[:-1] + 1]
        lettered = is_letter(initials)
        known = (self.words[buckets >> 3] >> (buckets & 7)) & ~_is_plain(codes, spaces)
        return Vocabulary(
            tokens=spaces.size - 1,
            words=int(np.count_nonzero(lettered)),
            known=int(np.count_nonzero(known)),
            letters=int(np.sum(np.diff(spaces)[lettered] - 1)),
        )


def _is_plain(codes: Codes, spaces: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which tokens are a number or a sign of ASCII: the model has met none, whatever its bits say.

    One bucket in a hundred is a known word's, and so would be the 9 of `9/11`.
    """
    starts, lengths = spaces[:-1] + 1, np.diff(spaces) - 1
    initials = codes[starts]
    numbers = (initials >= 48) & (initials <= 57)
    slashes = np.concatenate([[0], np.cumsum(codes == FRACTION)])
    numbers &= slashes[spaces[1:]] == slashes[starts]  # a rating is no number
    signs = (lengths == 1) & (initials < 128) & ~is_letter(initials)
    return np.asarray(numbers | signs)


def is_letter(codes: Codes) -> NDArray[np.bool_]:
    """Whether each code point of a lower-case text begins a word: no digit, punctuation or emoji does."""
    latin = (codes >= 97) & (codes <= 122)
    other = (codes >= 0xC0) & ((codes < 0x2000) | (codes >= 0x2C00)) & ((codes < 0x3000) | (codes >= 0x3040))
    return latin | (other & ((codes < 0xE000) | (codes >= 0x20000)))
