"""Text to hashed n-grams; training and serving use this same vectoriser.

A review is cleaned to a line of tokens with single spaces between them. Every word n-gram and every
character n-gram is a substring of that line. The polynomial hash of any substring follows from two prefix
sums (Karp and Rabin 1987), so numpy hashes all of them at once, without a loop over n-grams:

    S[i] = sum of code[j] * P**j for j < i,  modulo 2**64
    hash(start, end) = (S[end] - S[start]) * P**-start

A finaliser then spreads the hashes over 2**bits buckets. Words and characters each have their own table.

Authors in Hausa, Igbo and Yoruba write all, some or none of the tone marks, underdots and hooks. So a line
with such letters is followed by the same line without them, whose n-grams are features, too.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import groupby, takewhile

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from . import ratings

Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Buckets = NDArray[np.uint32]
Floats = NDArray[np.float64]
Span = tuple[int, int]
"""Start and end of a part of a text, in code points."""

_PRIME = 0x9E3779B97F4A7C15
_INVERSE = pow(_PRIME, -1, 1 << 64)
_SEEDS = (0x243F6A8885A308D3, 0x13198A2E03707344)
_SPACE = 32

_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")
_LETTERS = r"[\w\u0300-\u036f]+"  # Yoruba and Igbo letters may need a combining mark even in NFC
_EMOTICON = r"[:;=]'?-?[()\[\]dpo/\\|*3]+(?!\w)|</?3"
_TOKEN = {
    (plain, rated): re.compile(
        (f"{ratings.TENTHS}|" if rated else "") + rf"{letters}(?:['-]{letters})*|{_EMOTICON}|[^\s\w]"
    )
    for plain, letters in ((True, "[a-z0-9]+"), (False, _LETTERS))
    for rated in (True, False)
}
"""The pattern of a token, by whether a text is ASCII, and whether it has a rating."""
_PLAIN = (("_", " "), ("\u2019", "'"), ("\u2018", "'"), ("\u201c", '"'), ("\u201d", '"'))

# A link or an e-mail address, with bounds so that no text takes long to search.
_LINK = re.compile(
    r"(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]]"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}",
    re.IGNORECASE,
)
_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"
# Category Cf (format characters), except joiners inside emoji; two blanks that Unicode counts as letters; and
# what changes the look of an emoji: variation selectors and skin colours.
_UNSEEN = re.compile(
    "[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\u2800\u3164\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
    f"|(?<![{_EMOJI}\ufe0f\U0001f3fb-\U0001f3ff])\u200d|\u200d(?![{_EMOJI}])"
)
# Variants of letters and digits: full-width, mathematical, enclosed, ligatures. None has a tone mark.
_DRESSED = re.compile(
    "[\u2102\u210a-\u2113\u2115\u2119-\u211d\u2124\u2128\u212c\u212d\u212f-\u2131\u2133-\u2134\u2139\u213c-\u213f"
    "\u2145-\u2149\u2460-\u2473\u24b6-\u24ea\u3000\ufb00-\ufb06\uff01-\uff5e\U0001d400-\U0001d7ff\U0001f130-\U0001f149]"
)

# Any character that the two patterns above may have, and some others: a search for it is three times faster.
_UNUSUAL = re.compile("[^\0-\xac\xae-\u058f\u1e00-\u1fff\u2010-\u2027]")

# Pieces of a text that can be rewritten separately: a character reference ends before the next `&`, and no
# character below U+0300 is composed with the one before it.
_REFERENCE = re.compile("&[^&]*")
_LONG_NUMBER = re.compile("&#([0-9]{1000,})")
_CLUSTER = re.compile("[\0-\u02ff]?[^\0-\u02ff]+")
_MARKED = re.compile("[^\0-\u02ff]{1000,}")
_LONGER = re.compile("\u0130")  # the one letter whose lower case is two


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
    """The tokens of `text`, in lower case and NFC, joined by single spaces.

    HTML tags, links, e-mail addresses and invisible characters are removed. Entities become characters, and
    variants of letters plain letters. Words, emoticons, emoji, ratings and punctuation are tokens.
    """
    if "&" in text:
        text = _unescaped(text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if _may_link(text):
        text = _LINK.sub(" ", text)
    if not text.isascii() and _UNUSUAL.search(text):
        text = _DRESSED.sub(lambda match: _undressed(match[0]), _UNSEEN.sub("", text))
    text = _plain(_composed(text).lower())
    for pattern in ratings.patterns(text):
        text = pattern.sub(ratings.in_tenths, text)
    return " ".join(_token(text).findall(text))


def _plain(text: str) -> str:
    """Spaces for underscores, and straight quotes; five calls of `replace` are faster than `translate`."""
    for old, new in _PLAIN:
        text = text.replace(old, new)
    return text


def _token(text: str) -> re.Pattern[str]:
    rest = text.replace(ratings.SLASH, "")
    return _TOKEN[rest.isascii(), len(rest) < len(text)]


def _may_link(text: str) -> bool:
    return "@" in text or "://" in text or "www." in text or "WWW." in text


def _undressed(letter: str) -> str:
    return unicodedata.normalize("NFKC", letter)


def _unescaped(text: str) -> str:
    """`html.unescape`, but also for numbers with more digits than Python converts (4,300).

    Eight digits without leading zeros are already more than the last code point.
    """
    return html.unescape(_LONG_NUMBER.sub(lambda match: f"&#{match[1].lstrip('0')[:8] or '0'}", text))


def _composed(text: str) -> str:
    """NFC, without the quadratic time that `unicodedata` needs for thousands of marks in a row."""
    if len(text) > 5_000 and not text.isascii():
        text = _MARKED.sub(_ordered, text)
    return unicodedata.normalize("NFC", text)


def _ordered(run: re.Match[str]) -> str:
    """Decompose a run and sort its marks stably by class: the canonical order of UAX 15."""
    letters = "".join(unicodedata.normalize("NFD", letter) for letter in run[0])
    marks = groupby(letters, key=lambda letter: unicodedata.combining(letter) > 0)
    return "".join("".join(sorted(group, key=unicodedata.combining)) for _, group in marks)


def token_spans(text: str) -> list[Span]:
    """The span in `text` of each token of `clean(text)`, in order.

    Characters that are rewritten together have one span: `&amp;`, or letters that NFC composes or reorders.
    So tokens may share characters, as the two that NFC makes of U+0958 do, but their order never changes.
    """
    traced = _Traced(text, [(place, place + 1) for place in range(len(text))])
    if "&" in text:
        traced = traced.sub(_REFERENCE, lambda match: _unescaped(match[0]))
    if "<" in traced.text:
        traced = traced.sub(_TAG, lambda _: " ")
    if _may_link(traced.text):
        traced = traced.sub(_LINK, lambda _: " ")
    if not traced.text.isascii():
        traced = traced.sub(_UNSEEN, lambda _: "").sub(_DRESSED, lambda match: _undressed(match[0]))
    if not unicodedata.is_normalized("NFC", traced.text):
        traced = traced.sub(_CLUSTER, lambda match: _composed(match[0]))
    traced = traced.sub(_LONGER, lambda match: match[0].lower())
    traced = _Traced(_plain(traced.text.lower()), traced.spans)
    for pattern in ratings.patterns(traced.text):
        traced = traced.sub(pattern, ratings.in_tenths)
    tokens = _token(traced.text).finditer(traced.text)
    return [traced.span(token.start(), token.end()) for token in tokens]


@dataclass(frozen=True)
class _Traced:
    """A rewritten text, and for each of its characters the span in the original text."""

    text: str
    spans: list[Span]

    def span(self, start: int, end: int) -> Span:
        """The span of several characters."""
        return self.spans[start][0], self.spans[end - 1][1]

    def sub(self, pattern: re.Pattern[str], rewrite: Callable[[re.Match[str]], str]) -> "_Traced":
        """Like `pattern.sub`, but keep the spans."""
        texts, spans, done = [], [], 0
        for match in pattern.finditer(self.text):
            old, new = match[0], rewrite(match)
            if new != old:
                head, tail = _unchanged(old, new)
                start, end = match.start() + head, match.end() - tail
                middle = new[head : len(new) - tail]
                texts += [self.text[done:start], middle]
                spans += self.spans[done:start] + [self.span(start, end)] * len(middle)
                done = end
        return _Traced("".join([*texts, self.text[done:]]), spans + self.spans[done:])


def _unchanged(old: str, new: str) -> Span:
    """How many characters at the start and at the end of `old` stay; at least one in between is new."""
    most = max(min(len(old), len(new)) - 1, 0)
    tail = min(_common(old[::-1], new[::-1]), most)
    return min(_common(old, new), most - tail), tail


def _common(one: str, other: str) -> int:
    """The length of the common prefix."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def code_points(text: str) -> Codes:
    """Code points of the cleaned text with a space on each side; runs of one character are cut to two."""
    line = f" {clean(text)} ".encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(line, dtype="<u4")
    keep = np.ones(codes.size, dtype=bool)
    keep[2:] = (codes[2:] != codes[1:-1]) | (codes[2:] != codes[:-2])
    return codes[keep]


