"""The language of a line, and how many of its words are known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .ngrams import Buckets, Codes, Floats

SPACE = 32
FRACTION = 0x2044
"""The slash of a rating: `8\u204410`, in tenths."""
NGRAM = 3
"""The length of the character n-grams that tell a language (Cavnar and Trenkle 1994)."""


@dataclass(frozen=True)
class Vocabulary:
    """Counts over the words of a line.

    `tokens` counts words and signs, `words` the words that begin with a letter, and `letters` their letters.
    `known` counts the tokens that occur in the training data: words, emoji, emoticons, ratings.
    """

    tokens: int
    words: int
    known: int
    letters: int

    @property
    def share(self) -> float:
        """The share of known words, with one more counted as known, since one of two words may be a name."""
        return (self.known + 1) / (self.words + 1) if self.known else 0.0


@dataclass(frozen=True)
class Languages:
    """A linear classifier over the character trigrams of a line, and the words of its training reviews.

    `weights` is int8 of shape (2**k, languages): log-odds = intercepts + scale / sqrt(n) * sum over the n
    trigrams. `words` has a bit for each bucket of words, in little-endian bit order.
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
        # Whole numbers below 2**24 are exact in float32, and a matrix product is faster than `sum`.
        sums = np.ones(trigrams.size, np.float32) @ self._floats.take(trigrams, axis=0)
        scores = self.intercepts + self.scale / np.sqrt(max(trigrams.size, 1)) * sums
        odds = np.exp(scores - scores.max())
        return np.asarray(odds / odds.sum(), dtype=np.float64)

    def vocabulary(self, codes: Codes, buckets: Buckets) -> Vocabulary:
        """Count the words of a line that begins and ends with a space; `buckets` has one for each word."""
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
    """Whether each code point of a lower-case text is a letter, not a digit, punctuation or an emoji."""
    latin = (codes >= 97) & (codes <= 122)
    other = (codes >= 0xC0) & ((codes < 0x2000) | (codes >= 0x2C00)) & ((codes < 0x3000) | (codes >= 0x3040))
    return latin | (other & ((codes < 0xE000) | (codes >= 0x20000)))
