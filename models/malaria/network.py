"""The network: a small residual CNN that returns its class-activation map in the same pass."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

STAIN = (0.7326, 0.5724, 0.5986)
"""The median colour, RGB, of the middle of the training cells."""
EXPONENT = 0.5
"""The strength of the stain correction towards `STAIN`; 0 would leave each cell as it is."""
MARGIN = 16
"""Pixels cropped on each side, so that a round cell that fills the image covers all of the rest."""
DARKEST = 0.05
"""The lower bound of a channel's mean, so that no gain is above 4."""


@dataclass(frozen=True)
class Cloud:
    """The distribution of the training cells in a space.

    Attributes:
        means: the mean of each class, shape (classes, dimensions).
        whitening: the matrix that gives unit covariance, shape (dimensions, dimensions).
    """

    means: NDArray[np.float32]
    whitening: NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """The limits beyond which the network warns; they become part of the graph.

    Attributes:
        features: the distribution of the 96 features.
        colours: the distribution of the logarithms of the mean red, green and blue.
        alien: the distance of the features beyond which an image does not show a cell.
        unfamiliar: the distance of the features beyond which a cell is unlike the training cells.
        stained: the distance of the colours beyond which the stain or the light is unlike the training.
        undecided: the log-odds below which neither label can be excluded.
    """

    features: Cloud
    colours: Cloud
    alien: float
    unfamiliar: float
    stained: float
    undecided: float


def build() -> keras.Model:
    """Build an untrained network: RGB in [0, 1], shape (n, 100, 100, 3), to (logit, attention).

    `logit` has shape (n, 1). `attention` is the class-activation map, shape (n, 13, 13, 1), in
    log-odds: a 1x1 convolution over the last features, whose mean is the logit (Zhou et al. 2016).
    """
    image = keras.Input((100, 100, 3), name="image")
    x = normalised(image)
    x = convolve(x, 24, stride=2)
    x = convolve(x, 48, stride=2)
    x = residual(x, 48)
    x = residual(x, 64, stride=2)
    x = residual(x, 96)
    x = layers.SpatialDropout2D(0.1, name="features")(x)
    attention = layers.Conv2D(1, 1, name="attention")(x)
    logit = layers.GlobalAveragePooling2D(name="logit")(attention)
    return keras.Model(image, [logit, attention], name="malaria")


def normalised(image: Any) -> Any:
    """Correct part of the differences between stains and lamps, by a gain for each channel of each image.

    The gain is (training mean / this cell's mean) to the power of `EXPONENT`, so black stays black.
    """
    gain = ops.power(ops.divide(np.array(STAIN, np.float32).reshape(1, 1, 1, 3), colour(image)), EXPONENT)
    return ops.minimum(ops.multiply(image, gain), 1.0)


def colour(image: Any) -> Any:
    """The mean colour of the middle of each image, shape (n, 1, 1, 3), from `DARKEST` to 1."""
    middle = layers.Cropping2D(MARGIN)(image)
    return ops.maximum(ops.mean(middle, axis=(1, 2), keepdims=True), DARKEST)


def convolve(x: Any, filters: int, stride: int = 1, size: int = 3, activation: bool = True) -> Any:
    """Add a convolution and batch normalisation, and a ReLU unless `activation` is false."""
    x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation("relu")(x) if activation else x


def residual(x: Any, filters: int, stride: int = 1) -> Any:
    """Add two convolutions and a skip connection (He et al. 2016), which is pooled if `stride` is not 1."""
    skip = layers.AveragePooling2D(stride, padding="same")(x) if stride > 1 else x
    if x.shape[-1] != filters:
        skip = convolve(skip, filters, size=1, activation=False)
    y = convolve(x, filters, stride)
    y = convolve(y, filters, activation=False)
    return layers.Activation("relu")(layers.Add()([skip, y]))


def two_views(trained: keras.Model) -> keras.Model:
    """Let `trained` see each image twice, upright and turned by 180 degrees.

    The outputs are (logit, attention, features, colours). The first three are means of both views.
    `attention` is turned back first, and its mean is still the logit. `features` has shape (n, 96), and
    `colours`, the logarithms of the mean red, green and blue, has shape (n, 3).
    """
    body = keras.Model(
        trained.inputs[0], [trained.get_layer(name).output for name in ("features", "attention")]
    )
    image = keras.Input((100, 100, 3), name="image")
    both = body(ops.concatenate([image, ops.flip(image, axis=(1, 2))], axis=0))
    features, attention = (ops.split(each, 2, axis=0) for each in both)
    attention = ops.multiply(ops.add(attention[0], ops.flip(attention[1], axis=(1, 2))), 0.5)
    pooled = ops.mean(ops.add(*features), axis=(1, 2)) * 0.5
    logit = layers.GlobalAveragePooling2D(name="logit")(attention)
    colours = ops.reshape(ops.log(colour(image)), (-1, 3))
    return keras.Model(image, [logit, attention, pooled, colours], name="malaria")


def served(viewed: keras.Model, temperature: float, limits: Limits) -> keras.Model:
    """Build the network to serve, from `two_views`: (probability, attention, doubts).

    The logit and the attention are divided by `temperature` (Guo et al. 2017), so the mean of the attention
    is still the logit. `doubts` has shape (n, 1, 3): not a cell, unfamiliar, undecided. A doubt above 1
    gives a warning.
    """
    logit, attention, features, colours = viewed.outputs
    logit, attention = ops.multiply(logit, 1 / temperature), ops.multiply(attention, 1 / temperature)
    probability = layers.Activation("sigmoid", name="probability")(logit)
    far = _distance(features, limits.features)
    stained = ops.multiply(_distance(colours, limits.colours), 1 / limits.stained)
    unfamiliar = ops.maximum(ops.multiply(far, 1 / limits.unfamiliar), stained)
    undecided = ops.divide(limits.undecided, ops.maximum(ops.absolute(logit), 1e-6))
    alien = ops.multiply(far, 1 / limits.alien)
    doubts = ops.expand_dims(ops.concatenate([alien, unfamiliar, undecided], axis=1), 1)
    return keras.Model(viewed.inputs[0], [probability, attention, doubts], name="malaria")


def _distance(points: Any, cloud: Cloud) -> Any:
    """The Mahalanobis distance from the nearest class, shape (n, 1) (Lee et al. 2018, arXiv 1807.03888)."""
    away = []
    for mean in cloud.means:
        centred = ops.expand_dims(ops.subtract(points, mean[None]), 1)
        # Not a matrix product, because quantisation would round its weights to 8 bits.
        white = ops.sum(ops.multiply(centred, cloud.whitening[None]), axis=2)
        away.append(ops.sum(ops.square(white), axis=1, keepdims=True))
    return ops.sqrt(ops.minimum(*away) if len(away) > 1 else away[0])
