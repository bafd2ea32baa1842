"""The limits beyond which the network cannot be trusted, from its features and logits of labelled cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.malaria.network import Cloud, Limits

SHRINKAGE = 1e-2
"""The share of the mean variance added to each dimension, so that none that hardly varies dominates."""
ALIEN, UNFAMILIAR, STAINED = 0.998, 0.996, 0.998
"""The share of the cells within each limit; about 1 in 100 good cells gets a warning."""
COVERAGE = 0.98
"""The share of the cells whose true label is not excluded."""

Floats = NDArray[np.float64]
Truth = NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """The outputs of the network for labelled cells.

    Attributes:
        logits: shape (n,).
        features: shape (n, 96).
        colours: shape (n, 3).
        infected: the true labels, shape (n,).
    """

    logits: Floats
    features: Floats
    colours: Floats
    infected: Truth


@dataclass(frozen=True)
class Held:
    """What networks gave for cells of patients that they never saw; each field has shape (n,).

    Attributes:
        logits: before calibration.
        far: the distance of the features from those of the network's own training cells.
        stained: the distance of the colours from those of the network's own training cells.
        infected: the true labels.
    """

    logits: Floats
    far: Floats
    stained: Floats
    infected: Truth

    @classmethod
    def of(cls, train: Measured, held: Measured) -> "Held":
        """Measure how far the cells `held` are from those that the network was trained on."""
        far = distances(held.features, cloud(train.features, train.infected))
        return cls(held.logits, far, distances(held.colours, cloud(train.colours)), held.infected)

    @classmethod
    def joined(cls, parts: "Sequence[Held]") -> "Held":
        """The cells of all parts, one after the other."""
        names = ("logits", "far", "stained", "infected")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def limits(train: Measured, held: Held, temperature: float) -> Limits:
    """Compute the limits: the distributions from the training cells, the rest from held-out cells."""
    return Limits(
        cloud(train.features, train.infected),
        cloud(train.colours),
        float(np.quantile(held.far, ALIEN)),
        float(np.quantile(held.far, UNFAMILIAR)),
        float(np.quantile(held.stained, STAINED)),
        undecided(held.logits / temperature, held.infected),
    )


def cloud(points: Floats, classes: Truth | None = None) -> Cloud:
    """The means of the classes, or of all points, shape (n, dimensions), and their shared covariance."""
    own = np.zeros(len(points), np.int64) if classes is None else classes
    means = np.stack([points[own == label].mean(0) for label in np.unique(own)])
    covariance = np.cov((points - means[np.unique(own, return_inverse=True)[1]]).T)
    covariance += SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    return Cloud(means.astype(np.float32), (vectors / np.sqrt(values)).T.astype(np.float32))


def distances(points: Floats, cloud: Cloud) -> Floats:
    """The Mahalanobis distance of each point from the nearest class, shape (n,)."""
    away = [np.square((points - mean) @ cloud.whitening.T).sum(1) for mean in cloud.means]
    return np.asarray(np.sqrt(np.min(away, axis=0)))


def undecided(logits: Floats, infected: Truth) -> float:
    """The log-odds below which neither label can be excluded, by split conformal prediction.

    A label is excluded if its log-odds are below minus this value. This excludes the true label of 2 % of the
    cells (Angelopoulos and Bates 2021, arXiv 2107.07511). The result is 0 if not more than 2 % are wrong.
    """
    wrong = np.where(infected == 1, -logits, logits)
    part = min(1.0, float(np.ceil((len(wrong) + 1) * COVERAGE) / len(wrong)))
    return max(0.0, float(np.quantile(wrong, part, method="higher")))
