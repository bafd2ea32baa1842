"""Weights for short texts, fitted to the lexicon, because the reviews are too long to teach them.

In a short text, these weights are added to those of the reviews, so that the texts of the lexicon become
right. Common words and pairs of words keep the weight that they have in reviews, so that "The" has none.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags

from functions.review.linear import Limits, Short
from functions.review.ngrams import Ngrams, clean
from models.review.lexicon import Example
from models.review.vectoriser import NgramVectoriser
from shared.runtimes.outputs import logistic

Floats = NDArray[np.float64]

COMMON = 300
"""The number of common words, and of pairs, from the reviews of each language."""
SEEN = 20
"""A word in so many reviews gets half of its log-count ratio."""
EACH = 1000.0
"""The total weight of the texts of a language."""
ANCHOR = 1000.0
"""The weight of short real reviews, whose scores should not change."""
PENALTY = 0.01
ITERATIONS = 500


def common(texts: Sequence[str], positive: NDArray[np.int64], language: str) -> list[Example]:
    """The common words and pairs of reviews, with the probability that a review with them is positive."""
    met: Counter[str] = Counter()
    liked: Counter[str] = Counter()
    for text, good in zip(texts, positive, strict=True):
        words = clean(text).split(" ")
        pairs = (" ".join(pair) for pair in pairwise(words))
        grams = {*words, *pairs}
        met.update(grams)
        liked.update(grams if good else ())
    prior = np.log(positive.mean() / (1 - positive.mean()))
    by_length = [[gram for gram in met if gram.count(" ") == spaces] for spaces in (0, 1)]
    chosen = [
        gram for grams in by_length for gram in sorted(grams, key=lambda one: (-met[one], one))[:COMMON]
    ]
    ratios = (np.log((liked[gram] + 1) / (met[gram] - liked[gram] + 1)) - prior for gram in chosen)
    return [
        Example(language, gram, float(logistic(np.array(ratio * met[gram] / (met[gram] + SEEN)))), 0.5)
        for gram, ratio in zip(chosen, ratios, strict=True)
    ]


def brevity(texts: Iterable[str], limits: Limits) -> Floats:
    """How short each text is, from 0 to 1."""
    return np.array([limits.brevity(len(clean(text).split(" "))) for text in texts])


def evidence(features: csr_matrix, weights: Floats, brief: Floats, ngrams: Ngrams, limits: Limits) -> Floats:
    """The share of the intercept that counts in each row."""
    known = csr_matrix(features[:, ngrams.size // 2 :] != 0) @ (weights[ngrams.size // 2 :] != 0)
    return np.array([limits.share(met, short) for met, short in zip(known, brief, strict=True)])


def fit(
    examples: Sequence[Example],
    texts: Sequence[str],
    weights: Floats,
    intercept: float,
    ngrams: Ngrams,
    limits: Limits,
) -> Short:
    """Fit the weights that, added to `weights`, shape (ngrams.size,), give the examples their targets.

    `texts` are real reviews.
    """
    theirs = NgramVectoriser(ngrams).transform(example.text for example in examples)
    brief = brevity((example.text for example in examples), limits)
    known = theirs @ weights + intercept * evidence(theirs, weights, brief, ngrams, limits)
    chance = np.array([example.chance for example in examples])
    language = np.array([example.language for example in examples])
    _, which, counts = np.unique(language, return_inverse=True, return_counts=True)
    weight = np.array([example.weight for example in examples])
    share = EACH * weight / counts[which]
    columns = np.unique(theirs.indices)
    ours = brevity(texts, limits)
    near = np.flatnonzero(ours)
    features = NgramVectoriser(ngrams).transform(texts[row] for row in near.tolist())
    anchor = np.sqrt(ANCHOR / max(near.size, 1))
    reviews = diags(ours[near] * anchor) @ features[:, columns]
    faded = diags(brief) @ theirs[:, columns]
    reviews, faded = csr_matrix(reviews), csr_matrix(faded)
    backwards = faded.T.tocsr(), reviews.T.tocsr()

    def loss(added: Floats) -> tuple[float, Floats]:
        odds, moved = known + faded @ added, reviews @ added
        cost = share @ (np.logaddexp(0, odds) - chance * odds) + (moved @ moved + PENALTY * added @ added) / 2
        slope = backwards[0] @ (share * (logistic(odds) - chance)) + backwards[1] @ moved + PENALTY * added
        return float(cost), slope

    options = {"maxiter": ITERATIONS}
    fitted = minimize(loss, np.zeros(columns.size), jac=True, method="L-BFGS-B", options=options).x
    scale = max(float(np.quantile(np.abs(fitted), 0.9995)), 1e-9) / 127
    steps = np.clip(np.rint(fitted / scale), -127, 127).astype(np.int8)
    return Short(columns[steps != 0].astype(np.uint32), steps[steps != 0], scale)
