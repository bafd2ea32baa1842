"""Keras networks (`keras`, `h5`), run by TensorFlow, which is imported only here and takes seconds."""

import tempfile
from pathlib import Path

import numpy as np

from ..errors import ModelUnavailable
from .networks import Floats, Outputs, input_shape, outputs

PACKAGE = "keras"


class Keras:
    """A network in memory. Any number of threads may run it."""

    def __init__(self, content: bytes, suffix: str, size: tuple[int, int] | None = None) -> None:
        """Load the bytes of a file that `model.save` wrote; `suffix` is `.keras` or `.h5`.

        `size` is (height, width), for a network of free size.

        Raises:
            ModelUnavailable: the package is missing, or it is no network for images.
        """
        try:
            import keras
        except ImportError as error:
            raise ModelUnavailable("add tensorflow-cpu to requirements.txt") from error
        # Keras reads files only: a private copy, so that these bytes are loaded and no others.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"model{suffix}")
            path.write_bytes(content)
            self._model = keras.models.load_model(path, compile=False)
        inputs = self._model.inputs
        if len(inputs) != 1:
            raise ModelUnavailable(f"expected one input, an image; the model takes {len(inputs)}")
        self.size, self.channels = input_shape(tuple(inputs[0].shape), size)
        self._kind = np.dtype(inputs[0].dtype)
        self.integers = self._kind.kind in "iu"
        # A model that was built with a list of its one input wants a list; a Sequential has no `input`.
        self._listed = isinstance(getattr(self._model, "input", None), list)
        self.run(np.zeros((1, *self.size, self.channels), np.float32))

    def run(self, batch: Floats) -> Outputs:
        """Run on images, shape (n, height, width, channels), float32."""
        values = np.rint(batch).astype(self._kind) if self.integers else batch
        result = self._model([values] if self._listed else values, training=False)
        tensors = result if isinstance(result, list | tuple) else [result]
        return outputs([np.asarray(tensor) for tensor in tensors])
