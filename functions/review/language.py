"""The language of a line, how many of its words are known, and whether any of them is an opinion."""

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
ENOUGH = 500
"""About so many trigrams, spread over a long text, are enough to tell its language."""
ENGLISH = ("en", "pcm")
"""English and Nigerian Pidgin: they share most words, and the other languages borrow words from both."""
ELSEWHERE = 1 << 6
"""The kind of a word that is common in other languages, or in code."""
OPINION = 1 << 7
"""The kind of an n-gram that praises or blames."""
SHARED = 0.5
"""How much a word counts as known if it is common elsewhere, too."""
LIKELY = 0.05
"""The words of a language are known if it has at least this probability."""
CODE = np.isin(np.arange(128), [ord(sign) for sign in "{}[]<>=|\\^~"])
"""The signs that are common in code, by code point."""
CODED = 2
"""Each of them counts as so many unknown words."""


@dataclass(frozen=True)
class Reading:
    """What a line says about its language.

    `likely` is the most likely language, and `language` the same if it is sure, else None. `foreign` is the
    probability of any other language. `tokens` counts words and signs, `words` the words that begin with a
    letter, and `letters` their letters. `share` is the share of words that are known in the likely language
    or in English: a word that other languages have, too, counts for neither side. One more word counts as
    known, since one of two words may be a name.
    """

    likely: str
    language: str | None
    foreign: float
    tokens: int
    words: int
    letters: int
    share: float


@dataclass(frozen=True)
class Languages:
    """A linear classifier over the character trigrams of a line, and the known words.

    `weights` is int8 of shape (2**k, languages + 1), the last column for any other language: log-odds =
    intercepts + scale / sqrt(n) * sum over the n trigrams. `kinds`, uint8, has a value for each of `buckets`,
    sorted uint32, of the 2**bits buckets of words: a bit for each language that has the word, and the bits
    `ELSEWHERE` and `OPINION`. Word pairs and triples have `OPINION` alone.
    """

    names: tuple[str, ...]
    weights: NDArray[np.int8]
    scale: float
    intercepts: Floats
    buckets: Buckets
    kinds: NDArray[np.uint8]
    bits: int

    @cached_property
    def _floats(self) -> NDArray[np.float32]:
        return self.weights.astype(np.float32)

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """The kinds of all buckets: to look up a word here is ten times as fast as to search for it."""
        table = np.zeros(1 << self.bits, np.uint8)
        table[self.buckets] = self.kinds
        return table

    def _accepted(self, chances: Floats) -> np.uint8:
        """The bits of the languages whose words a line may have: the likely ones, and English."""
        likely = [
            chance >= LIKELY or name in ENGLISH for name, chance in zip(self.names, chances, strict=True)
        ]
        return np.uint8(np.packbits(likely, bitorder="little")[0])

    def probabilities(self, trigrams: Buckets) -> Floats:
        """The probability of each language and of any other, given the hashed trigrams of a line."""
        # Whole numbers below 2**24 are exact in float32, and a matrix product is faster than `sum`.
        sums = np.ones(trigrams.size, np.float32) @ self._floats.take(trigrams, axis=0)
        scores = self.intercepts + self.scale / np.sqrt(max(trigrams.size, 1)) * sums
        odds = np.exp(scores - scores.max())
        return np.asarray(odds / odds.sum(), dtype=np.float64)

    def read(
        self, codes: Codes, spaces: NDArray[np.intp], words: Buckets, trigrams: Buckets, sure: float
    ) -> Reading:
        """Read a line that begins and ends with a space.

        `spaces` has the places of all its spaces, and `words` a bucket for each of its words. A language with
        at least the probability `sure` is sure.
        """
        chances = self.probabilities(trigrams)
        best = int(chances[:-1].argmax())
        likely = self.names[best]
        lengths = np.diff(spaces) - 1
        initials = codes[spaces[:-1] + 1]
        lettered, single = is_letter(initials), lengths == 1
        kinds = self._table[words]
        met = (kinds & self._accepted(chances[:-1])) != 0
        met &= np.where(lettered, ~single, ~_is_plain(codes, spaces, initials, single))
        shared = np.count_nonzero(met & (kinds & ELSEWHERE != 0))
        known = np.count_nonzero(met) - (1 - SHARED) * shared
        code = np.count_nonzero(CODE[np.minimum(initials, 127)] & single)
        unknown = np.count_nonzero(lettered & ~single & ~met) + CODED * code
        return Reading(
            likely=likely,
            language=likely if chances[best] >= sure else None,
            foreign=float(chances[-1]),
            tokens=lengths.size,
            words=int(np.count_nonzero(lettered)),
            letters=int(lengths[lettered].sum()),
            share=float((known + 1) / (known + unknown + 1)) if known else 0.0,
        )

    def opinionated(self, words: Buckets) -> bool:
        """Whether any of these word n-grams praises or blames."""
        return bool((self._table[words] & OPINION).any())


def _is_plain(
    codes: Codes, spaces: NDArray[np.intp], initials: Codes, single: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which tokens are a number or a sign of ASCII: the model has met none, whatever its table says.

    One bucket in a hundred is a known word's, and so would be the 9 of `9/11`. Letters count as signs here.
    """
    plain = ((initials >= 48) & (initials <= 57)) | (single & (initials < 128))
    ratings = np.searchsorted(spaces, np.flatnonzero(codes == FRACTION)) - 1
    plain[ratings] = False
    return np.asarray(plain)


def is_letter(codes: Codes) -> NDArray[np.bool_]:
    """Whether each code point of a lower-case text is a letter, not a digit, punctuation or an emoji."""
    latin = (codes >= 97) & (codes <= 122)
    other = (codes >= 0xC0) & ((codes < 0x2000) | (codes >= 0x2C00)) & ((codes < 0x3000) | (codes >= 0x3040))
    return latin | (other & ((codes < 0xE000) | (codes >= 0x20000)))
