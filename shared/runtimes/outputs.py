"""Turn the outputs of a model into probabilities, one for each label."""

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelUnavailable

Floats = NDArray[np.float64]


def probabilities(scores: NDArray[np.floating], labels: int, output: str = "probabilities") -> Floats:
    """Turn a model's scores into probabilities, shape (n, labels), float64.

    Args:
        scores: shape (n, labels); or, for two labels, (n, 1): the score of the second.
        labels: the number of labels.
        output: whether the scores are `probabilities` or `logits`.

    Raises:
        ModelUnavailable: the number of scores is wrong.
    """
    if scores.ndim != 2 or (scores.shape[1] != labels and (scores.shape[1], labels) != (1, 2)):
        units = "one output, or one for each label," if labels == 2 else "one output for each label,"
        raise ModelUnavailable(
            f"expected {units} as model.json names {labels} labels; the model's output has shape "
            f"{('n', *scores.shape[1:])}"
        )
    wide = np.asarray(scores, dtype=np.float64)
    if wide.shape[1] == 1:
        second = logistic(wide) if output == "logits" else wide
        return np.concatenate([1 - second, second], axis=1)
    return softmax(wide) if output == "logits" else wide


def logistic(log_odds: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -log_odds)), dtype=np.float64)


def softmax(logits: Floats) -> Floats:
    """Return exp(x) / sum(exp(x)) along the last axis, without overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float64)
