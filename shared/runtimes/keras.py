"""Keras networks (`keras`, `h5`). TensorFlow is imported only here, because that takes seconds."""

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelUnavailable
from .networks import LARGE_OFFSET, SMALL_FACTOR, About, Floats, Outputs, input_shape, outputs

PACKAGE = "keras"
CONVERT = (
    "convert it to LiteRT where it was made, and publish model.tflite:\n"
    "  import pathlib, tensorflow as tf\n"
    "  lite = tf.lite.TFLiteConverter.from_keras_model(model).convert()\n"
    '  pathlib.Path("model.tflite").write_bytes(lite)'
)
HALVES = 5e-3
"""How far the sum of 16-bit (half-precision) probabilities may be from 1."""


class Keras:
    """A network in memory. Any number of threads may run it."""

    def __init__(self, content: bytes, suffix: str, size: tuple[int, int] | None = None) -> None:
        """Load the bytes of a file that `model.save` wrote; `suffix` is `.keras` or `.h5`.

        `size` is the (height, width) to use if the network takes images of any size.

        Raises:
            ModelUnavailable: the package is missing, the file cannot be loaded, or its network does not take
                images.
        """
        try:
            import keras
        except ImportError as error:
            raise ModelUnavailable("add tensorflow-cpu to the function's requirements.in") from error
        # Keras only reads files: write a private copy, so that exactly the verified bytes are loaded.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"model{suffix}")
            path.write_bytes(content)
            try:
                self._model = keras.models.load_model(path, compile=False)
            except Exception as error:
                raise ModelUnavailable(_why_unreadable(content, suffix, error, keras.__version__)) from error
        inputs = self._model.inputs
        if len(inputs) != 1:
            raise ModelUnavailable(f"expected one input, an image; the model takes {len(inputs)}")
        self.size, self.channels = input_shape(tuple(inputs[0].shape), size)
        self._rank = len(inputs[0].shape)
        self._kind = np.dtype(inputs[0].dtype)
        self.range = (0.0, 255.0) if self._kind.kind in "iu" else None
        # A model built with a list of one input must be called with a list; a Sequential has no `input`.
        self._listed = isinstance(getattr(self._model, "input", None), list)
        self.run(np.zeros((1, *self.size, self.channels), np.float32))

    def about(self) -> About:
        """Inspect the first layers and the last one."""
        return About(_ending(self._model), _scaling(self._model))

    def run(self, batch: Floats) -> Outputs:
        """Run on images, shape (n, height, width, channels), float32."""
        values = batch if self._rank == 4 else batch[..., 0]
        values = np.rint(values).astype(self._kind) if self._kind.kind in "iu" else values
        result = self._model([values] if self._listed else values, training=False)
        result = list(result.values()) if isinstance(result, dict) else result
        tensors = result if isinstance(result, list | tuple) else [result]
        return outputs([_single(np.asarray(tensor)) for tensor in tensors])


def _single(values: Any) -> Floats:
    """Convert a tensor to float32; rescale 16-bit probabilities so that they sum to 1."""
    real = np.asarray(values, dtype=np.float32)
    if values.dtype.itemsize == 2 and real.ndim == 2 and real.shape[1] > 1 and (real >= 0).all():
        total = real.sum(axis=1, keepdims=True)
        if (np.abs(total - 1) <= HALVES).all():
            real = real / total
    return real


def _ending(model: Any) -> str:
    """Return the name of the last activation: `sigmoid`, `softmax`, `none`, or empty if it is unknown."""
    last = _operations(model)[-1]
    if hasattr(last, "layers"):
        return _ending(last)
    activation = getattr(last, "activation", None)
    name = getattr(activation, "__name__", type(last).__name__).lower()
    kinds = {"sigmoid": "sigmoid", "softmax": "softmax", "linear": "none", "dense": "none"}
    return kinds.get(name, "") if len(model.outputs) == 1 else ""


