"""The n-grams of the serving path as a scikit-learn transformer, and the way to and from a linear model."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from functions.review.classifier import Linear
from functions.review.ngrams import Ngrams


class NgramVectoriser(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Texts to rows of `ngrams.size` columns: 1 / sqrt(n) in each of a table's n distinct buckets.

    So the words of a text have length 1, and its characters too. There is nothing to fit.
    """

    def __init__(self, ngrams: Ngrams | None = None, dtype: Any = np.float64) -> None:
        self.ngrams = ngrams
        self.dtype = dtype

    def fit(self, texts: Any, labels: Any = None) -> "NgramVectoriser":  # noqa: ARG002
        """Return self."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, texts: Iterable[str]) -> csr_matrix:
        """A matrix of shape (texts, ngrams.size)."""
        ngrams = self.ngrams or Ngrams()
        columns: list[NDArray[np.uint32]] = []
        values: list[NDArray[Any]] = []
        ends = [0]
        for text in texts:
            families = ngrams.features(text)
            columns += families
            values += [np.full(one.size, max(one.size, 1) ** -0.5, self.dtype) for one in families]
            ends.append(ends[-1] + sum(one.size for one in families))
        if not columns:
            return csr_matrix((0, ngrams.size), dtype=self.dtype)
        indices = np.concatenate(columns).astype(np.int32)
        return csr_matrix((np.concatenate(values), indices, ends), shape=(len(ends) - 1, ngrams.size))


def quantised(ngrams: Ngrams, weights: NDArray[np.float64], intercept: float) -> Linear:
    """The served model of these weights, shape (ngrams.size,): each rounded to one of 255 steps of its table.

    A few outliers are cut off at 127 steps, which is finer for all others: a step is 1/127 of the
    99.99th percentile of the non-zero weights' size, or more.
    """
    tables = weights.reshape(2, -1)
    tops = [np.quantile(np.abs(table[table != 0]), 0.9999) if table.any() else 1.0 for table in tables]
    scales = np.array(tops, dtype=np.float64) / 127
    steps = np.clip(np.rint(tables / scales[:, None]), -127, 127).astype(np.int8)
    return Linear(ngrams, steps, scales, float(intercept))


def pipeline(linear: Linear) -> Pipeline:
    """The served model as a scikit-learn pipeline that gives the same probabilities."""
    classifier = LogisticRegression()
    classifier.classes_ = np.array([0, 1])
    classifier.coef_ = (linear.weights * linear.scales[:, None]).reshape(1, -1)
    classifier.intercept_ = np.array([linear.intercept])
    classifier.n_features_in_ = linear.ngrams.size
    return Pipeline([("ngrams", NgramVectoriser(linear.ngrams)), ("classifier", classifier)])
