"""Text to hashed n-grams: the one vectoriser of training and serving.

A review is cleaned into tokens joined by single spaces. Every word n-gram and every character n-gram is
a substring of that line, and the polynomial hash of any substring comes from two prefix sums (Karp and
Rabin 1987), so numpy hashes all of them at once, with no loop over n-grams:

    S[i] = sum of code[j] * P**j for j < i,  modulo 2**64
    hash(start, end) = (S[end] - S[start]) * P**-start

A finaliser then spreads the hash over 2**bits buckets. Words and characters have a table each.

Writers of Hausa, Igbo and Yoruba put all, some or none of the tone marks, underdots and hooks. So a line
with such letters is followed by the same line without them: its n-grams are features beside the marked ones.
"""

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Buckets = NDArray[np.uint32]

_PRIME = 0x9E3779B97F4A7C15
_INVERSE = pow(_PRIME, -1, 1 << 64)
_SEEDS = (0x243F6A8885A308D3, 0x13198A2E03707344)
_SPACE = 32

_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")
_LETTERS = r"[\w\u0300-\u036f]+"  # Yoruba and Igbo letters may need a combining mark even in NFC
_WORD = rf"{_LETTERS}(?:['-]{_LETTERS})*"
_EMOTICON = r"[:;=]'?-?[()\[\]dpo/\\|*3]+(?!\w)|<3"
_TOKEN = re.compile(rf"{_WORD}|{_EMOTICON}|[^\s\w]")
_PLAIN = str.maketrans({"_": " ", "\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})


def _powers(base: int, count: int) -> Hashes:
    """`base**0 ... base**count` modulo 2**64."""
    factors = np.full(count + 1, base, dtype=np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


_UNMARKED = 0xC0  # no letter with a mark comes before
_MARKLESS = 0x1F00  # nor a Latin one after
_HOOKED = str.maketrans("\u0253\u0257\u0199\u01b4", "bdky")

_TABLED = 8192
_POWERS = _powers(_PRIME, _TABLED)
_INVERSES = _powers(_INVERSE, _TABLED)


def clean(text: str) -> str:
    """Tokens of `text`, lower-case and in NFC, joined by single spaces.

    HTML tags go, entities become characters; words, emoticons, emoji and punctuation are tokens.
    """
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = unicodedata.normalize("NFC", text).lower().translate(_PLAIN)
    return " ".join(_TOKEN.findall(text))


def code_points(text: str) -> Codes:
    """Code points of the cleaned text between two spaces; a run of one character is cut to two."""
    line = f" {clean(text)} ".encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(line, dtype="<u4")
    keep = np.ones(codes.size, dtype=bool)
    keep[2:] = (codes[2:] != codes[1:-1]) | (codes[2:] != codes[:-2])
    return codes[keep]


@cache
def _bare() -> Codes:
    """Each code point below `_MARKLESS` less its marks; 0 for a combining mark."""
    letters = (chr(code).translate(_HOOKED) for code in range(_MARKLESS))
    bare = np.array([ord(unicodedata.normalize("NFD", letter)[0]) for letter in letters], dtype=np.uint32)
    bare[0x300:0x370] = 0
    return bare


def with_unmarked(codes: Codes) -> Codes:
    """The line, and where it has letters with marks, once more without them.

    The second line is the first letter by letter, less the combining marks that stand alone: so it is known
    which letters an n-gram of either stands for.
    """
    if codes.max() < _UNMARKED:
        return codes
    bare = np.where(codes < _MARKLESS, _bare()[np.minimum(codes, _MARKLESS - 1)], codes)
    if np.array_equal(bare, codes):
        return codes
    return np.concatenate([codes, bare[bare > 0][1:]])


@dataclass(frozen=True)
class Ngrams:
    """Which n-grams are features: so many consecutive words, so many consecutive characters.

    Either family has a table of 2**bits buckets; a bucket below half of `size` is a word n-gram's.
    """

    words: tuple[int, ...] = (1, 2, 3)
    chars: tuple[int, ...] = (2, 3, 4, 5)
    bits: int = 21

    @property
    def size(self) -> int:
        """Buckets of both tables together."""
        return 2 << self.bits

    def features(self, text: str) -> tuple[Buckets, Buckets]:
        """The distinct buckets of the word n-grams of `text` and of its character n-grams, sorted."""
        words, chars = self.buckets(with_unmarked(code_points(text)))
        return _distinct(words), _distinct(chars)

    def buckets(self, codes: Codes) -> tuple[Buckets, Buckets]:
        """A bucket for each occurrence: order by order, and in an order from left to right.

        A word n-gram spans from the start of its first word to the end of its last, a character
        n-gram starts at each position: so the bucket's place tells the characters it stands for.
        """
        size = codes.size
        powers = _POWERS if size <= _TABLED else _powers(_PRIME, size)
        inverses = _INVERSES if size <= _TABLED else _powers(_INVERSE, size)
        sums = np.zeros(size + 1, dtype=np.uint64)
        np.cumsum(codes * powers[:size], out=sums[1:])
        spaces = np.flatnonzero(codes == _SPACE)
        starts, ends = sums[spaces[:-1] + 1], sums[spaces[1:]]
        unshift = inverses[spaces[:-1] + 1]
        words = [_windows(starts, ends[n - 1 :], unshift) for n in self.words]
        chars = [_windows(sums, sums[n:], inverses) for n in self.chars]
        return self._spread(words, table=0), self._spread(chars, table=1)

    def _spread(self, hashes: list[Hashes], table: int) -> Buckets:
        """The finaliser of splitmix64 (Steele et al. 2014), its top bits, behind the table's offset."""
        mixed = np.concatenate(hashes)
        mixed += np.uint64(_SEEDS[table])
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        return (mixed >> np.uint64(64 - self.bits)).astype(np.uint32) + np.uint32(table << self.bits)


def _windows(starts: Hashes, ends: Hashes, unshift: Hashes) -> Hashes:
    """Hashes of the substrings between paired prefix sums; there are as many as `ends`."""
    return (ends - starts[: ends.size]) * unshift[: ends.size]


def _distinct(buckets: Buckets) -> Buckets:
    """`numpy.unique`, for half its time on a few thousand."""
    buckets.sort()
    keep = np.ones(buckets.size, dtype=bool)
    np.not_equal(buckets[1:], buckets[:-1], out=keep[1:])
    return buckets[keep]