@cache
def _bare() -> Codes:
    """Each code point below `_MARKLESS` without its marks; 0 for a combining mark."""
    letters = (chr(code).translate(_HOOKED) for code in range(_MARKLESS))
    bare = np.array([ord(unicodedata.normalize("NFD", letter)[0]) for letter in letters], dtype=np.uint32)
    bare[0x300:0x370] = 0
    return bare


def with_unmarked(codes: Codes) -> Codes:
    """The line; if it has letters with marks, followed by the same line without marks.

    The second line has the letters of the first, one by one, without separate combining marks. So it is known
    which letters an n-gram of either line covers.
    """
    if codes.max() < _UNMARKED:
        return codes
    bare = np.where(codes < _MARKLESS, _bare()[np.minimum(codes, _MARKLESS - 1)], codes)
    if np.array_equal(bare, codes):
        return codes
    return np.concatenate([codes, bare[bare > 0][1:]])


@dataclass(frozen=True)
class Ngrams:
    """Which n-grams are features: the numbers of consecutive words and of consecutive characters.

    Each family has a table of 2**bits buckets; buckets below half of `size` are those of word n-grams.
    """

    words: tuple[int, ...] = (1, 2, 3)
    chars: tuple[int, ...] = (2, 3, 4, 5)
    bits: int = 21

    @property
    def size(self) -> int:
        """The number of buckets of both tables together."""
        return 2 << self.bits

    def features(self, text: str) -> tuple[Buckets, Buckets]:
        """The distinct buckets of the word n-grams of `text` and of its character n-grams, sorted."""
        return self.features_of(with_unmarked(code_points(text)))

    def features_of(self, codes: Codes) -> tuple[Buckets, Buckets]:
        """The same for a line from `code_points` and `with_unmarked`."""
        words, chars = self.buckets(codes)
        return distinct(words), distinct(chars)

    def buckets(self, codes: Codes) -> tuple[Buckets, Buckets]:
        """A bucket for each occurrence of an n-gram: by n, and for each n from left to right.

        A word n-gram reaches from the start of its first word to the end of its last word; a character n-gram
        starts at each position. So the index of a bucket tells which characters it covers.
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

    def shares(self, codes: Codes, words: Floats, chars: Floats) -> Floats:
        """Distribute values over words: `words` and `chars` have a value for each of `buckets(codes)`.

        The result has shape (words of the line,), and its sum is that of all values. A word n-gram gives
        equal parts to its words. A character n-gram gives equal parts to its characters, without spaces, and
        so to their words. If it has only spaces (a word was a mark alone, and marks are removed), the next
        word gets all of it.
        """
        letters = codes != _SPACE
        count = codes.size - np.count_nonzero(letters) - 1
        word = np.minimum(np.cumsum(~letters), count) - 1
        parts = np.bincount(word, _parts(chars, letters, self.chars), minlength=count)
        return parts + _parts(words, np.ones(count, dtype=bool), self.words)

    def greatest(self, codes: Codes, values: Floats) -> tuple[Floats, Floats]:
        """For each of `buckets(codes)`, the greatest of its words' values; `values` has one for each word."""
        letters = codes != _SPACE
        word = np.minimum(np.cumsum(~letters), values.size) - 1
        each = np.where(letters, values[word], values.min())
        return _greatest(values, self.words), _greatest(each, self.chars)

    def _spread(self, hashes: list[Hashes], table: int) -> Buckets:
        """The top bits of splitmix64's finaliser (Steele et al. 2014), plus the table's offset."""
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


