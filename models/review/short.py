"""Weights for short texts, fitted to the lexicon, because the reviews are too long to teach them.

In a short text, these weights are added to those of the reviews, so that the texts of the lexicon become
right. Common words and pairs of words keep the weight that they have in reviews, so that "The" has none.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags

from functions.review.linear import Linear, Short
from functions.review.ngrams import clean, code_points
from models.review.lexicon import Example
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

NOTHING = Short(np.zeros(0, np.uint32), np.zeros(0, np.int8), 1.0)
"""No weights."""


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


def fit(linear: Linear, examples: Sequence[Example], texts: Sequence[str]) -> Short:
    """Fit the weights for short texts that, added to those of `linear`, give the examples their targets.

    `texts` are real reviews; the scores of the short ones among them should not change.
    """
    known, brief, theirs = read(linear, [example.text for example in examples])
    near = [text for text in texts if linear.limits.brevity(len(clean(text).split(" ")))]
    _, ours, reviews = read(linear, near)
    chance = np.array([example.chance for example in examples])
    language = np.array([example.language for example in examples])
    _, which, counts = np.unique(language, return_inverse=True, return_counts=True)
    share = EACH * np.array([example.weight for example in examples]) / counts[which]
    columns = np.unique(theirs.indices)
    reviews = csr_matrix(diags(ours * np.sqrt(ANCHOR / max(len(near), 1))) @ reviews[:, columns])
    faded = csr_matrix(diags(brief) @ theirs[:, columns])
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


def read(linear: Linear, texts: Sequence[str]) -> tuple[Floats, Floats, csr_matrix]:
    """For each text: its log-odds, how short it is, and a row of its features, shape (texts, ngrams.size).

    A doubtful language, or a lack of opinions, does not bring these log-odds nearer to 0.
    """
    linear = replace(linear, limits=replace(linear.limits, known=0.0, foreign=0.0, hunch=1.0))
    log_odds, brief = np.zeros(len(texts)), np.zeros(len(texts))
    columns, values, ends = [np.zeros(0, np.uint32)], [np.zeros(0)], [0]
    for row, text in enumerate(texts):
        line = linear.line(code_points(text))
        scale = linear.scale_of(line)
        features = linear.features(line, scale)
        log_odds[row], brief[row] = linear.total(features, scale), scale.brevity
        columns += [buckets for buckets, _ in features]
        values += [counted for _, counted in features]
        ends.append(ends[-1] + sum(buckets.size for buckets, _ in features))
    indices = np.concatenate(columns).astype(np.int64)
    rows = csr_matrix((np.concatenate(values), indices, ends), shape=(len(texts), linear.ngrams.size))
    return log_odds, brief, rows
