"""The network: a small residual CNN whose class-activation map comes out of the same pass."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

STAIN = (0.7326, 0.5724, 0.5986)
"""The median colour, RGB, of the middle of the training cells."""
EXPONENT = 0.5
"""How much of the difference from `STAIN` is taken out: 0 would leave each cell as it is."""
MARGIN = 16
"""Pixels left out on each side for the middle of a cell, which a round cell that fills the image covers."""
DARKEST = 0.05
"""The least mean that a channel is taken to have, so that no gain is above 4."""


@dataclass(frozen=True)
class Cloud:
    """Where the training cells lie in a space.

    Attributes:
        means: of each class, shape (classes, dimensions).
        whitening: to unit covariance, shape (dimensions, dimensions).
    """

    means: NDArray[np.float32]
    whitening: NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What the network knows of its own limits; all of it goes into the graph.

    Attributes:
        features: where the cells lie by their features, 96 of them.
        colours: where they lie by the logarithms of their mean red, green and blue.
        alien: the distance by features beyond which an image shows no cell.
        unfamiliar: the one beyond which a cell is unlike those of the training.
        stained: the distance by colours beyond which it is stained or lit unlike them.
        undecided: the log-odds below which neither label can be excluded.
    """

    features: Cloud
    colours: Cloud
    alien: float
    unfamiliar: float
    stained: float
    undecided: float


def build() -> keras.Model:
    """An untrained network: RGB in [0, 1], shape (n, 100, 100, 3), to (logit, attention).

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
    """Take out part of what differs between stains and lamps: a gain for each channel of each image.

    The gain is (training mean / this cell's mean) to the power of `EXPONENT`, so black stays black.
    """
    gain = ops.power(ops.divide(np.array(STAIN, np.float32).reshape(1, 1, 1, 3), colour(image)), EXPONENT)
    return ops.minimum(ops.multiply(image, gain), 1.0)


def colour(image: Any) -> Any:
    """The mean colour of the middle of each image, shape (n, 1, 1, 3), from `DARKEST` to 1."""
    middle = layers.Cropping2D(MARGIN)(image)
    return ops.maximum(ops.mean(middle, axis=(1, 2), keepdims=True), DARKEST)


def convolve(x: Any, filters: int, stride: int = 1, size: int = 3, activation: bool = True) -> Any:
    """Convolution and batch normalisation, with a ReLU unless `activation` is false."""
    x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation("relu")(x) if activation else x


def residual(x: Any, filters: int, stride: int = 1) -> Any:
    """Two convolutions beside a short cut (He et al. 2016), which is pooled where `stride` is not 1."""
    skip = layers.AveragePooling2D(stride, padding="same")(x) if stride > 1 else x
    if x.shape[-1] != filters:
        skip = convolve(skip, filters, size=1, activation=False)
    y = convolve(x, filters, stride)
    y = convolve(y, filters, activation=False)
    return layers.Activation("relu")(layers.Add()([skip, y]))


def two_views(trained: keras.Model) -> keras.Model:
    """Let `trained` see each image twice, upright and turned by 180 degrees.

    Puts out (logit, attention, features, colours). The first three are the mean of both views; `attention` is
    turned back, and its mean is still the logit. `features` has shape (n, 96); `colours`, the logarithms of
    the mean red, green and blue, shape (n, 3).
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
    """The network to serve, of `two_views`: (probability, attention, doubts).

    The logit and the attention are divided by `temperature` (Guo et al. 2017), so the mean of the attention
    stays the logit. `doubts` has shape (n, 1, 3): not a cell, unfamiliar, undecided; each is above 1 if it
    holds.
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
        # A product and a sum, not a matrix product, whose weights would be rounded to 8 bits.
        white = ops.sum(ops.multiply(centred, cloud.whitening[None]), axis=2)
        away.append(ops.sum(ops.square(white), axis=1, keepdims=True))
    return ops.sqrt(ops.minimum(*away) if len(away) > 1 else away[0])
