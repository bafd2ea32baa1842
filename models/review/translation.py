"""Weights of words in other languages from their English translations, without labels in these languages.

IMDB's reviews give the weights of English words. NollySenti's parallel reviews give the translations, by IBM
Model 1 (Brown et al. 1993), which aligns the words of a text with those of its translation.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from functions.review.ngrams import Ngrams, code_points, with_unmarked

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

ROUNDS = 6
SHRINKAGE = 2.0
"""Each weight shrinks as if the word were in this many more reviews, with weight 0."""
SEEN = 10
"""The least number of reviews with an English word; rarer words get no weight."""


def unmarked_words(texts: Iterable[str], ngrams: Ngrams) -> csr_matrix:
    """A row for each text, with 1 / sqrt(n) in the buckets of its n distinct words without marks."""
    single = Ngrams(words=(1,), chars=(1,), bits=ngrams.bits)
    rows = []
    for text in texts:
        codes = code_points(text)
        line = with_unmarked(codes)
        bare = line[codes.size - 1 :] if line.size > codes.size else line
        rows.append(np.unique(single.buckets(bare)[0]).astype(np.int32))
    ends = np.cumsum([0, *[row.size for row in rows]])
    values = np.concatenate([np.full(row.size, max(row.size, 1) ** -0.5, np.float32) for row in rows])
    return csr_matrix((values, np.concatenate(rows), ends), shape=(len(rows), ngrams.size // 2))


def english_worth(words: csr_matrix, positive: NDArray[Any]) -> Floats:
    """What each word, shape (columns,), adds to the log-odds of these English reviews."""
    seen = np.bincount(words.indices, minlength=words.shape[1])
    kept = np.flatnonzero(seen >= SEEN)
    worth = np.zeros(words.shape[1])
    worth[kept] = LogisticRegression(C=3.0).fit(words[:, kept], positive).coef_[0]
    return worth


def translated_worth(words: csr_matrix, translations: Rows, originals: Rows, worth: Floats) -> Floats:
    """The weight of each translated word, shape (columns,): the mean weight of its English words.

    Row `translations[i]` of `words` is a translation of row `originals[i]`; `worth` has the English weights.
    """
    foreign, english, group = _links(words, translations, originals)
    pairs, link = np.unique(foreign * words.shape[1] + english, return_inverse=True)
    of, to = np.divmod(pairs, words.shape[1])
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    sizes = np.diff(starts, append=group.size)
    chance = 1 / np.bincount(of)[of]
    for _ in range(ROUNDS):
        share = chance[link]
        share /= np.repeat(np.add.reduceat(share, starts), sizes)
        count = np.bincount(link, share)
        chance = count / np.bincount(of, count)[of]
    mean = np.bincount(of, chance * worth[to], minlength=words.shape[1] + 1)[:-1]
    seen = reviews_with(words, translations)
    return mean * seen / (seen + SHRINKAGE)


def reviews_with(words: csr_matrix, rows: Rows) -> Rows:
    """The number of `rows` with each word, shape (columns,)."""
    return np.bincount(words[rows].indices, minlength=words.shape[1])


def _links(words: csr_matrix, translations: Rows, originals: Rows) -> tuple[Rows, Rows, Rows]:
    """Pairs of each word of a translation with each of its original: both columns, and the latter's number.

    Words in only one review are left out. One more column stands for words without a counterpart.
    """
    often = reviews_with(words, translations) > 1, reviews_with(words, np.unique(originals)) > 1
    links: list[list[Rows]] = [[], [], []]
    count = 0
    for translation, original in zip(translations, originals, strict=True):
        foreign = words.indices[words.indptr[translation] : words.indptr[translation + 1]]
        foreign = np.append(foreign[often[0][foreign]], words.shape[1]).astype(np.int64)
        english = words.indices[words.indptr[original] : words.indptr[original + 1]]
        english = english[often[1][english]]
        links[0].append(np.tile(foreign, english.size))
        links[1].append(np.repeat(english, foreign.size).astype(np.int64))
        links[2].append(np.repeat(count + np.arange(english.size), foreign.size))
        count += english.size
    foreign, english, group = map(np.concatenate, links)
    return foreign, english, group