def _scaling(model: Any) -> str:
    """Return the name of a layer, before any with weights, that scales pixels of 0 to 255 down."""
    for layer in _flat(model):
        kind = type(layer).__name__
        if kind == "Rescaling":
            scale = np.max(np.abs(np.asarray(layer.scale, float)))
            if scale < SMALL_FACTOR:
                return f"Rescaling({scale:.6g})"
        elif kind in ("Normalization", "BatchNormalization"):
            mean = layer.mean if kind == "Normalization" else layer.moving_mean
            return kind if np.max(np.asarray(mean)) > LARGE_OFFSET else ""
        elif description := _arithmetic(layer, kind):
            return description
        elif getattr(layer, "weights", None):
            return ""
    return ""


def _arithmetic(layer: Any, kind: str) -> str:
    """Describe an operation that scales pixels of 0 to 255 down, such as `x / 127.5 - 1`."""
    nodes = getattr(layer, "_inbound_nodes", [])
    arguments = list(nodes[0].arguments.args)[1:] if len(nodes) == 1 else []
    try:
        constants = [float(np.max(np.abs(np.asarray(each, float)))) for each in arguments]
    except (TypeError, ValueError):  # tensors that are computed
        return ""
    value = constants[0] if len(constants) == 1 else 0.0
    if not value:
        return ""
    if kind in ("Divide", "TrueDivide"):
        return f"division by {value:g}" if 1 / value < SMALL_FACTOR else ""
    if kind == "Multiply":
        return f"multiplication by {value:g}" if value < SMALL_FACTOR else ""
    return f"{kind.lower()} {value:g}" if kind in ("Subtract", "Add") and value > LARGE_OFFSET else ""


def _flat(model: Any) -> Iterator[Any]:
    """Yield the layers and operations in order, including those of nested models."""
    for layer in _operations(model):
        yield from _flat(layer) if hasattr(layer, "layers") else (layer,)


def _operations(model: Any) -> list[Any]:
    """Return the layers in order, and the operations between them, which `layers` omits."""
    functional = getattr(model, "_functional", None) or model
    return list(getattr(functional, "operations", model.layers))


def _why_unreadable(content: bytes, suffix: str, error: Exception, here: str) -> str:
    """Say in one line what the file is and what to do. Keras's own message is its whole configuration."""
    try:
        config, version = _config(content, suffix)
    except Exception:
        return f"it is not a file that Keras's model.save wrote: expected {suffix}, the whole model"
    if not config:
        return "it holds weights only: save the whole model, with model.save"
    written = f"Keras {version}" if version else "an old Keras"
    layers = set(re.findall(r'"class_name": *"([\w>]+)"', config))
    if "Lambda" in layers:
        return f"it has a Lambda layer, written by {written}; such code is not run from a file: {CONVERT}"
    cause = str(error)
    if unknown := re.search(r"(?:Could not locate (class|function)|Unknown (layer|\w+):) '?([\w>]+)", cause):
        kind = "function" if "function" in unknown.groups() else "layer"
        name = unknown[3].rpartition(">")[2]
        return f"it has a {kind} of your own, {name}, whose code is not in the file: {CONVERT}"
    if not version.startswith("3."):
        return f"it was written by {written}, and Keras {here} cannot read it ({_short(cause)}): {CONVERT}"
    return f"it was written by {written}, and Keras {here} cannot load it: {_short(cause)}"


def _config(content: bytes, suffix: str) -> tuple[str, str]:
    """Return the model's configuration, in JSON, and the version of Keras that wrote the file."""
    if suffix == ".keras":
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            about = json.loads(file.read("metadata.json"))
            return file.read("config.json").decode(), str(about.get("keras_version", ""))
    import h5py

    with h5py.File(io.BytesIO(content)) as file:
        return str(file.attrs.get("model_config", "")), str(file.attrs.get("keras_version", ""))


def _short(text: str) -> str:
    """Return the first line that is not blank, at most 200 characters."""
    return next((line.strip()[:200] for line in text.splitlines() if line.strip()), "no reason given")
