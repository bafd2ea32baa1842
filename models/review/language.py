"""Fit the classifier of languages, by character trigrams, and collect the known words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from functions.review.language import NGRAM, SPACE, Languages, is_letter
from functions.review.ngrams import Ngrams, code_points, with_unmarked
from models.review.lexicon import Example, symbols

BITS = 14
PIECES = (2, 5, 10)
"""The model learns each review as a whole and as pieces with so many words, so that it knows short texts."""
ENGLISH = 2500
"""The number of IMDB reviews to learn from; more are not needed."""
MET = 60
"""A word is known if it is in so many IMDB reviews; rarer words are from many languages."""


def fit(
    texts: Sequence[str],
    language: NDArray[np.str_],
    imdb: NDArray[np.bool_],
    lexicon: Sequence[Example],
    ngrams: Ngrams,
) -> Languages:
    """Learn the languages of reviews, and which words are known.

    `language` has the language of each text. Only some IMDB reviews are used. The words of `lexicon` are
    known, too.
    """
    random = np.random.default_rng(0)
    some = random.permutation(np.flatnonzero(imdb))[:ENGLISH]
    learnt, labels = [], []
    for row in np.concatenate([np.flatnonzero(~imdb), some]):
        words = texts[row].split()
        starts = [(int(random.integers(len(words) - size)), size) for size in PIECES if size < len(words)]
        learnt += [texts[row], *(" ".join(words[start : start + size]) for start, size in starts)]
        labels += [language[row]] * (1 + len(starts))
    names, target, counts = np.unique(labels, return_inverse=True, return_counts=True)
    model = LogisticRegression(C=3.0, max_iter=100)
    model.fit(_trigrams(learnt, ngrams), target, sample_weight=len(target) / len(names) / counts[target])
    weights, intercepts = model.coef_, model.intercept_
    if len(names) == 2:
        weights, intercepts = np.vstack([-weights, weights]) / 2, np.append(-intercepts, intercepts) / 2
    scale = float(np.abs(weights).max()) / 127 or 1.0
    return Languages(
        tuple(map(str, names)),
        np.rint(weights.T / scale).astype(np.int8),
        scale,
        np.asarray(intercepts, dtype=np.float64),
        _words(texts, imdb, lexicon, ngrams),
    )


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


def _words(
    texts: Sequence[str], imdb: NDArray[np.bool_], lexicon: Sequence[Example], ngrams: Ngrams
) -> NDArray[np.uint8]:
    """A bit for each bucket of words: known or not. Of other tokens, only `symbols` are known."""
    known = np.zeros(ngrams.size // 2, dtype=np.uint8)
    counts = np.zeros(ngrams.size // 2, dtype=np.int64)
    for text, english in zip(texts, imdb, strict=True):
        words = np.unique(_lettered(text, ngrams))
        if english:
            counts[words] += 1
        else:
            known[words] = 1
    known[counts >= MET] = 1
    for example in lexicon:
        known[_lettered(example.text, ngrams)] = 1
    for symbol in symbols():
        known[_single(ngrams).buckets(with_unmarked(code_points(symbol)))[0]] = 1
    return np.packbits(known, bitorder="little")


def _single(ngrams: Ngrams) -> Ngrams:
    return Ngrams(words=(1,), chars=(1,), bits=ngrams.bits)


def _lettered(text: str, ngrams: Ngrams) -> NDArray[np.uint32]:
    """The buckets of the words of a text that begin with a letter, with marks and without."""
    codes = with_unmarked(code_points(text))
    spaces = np.flatnonzero(codes == SPACE)
    return _single(ngrams).buckets(codes)[0][is_letter(codes[spaces[:-1] + 1])]
