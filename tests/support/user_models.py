"""Models like those of users: small networks whose weights determine known answers, and their pins."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from shared.pin import Pin

RED, BLUE = (255, 0, 0), (0, 0, 255)
FORMATS = {".hdf5": "h5", ".pkl": "joblib"}


def pinned(path: Path, labels: tuple[str, ...] = ("Normal", "Infected"), **settings: Any) -> Pin:
    """Return the pin of a file, as publishing would write it."""
    content = path.read_bytes()
    about = {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "format": FORMATS.get(path.suffix, path.suffix[1:]),
        "version": "own",
        "labels": list(labels),
    }
    return Pin.parse({**about, **settings})


def colours(
    keras: Any, units: int, activation: str | None, size: Any = (8, 8), scale: float = 1.0, channels: int = 3
) -> Any:
    """Return a network that uses only the means of red and blue: more red than blue means the last label.

    `scale` is the factor of a Rescaling layer before it. Its logits are 8 (red - blue) for the last unit, 0
    for the others.
    """
    weights = np.zeros((channels, units), np.float32)
    weights[0, -1] = 8
    if channels == 3:
        weights[2, -1] = -8
    layers = [keras.Input((*size, channels))]
    layers += [keras.layers.Rescaling(scale)] if scale != 1 else []
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(units, activation=activation)]
    model = keras.Sequential(layers)
    model.layers[-1].set_weights([weights, np.zeros(units, np.float32)])
    return model


def converted(model: Any, kind: str = "float32", white: float = 1.0) -> bytes:
    """The network as a LiteRT file; `kind` is the dtype of its input and output, quantised if not float32."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float32":
        shape = (1, *model.input_shape[1:])
        random = np.random.default_rng(0)
        seen = [np.zeros(shape), np.full(shape, white), *(random.uniform(0, white, shape) for _ in range(8))]
        coloured = [np.zeros(shape), np.zeros(shape)]
        coloured[0][..., 0], coloured[1][..., -1] = white, white
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([each.astype(np.float32)] for each in seen + coloured)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of statistics that it works out itself
        return bytes(converter.convert())
