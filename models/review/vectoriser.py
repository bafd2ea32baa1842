"""The n-grams of the function as a scikit-learn transformer, and conversions of the linear model."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from functions.review.linear import Linear
from functions.review.ngrams import Ngrams, code_points


class NgramVectoriser(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Texts to rows of `ngrams.size` columns: 1 / sqrt(n) in each of a table's n distinct buckets.

    So the word features of a text have length 1, and so do its character features. There is nothing to fit.
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


class WeighedVectoriser(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Texts to the features of the served model: n-grams, n-grams of short texts, and the intercept.

    There are `2 * ngrams.size + 1` columns. There is nothing to fit.
    """

    def __init__(self, linear: Linear) -> None:
        self.linear = linear

    def fit(self, texts: Any, labels: Any = None) -> "WeighedVectoriser":  # noqa: ARG002
        """Return self."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, texts: Iterable[str]) -> csr_matrix:
        """A matrix of shape (texts, 2 * ngrams.size + 1)."""
        size = self.linear.ngrams.size
        columns: list[NDArray[Any]] = []
        values: list[NDArray[Any]] = []
        ends = [0]
        for text in texts:
            line = self.linear.line(code_points(text))
            scale = self.linear.scale_of(line)
            features = self.linear.features(line, scale)
            buckets = np.concatenate([one for one, _ in features]).astype(np.int64)
            weight = np.concatenate([counted for _, counted in features])
            columns.append(np.concatenate([buckets, buckets + size, [2 * size]]))
            values.append(scale.factor * np.concatenate([weight, scale.brevity * weight, [0.0]]))
            values[-1][-1] = scale.intercept
            ends.append(ends[-1] + columns[-1].size)
        if not columns:
            return csr_matrix((0, 2 * size + 1))
        return csr_matrix(
            (np.concatenate(values), np.concatenate(columns), ends), shape=(len(ends) - 1, 2 * size + 1)
        )


def quantised(weights: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Round weights, shape (ngrams.size,), to 255 steps for each table; return them and the two step sizes.

    A few outliers are clipped at 127 steps, so that the steps are finer for all others: a step is 1/127 of
    the 99.99th percentile of the absolute non-zero weights.
    """
    tables = weights.reshape(2, -1)
    tops = [np.quantile(np.abs(table[table != 0]), 0.9999) if table.any() else 1.0 for table in tables]
    scales = np.array(tops, dtype=np.float64) / 127
    return np.clip(np.rint(tables / scales[:, None]), -127, 127).astype(np.int8), scales


def pipeline(linear: Linear) -> Pipeline:
    """The served model as a scikit-learn pipeline that gives the same probabilities."""
    size = linear.ngrams.size
    weights = np.zeros(2 * size + 1)
    weights[:size] = (linear.weights * linear.scales[:, None]).ravel()
    weights[size + linear.short.buckets.astype(np.int64)] = linear.short.weights * linear.short.scale
    weights[-1] = 1
    classifier = LogisticRegression()
    classifier.classes_ = np.array([0, 1])
    classifier.coef_ = weights.reshape(1, -1)
    classifier.intercept_ = np.zeros(1)
    classifier.n_features_in_ = weights.size
    return Pipeline([("ngrams", WeighedVectoriser(linear)), ("classifier", classifier)])
