"""A photo of one red blood cell in, `Infected` or `Normal` out.

The model file is LiteRT (`tflite`), or a Keras model as `model.save` wrote it (`keras`, `h5`).
Training decodes its images with `decode` too, so the network sees in service what it was trained on.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import ModelUnavailable, TooLarge, UnsupportedType, Unusable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 12_500_000
MIN_SIDE = 8
LARGE = 2_000_000
"""Pixels beyond which images are decoded one at a time: a burst of them would fill the memory."""

_one_large = threading.Lock()

# In log-odds. Of the 1,801 calibration cells called rightly, the hottest point is over 29 in 95 % of the
# infected and below 11 in 95 % of the normal ones.
HOTTEST = 40.0
BOLDEST = 170  # the parasite is still seen through it

# Pillow's own bomb guard warns where we refuse; `decode` checks the size before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Diagnosis:
    """What the network says of one cell.

    `probabilities` maps each label to its calibrated probability; they sum to 1. `attention` is the
    class-activation map, shape (rows, columns), float32, in log-odds: its mean is the logit of
    `Infected`. It is None for a model that has no such output.
    """

    label: str
    probabilities: Mapping[str, float]
    attention: Floats | None = None

    def heatmap(self, size: tuple[int, int]) -> bytes:
        """Draw `attention` as a PNG of `size` (height, width) to lay over the cell; see `heatmap` below.

        Raises:
            ValueError: this model gives no attention.
        """
        if self.attention is None:
            raise ValueError("expected a model with a class-activation map; this one gives none")
        return heatmap(self.attention, size)


def _warmth(levels: int) -> Pixels:
    """Colours from clear yellow to bold red, shape (levels, 4), RGBA."""
    level = np.linspace(0, 1, levels)
    red, blue = np.full(levels, 255), np.zeros(levels)
    return np.stack([red, 220 * (1 - level), blue, BOLDEST * level], axis=1).round().astype(np.uint8)


# As many steps as the eye can tell apart: of 256, the PNG would be half as large again.
_WARMTH = _warmth(64)


def heatmap(attention: Floats, size: tuple[int, int]) -> bytes:
    """Draw a class-activation map as an RGBA PNG of `size` (height, width).

    `attention` has shape (rows, columns), in log-odds. Where it does not speak for `Infected`, at 0 and
    below, the picture is clear; where it does, yellow to red, the more opaque the more it does. The scale is
    the same for every cell: at `HOTTEST` and above it is red, `BOLDEST` in 255 opaque.
    """
    height, width = size
    smooth = Image.fromarray(attention).resize((width, height), Image.Resampling.BICUBIC)
    top = len(_WARMTH) - 1
    levels = np.clip(np.asarray(smooth) * (top / HOTTEST), 0, top).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(_WARMTH[levels]).save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def decode(data: bytes, size: tuple[int, int]) -> Pixels:
    """Turn an encoded image into RGB pixels, shape (height, width, 3), uint8, for `size` (height, width).

    The image is turned upright by its EXIF tag, made 8-bit RGB (transparency becomes black, as the
    background of a segmented cell is) and stretched to `size`.

    Raises:
        UnsupportedType: the bytes are none of `FORMATS`, or several frames.
        TooLarge: more than `MAX_PIXELS`, by its header: nothing has been decoded.
        Unusable: truncated or damaged, or smaller than `MIN_SIDE` pixels a side.
    """
    height, width = size
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnsupportedType(
            f"expected a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image; "
            f"these {len(data)} bytes are none of them"
        ) from None
    except Exception as error:
        raise Unusable(f"the image's header is damaged: {error}") from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise TooLarge(
                f"expected at most {MAX_PIXELS:,} pixels, one cell; "
                f"this image has {image.width} x {image.height}"
            )
        if min(image.size) < MIN_SIDE:
            raise Unusable(
                f"expected at least {MIN_SIDE} x {MIN_SIDE} pixels; "
                f"this image has {image.width} x {image.height}"
            )
        # Not `n_frames`: counting them takes time that grows with their square.
        if getattr(image, "is_animated", False):
            raise UnsupportedType(f"expected one still image; this {image.format} has several frames")
        try:
            # Lets the JPEG decoder shrink a large photo as it decodes, to no less than twice `size`.
            image.draft("RGB", (2 * width, 2 * height))
            with _one_large if image.width * image.height > LARGE else contextlib.nullcontext():
                ImageOps.exif_transpose(image, in_place=True)
                return _stretched(_rgb(image), size)
        except Unusable:
            raise
        except Exception as error:
            raise Unusable(f"the {image.format} image is truncated or damaged: {error}") from None


def _stretched(image: Image.Image, size: tuple[int, int]) -> Pixels:
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip, not scale
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise Unusable("expected 8 or 16 bits per channel; this image has 32")
        return Image.fromarray((wide >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise Unusable("expected 8 or 16 bits per channel; this image holds floating-point numbers")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image.convert("RGB")


class Classifier:
    """A loaded model. Safe to use from many threads at once."""

    def __init__(self, network: Network, pin: Mapping[str, Any]) -> None:
        settings = pin.get("input", {})
        self._network = network
        self._labels: list[str] = pin["labels"]
        self._threshold: float = pin.get("threshold", 0.5)
        self._low, self._high = settings.get("range", (0.0, 1.0))
        self._bgr = _channels(settings) == "BGR"
        self.size = _size(network.size, settings.get("size"))

    @staticmethod
    def prepare(pin: Mapping[str, Any]) -> None:
        """Import what `load` will run the model with, where it is installed."""
        runtimes = {"tflite": "ai_edge_litert.interpreter", "keras": "keras", "h5": "keras"}
        with contextlib.suppress(KeyError, ImportError):
            importlib.import_module(runtimes[pin["format"]])

    @classmethod
    def load(cls, path: Path, pin: Mapping[str, Any]) -> Classifier:
        """Load the model file that `pin` (a parsed `model.json`) describes; its digest is already checked.

        `format` is `tflite`, `keras` or `h5`. `input` may give `size` (height, width; else the model's
        own), `channels` (`RGB` or `BGR`) and `range` (what black and white are to the model, else 0
        and 1). The model ends in one sigmoid unit, the probability of the second of `labels`, or in
        two softmax units in the order of `labels`.

        Raises:
            ModelUnavailable: the file cannot be loaded, is not such a model, or its package is missing.
        """
        loaders: dict[str, Callable[[Path], Network]] = {"tflite": LiteRT, "keras": Keras, "h5": Keras}
        loader = loaders.get(pin["format"])
        if loader is None:
            raise ModelUnavailable(
                f"{path}: expected a format of {', '.join(loaders)}; got {pin['format']!r}"
            )
        try:
            return cls(loader(path), pin)
        except ModelUnavailable:
            raise
        except Exception as error:
            raise ModelUnavailable(f"{path}: cannot be loaded as {pin['format']}: {error}") from error

    def decode(self, data: bytes) -> Pixels:
        """Encoded image to the pixels this model takes; see the function `decode`."""
        return decode(data, self.size)

    def sample(self) -> Pixels:
        """Something to predict on: a grey image of this model's size."""
        return np.full((*self.size, 3), 128, np.uint8)

    def predict(self, images: Sequence[Pixels]) -> list[Diagnosis]:
        """Diagnose decoded images, in their order."""
        batch = np.stack(images).astype(np.float32)
        if self._bgr:
            batch = batch[..., ::-1]
        batch = batch * np.float32((self._high - self._low) / 255) + np.float32(self._low)
        scores, attention = self._network.run(batch)
        maps = attention if attention is not None else [None] * len(images)
        return [self._diagnosis(float(score[-1]), map_) for score, map_ in zip(scores, maps, strict=True)]

    def _diagnosis(self, probability: float, attention: Floats | None) -> Diagnosis:
        negative, positive = self._labels
        label = positive if probability >= self._threshold else negative
        return Diagnosis(label, {positive: probability, negative: 1.0 - probability}, attention)


