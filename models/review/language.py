"""Fit the classifier of languages, by character trigrams, and collect the known words."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from functions.review.language import ELSEWHERE, NGRAM, OPINION, SPACE, Languages, is_letter
from functions.review.ngrams import Buckets, Ngrams, code_points, with_unmarked
from models.review.lexicon import Example, symbols

WORDS_ELSEWHERE = Path(__file__).with_name("elsewhere.tsv")
"""Common words of other languages, and of code; the project wrote the list."""
OTHER = "~"
"""The class of any other language; it sorts after all names."""
BITS = 14
PIECES = (2, 5, 10)
"""The model learns each review as a whole and as pieces with so many words, so that it knows short texts."""
ENGLISH = 2500
"""The number of IMDB reviews to learn from; more are not needed."""
MADE_UP = 150
"""How many texts of random words of another language to learn from, for each length and language."""
MET = 40
"""A word is known if it is in so many IMDB reviews; rarer words are from many languages."""


def fit(
    texts: Sequence[str],
    language: NDArray[np.str_],
    imdb: NDArray[np.bool_],
    examples: Sequence[Example],
    opinions: Buckets,
    ngrams: Ngrams,
) -> Languages:
    """Learn the languages of reviews, and which words are known.

    `language` has the language of each text. Only some IMDB reviews are used. The words of the lexicon's
    `examples` are known, too. `opinions` are the buckets of word n-grams that praise or blame.
    """
    random = np.random.default_rng(0)
    some = random.permutation(np.flatnonzero(imdb))[:ENGLISH]
    learnt, labels = [], []
    for row in np.concatenate([np.flatnonzero(~imdb), some]):
        words = texts[row].split()
        starts = [(int(random.integers(len(words) - size)), size) for size in PIECES if size < len(words)]
        learnt += [texts[row], *(" ".join(words[start : start + size]) for start, size in starts)]
        labels += [language[row]] * (1 + len(starts))
    others = made_up(random)
    names, target, counts = np.unique(labels + [OTHER] * len(others), return_inverse=True, return_counts=True)
    model = LogisticRegression(C=3.0, max_iter=100)
    model.fit(
        _trigrams(learnt + others, ngrams), target, sample_weight=len(target) / len(names) / counts[target]
    )
    scale = float(np.abs(model.coef_).max()) / 127 or 1.0
    own = tuple(map(str, names[:-1]))
    kinds = _kinds(texts, [own.index(one) for one in language], imdb, examples, opinions, own, ngrams)
    buckets = np.flatnonzero(kinds).astype(np.uint32)
    return Languages(
        own,
        np.rint(model.coef_.T / scale).astype(np.int8),
        scale,
        np.asarray(model.intercept_, dtype=np.float64),
        buckets,
        kinds[buckets],
        ngrams.bits,
    )


def words_elsewhere() -> list[list[str]]:
    """The common words of each of some other languages."""
    with WORDS_ELSEWHERE.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["words"].split() for row in rows]


def made_up(random: np.random.Generator) -> list[str]:
    """Texts of random words, each of one other language."""
    return [
        " ".join(random.choice(words, size))
        for words in words_elsewhere()
        for size in PIECES
        for _ in range(MADE_UP)
    ]


def _trigrams(texts: Sequence[str], ngrams: Ngrams) -> csr_matrix:
    """Counts of hashed trigrams, divided by the square root of their number, shape (texts, 2**BITS)."""
    one = Ngrams(words=(1,), chars=(NGRAM,), bits=ngrams.bits)
    coarser = one.size // 2 // (1 << BITS)
    rows = [(one.buckets(with_unmarked(code_points(text)))[1] - one.size // 2) // coarser for text in texts]
    values = np.concatenate([np.full(row.size, max(row.size, 1) ** -0.5) for row in rows])
    ends = np.cumsum([0, *[row.size for row in rows]])
    matrix = csr_matrix((values, np.concatenate(rows).astype(np.int32), ends), shape=(len(rows), 1 << BITS))
    matrix.sum_duplicates()
    return matrix


def _kinds(
    texts: Sequence[str],
    language: Sequence[int],
    imdb: NDArray[np.bool_],
    examples: Sequence[Example],
    opinions: Buckets,
    names: tuple[str, ...],
    ngrams: Ngrams,
) -> NDArray[np.uint8]:
    """The kind of each bucket of words, see `Languages`. Of other tokens, only `symbols` have one."""
    kinds = np.zeros(ngrams.size // 2, dtype=np.uint8)
    counts = np.zeros(ngrams.size // 2, dtype=np.int64)
    for text, place, english in zip(texts, language, imdb, strict=True):
        words = np.unique(_lettered(text, ngrams))
        if english:
            counts[words] += 1
        else:
            kinds[words] |= 1 << place
    if "en" in names:
        kinds[counts >= MET] |= 1 << names.index("en")
    every = (1 << len(names)) - 1
    for example in examples:
        bits = 1 << names.index(example.language) if example.language in names else every
        kinds[_lettered(example.text, ngrams)] |= bits
    for symbol in symbols():
        kinds[_single(ngrams).buckets(with_unmarked(code_points(symbol)))[0]] |= every | OPINION
    for common in words_elsewhere():
        kinds[_lettered(" ".join(common), ngrams)] |= ELSEWHERE
    kinds[opinions] |= OPINION
    return kinds


def _single(ngrams: Ngrams) -> Ngrams:
    return Ngrams(words=(1,), chars=(1,), bits=ngrams.bits)


def _lettered(text: str, ngrams: Ngrams) -> NDArray[np.uint32]:
    """The buckets of the words of a text that begin with a letter, with marks and without."""
    codes = with_unmarked(code_points(text))
    spaces = np.flatnonzero(codes == SPACE)
    return _single(ngrams).buckets(codes)[0][is_letter(codes[spaces[:-1] + 1])]
