"""The network: a small residual CNN whose class-activation map comes out of the same pass."""

from typing import Any

import keras
from keras import layers


def build() -> keras.Model:
    """An untrained network: RGB in [0, 1], shape (n, 100, 100, 3), to (logit, attention).

    `logit` has shape (n, 1). `attention` is the class-activation map, shape (n, 13, 13, 1), in
    log-odds: a 1x1 convolution over the last features, whose mean is the logit (Zhou et al. 2016).
    """
    x = image = keras.Input((100, 100, 3), name="image")
    x = convolve(x, 24, stride=2)
    x = convolve(x, 48, stride=2)
    x = residual(x, 48)
    x = residual(x, 64, stride=2)
    x = residual(x, 96)
    x = layers.SpatialDropout2D(0.1)(x)
    attention = layers.Conv2D(1, 1, name="attention")(x)
    logit = layers.GlobalAveragePooling2D(name="logit")(attention)
    return keras.Model(image, [logit, attention], name="malaria")


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


def calibrated(trained: keras.Model, temperature: float) -> keras.Model:
    """The network to serve: (probability, attention), the logit divided by `temperature`.

    The division is folded into the weights of the last convolution, so that it costs nothing and the
    mean of the attention stays the logit (temperature scaling: Guo et al. 2017).
    """
    logit, attention = trained.outputs
    probability = layers.Activation("sigmoid", name="probability")(logit)
    served = keras.Model(trained.inputs[0], [probability, attention], name="malaria")
    head = served.get_layer("attention")
    head.set_weights([weights / temperature for weights in head.get_weights()])
    return served
