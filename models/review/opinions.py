"""Which words praise or blame: a short text without any of them has no verdict.

They are the words of the lexicon, and the words whose reviews are clearly more often positive, or negative,
than others. Names are left out: a liked actor is no opinion.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from functions.review.ngrams import Buckets, Ngrams, clean, code_points, with_unmarked
from models.review.lexicon import NEUTRAL, Example

CLEAR = 0.7
"""The least absolute log-odds ratio of an opinion."""
SURE = 2.5
"""The least ratio of it to its standard error."""
COMMON = 0.1
"""A word in a larger share of the reviews is no opinion: in Yoruba, praise has "mo" (I) more often."""
SPELT = 0.5
"""A word is a name if it is capitalised in so many of its occurrences inside a sentence."""
LENGTH = 3
"""How many words the n-grams of the lexicon have, at most."""
_INSIDE = re.compile(r"(?<=[a-z\u00c0-\u1eff,] )[^\W\d_]{2,}")


def names(texts: Iterable[str], ngrams: Ngrams) -> Buckets:
    """The buckets of words that are mostly capitalised, without marks."""
    met: Counter[str] = Counter()
    capital: Counter[str] = Counter()
    for text in texts:
        words = _INSIDE.findall(text)
        met.update(word.lower() for word in words)
        capital.update(word.lower() for word in words if word[0].isupper())
    return _buckets((word for word, count in capital.items() if count > SPELT * met[word]), ngrams)


def weighty(words: csr_matrix, positive: NDArray[np.int64], neutral: Buckets) -> Buckets:
    """The buckets of the words that are opinions in the reviews of one language, but for the neutral ones.

    `words` has a row for each review, with values in the buckets of its words without marks.
    """
    reviews = np.bincount(positive, minlength=2)
    counts = [
        np.bincount(words[positive == label].indices, minlength=words.shape[1]) + 0.5 for label in (0, 1)
    ]
    ratio = np.log(counts[1] / counts[0]) - np.log((reviews[1] + 1) / (reviews[0] + 1))
    error = np.sqrt(1 / counts[0] + 1 / counts[1])
    chosen = (np.abs(ratio) >= CLEAR) & (np.abs(ratio) >= SURE * error)
    chosen &= counts[0] + counts[1] < COMMON * len(positive)
    chosen[neutral] = False
    return np.flatnonzero(chosen).astype(np.uint32)


def neutral(examples: Sequence[Example], ngrams: Ngrams) -> Buckets:
    """The buckets of the lexicon's neutral texts, of numbers, and of signs."""
    texts = [one.text for one in examples if one.chance == NEUTRAL]
    return _buckets([*map(clean, texts), *map(str, range(2100)), *string.punctuation], ngrams)


def listed(examples: Sequence[Example], ngrams: Ngrams) -> Buckets:
    """The buckets of the lexicon's words with an opinion, and of its short texts without such a word."""
    neutral = {gram for one in examples if one.chance == NEUTRAL for gram in _grams(one.text)}
    grams = {gram for one in examples for gram in _grams(one.text)} - neutral
    return _buckets((gram for gram in grams if " " not in gram or grams.isdisjoint(gram.split(" "))), ngrams)


def _grams(text: str) -> set[str]:
    """The text as a whole, and its words."""
    return {clean(text), *clean(text).split(" ")}


def _buckets(grams: Iterable[str], ngrams: Ngrams) -> Buckets:
    """The bucket of each n-gram of words as a whole, with marks and without."""
    found = [np.zeros(0, np.uint32)]
    for gram in grams:
        size = gram.count(" ") + 1
        if size <= LENGTH:
            single = Ngrams(words=(size,), chars=(1,), bits=ngrams.bits)
            found.append(single.buckets(with_unmarked(code_points(gram)))[0][[0, -1]])
    return np.unique(np.concatenate(found))