class Network(Protocol):
    """A model file that can be run.

    `size` is the (height, width) it takes, None where it takes any. `run` takes float32 images, shape
    (n, height, width, 3), and gives the probabilities, shape (n, 1) or (n, 2), and the attention, shape
    (n, rows, columns), or None.
    """

    @property
    def size(self) -> tuple[int, int] | None: ...

    def run(self, batch: Floats) -> tuple[Floats, Floats | None]: ...


class LiteRT:
    """A `tflite` file. An interpreter serves one thread at a time; there is one for each core."""

    def __init__(self, path: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelUnavailable(f"{path}: add ai-edge-litert to requirements.txt") from error

        def build() -> Any:
            interpreter = Interpreter(model_path=str(path), num_threads=1)
            interpreter.allocate_tensors()
            return interpreter

        first = build()
        [image] = first.get_input_details()
        if image["dtype"] != np.float32:
            raise ModelUnavailable(
                f"{path}: expected a float32 input; this model takes {image['dtype'].__name__}"
            )
        outputs = first.get_output_details()
        _, height, width, _ = image["shape"]
        self.size = (int(height), int(width))
        self._input = image["index"]
        self._outputs = [output["index"] for output in outputs]
        self._build = build
        # Last in, first out: a single caller always meets the interpreter that is warm.
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range((os.cpu_count() or 1) - 1):
            self._idle.put(None)
        self._idle.put(first)
        self.run(np.zeros((1, *self.size, 3), np.float32))

    @contextlib.contextmanager
    def _interpreter(self) -> Iterator[Any]:
        interpreter = self._idle.get()
        try:
            interpreter = interpreter or self._build()
            yield interpreter
        finally:
            self._idle.put(interpreter)

    def run(self, batch: Floats) -> tuple[Floats, Floats | None]:
        found = []
        with self._interpreter() as interpreter:
            for image in batch:
                interpreter.set_tensor(self._input, image[None])
                interpreter.invoke()
                found.append([interpreter.get_tensor(index) for index in self._outputs])
        return _outputs([np.concatenate(tensors) for tensors in zip(*found, strict=True)])


class Keras:
    """A `keras` or `h5` file, run by TensorFlow, which is imported only here."""

    def __init__(self, path: Path) -> None:
        try:
            import keras
        except ImportError as error:
            raise ModelUnavailable(f"{path}: add tensorflow-cpu to requirements.txt") from error
        self._model = keras.models.load_model(path, compile=False)
        height, width = self._model.input_shape[1:3]
        self.size: tuple[int, int] | None = (height, width) if height and width else None
        # A model that was built with a list of its one input wants a list; a Sequential has no `input`.
        self._listed = isinstance(getattr(self._model, "input", None), list)
        self.run(np.zeros((1, *(self.size or (MIN_SIDE, MIN_SIDE)), 3), np.float32))

    def run(self, batch: Floats) -> tuple[Floats, Floats | None]:
        result = self._model([batch] if self._listed else batch, training=False)
        tensors = result if isinstance(result, list | tuple) else [result]
        return _outputs([np.asarray(tensor) for tensor in tensors])


def _outputs(tensors: Sequence[NDArray[Any]]) -> tuple[Floats, Floats | None]:
    """Tell the probabilities from the attention by their shapes."""
    scores = [tensor for tensor in tensors if tensor.ndim == 2 and tensor.shape[1] in (1, 2)]
    maps = [tensor for tensor in tensors if tensor.ndim == 4 and tensor.shape[3] == 1]
    if len(scores) != 1 or len(maps) != len(tensors) - 1 or len(maps) > 1:
        shapes = [tensor.shape for tensor in tensors]
        raise ModelUnavailable(
            f"expected an output of shape (n, 1) or (n, 2), and a map at most; got {shapes}"
        )
    return scores[0], maps[0][..., 0] if maps else None


def _channels(settings: Mapping[str, Any]) -> str:
    channels: str = settings.get("channels", "RGB")
    if channels not in ("RGB", "BGR"):
        raise ModelUnavailable(f"model.json: expected input.channels RGB or BGR; got {channels!r}")
    return channels


def _size(model: tuple[int, int] | None, pinned: Sequence[int] | None) -> tuple[int, int]:
    """The size the model takes, which the pin may repeat, and gives where the model takes any."""
    size = model or (tuple(pinned) if pinned else None)
    if size is None:
        raise ModelUnavailable("this model takes images of any size: give input.size in model.json")
    if pinned and tuple(pinned) != size:
        raise ModelUnavailable(f"model.json says input.size {list(pinned)}; the model takes {list(size)}")
    height, width = size
    return height, width