def _parts(values: Floats, takes: NDArray[np.bool_], orders: tuple[int, ...]) -> Floats:
    """Distribute each n-gram's value equally over its units that take any, else to its first unit.

    `values` are ordered by n and from left to right; `takes` and the result have an element for each unit.
    """
    totals = np.zeros(takes.size)
    for n in orders:
        count = max(takes.size - n + 1, 0)
        here, values = values[:count], values[count:]
        taking = [takes[place : place + count] for place in range(n)]
        among = np.sum(taking, axis=0, dtype=np.int64)
        part = here / np.maximum(among, 1)
        for place in range(n):
            totals[place : place + count] += part * taking[place]
        totals[:count] += here * (among == 0)
    return totals


def _greatest(values: Floats, orders: tuple[int, ...]) -> Floats:
    """The maximum of each n consecutive values: by n, and for each n from left to right."""
    windows = (sliding_window_view(values, n).max(axis=1) for n in orders if n <= values.size)
    return np.concatenate([np.zeros(0), *windows])


def distinct(buckets: Buckets) -> Buckets:
    """Like `numpy.unique`, but sorts in place, and takes half the time for a few thousand values."""
    buckets.sort()
    keep = np.ones(buckets.size, dtype=bool)
    np.not_equal(buckets[1:], buckets[:-1], out=keep[1:])
    return buckets[keep]
