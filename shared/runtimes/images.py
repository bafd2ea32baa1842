"""Image classifiers: a LiteRT or Keras network of any number of labels."""

import contextlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classifier import Answer, verdict
from ..errors import ModelUnavailable
from ..pin import Pin
from . import keras, litert
from .networks import Floats, Network
from .outputs import probabilities
from .pixels import WHOLE, Box, Crop, Picture, Pixels, decode
from .samples import Warned

PACKAGES = {"tflite": litert.PACKAGE, "keras": keras.PACKAGE, "h5": keras.PACKAGE}


@dataclass(frozen=True)
class Prediction:
    """The output of the network for one image.

    Attributes:
        probabilities: one for each label, shape (labels,), float64.
        map: its class-activation map, shape (rows, columns), float32; None without such an output.
        warnings: warnings about the image, for the caller.
        box: the part of the image that the network got.
    """

    probabilities: Floats
    map: Floats | None = None
    warnings: Sequence[Warned] = ()
    box: Box = WHOLE


SLACK = 0.15
"""How far pixels may lie outside the range of a quantised network's input, as a share of the range."""

Explain = Callable[[Prediction, tuple[int, int]], dict[str, Any] | None]
"""Makes an explanation from a prediction and the (height, width) of the network's images."""

Warn = Callable[[Floats, Pixels], Sequence[Warned]]
"""Makes warnings from the network's doubts about one image, shape (kinds,), and the image it got."""


@dataclass(frozen=True)
class Extras:
    """What a function adds to an image network; each is optional.

    Attributes:
        explain: makes the explanation of an answer.
        crop: finds the part of an image that the network is to get.
        warn: makes warnings from the network's doubts and the image that it got.
    """

    explain: Explain | None = None
    crop: Crop | None = None
    warn: Warn | None = None


NO_EXTRAS = Extras()


class Classifier:
    """A loaded image network. Any number of threads may use it at once.

    Attributes:
        labels: in the order of the network's outputs.
        size: the (height, width) of the network's images.
        channels: one of `shared.pin.CHANNELS`.
        range: the values of black and white in the network's input.
        network: the network itself.
    """

    def __init__(self, network: Network, pin: Pin, extras: Extras = NO_EXTRAS) -> None:
        """Serve `network` with the settings in `pin`.

        Raises:
            ModelUnavailable: the channels or the number of labels in the pin do not match the network.
        """
        channels = pin.input.channels or ("RGB" if network.channels == 3 else "grey")
        if (channels == "grey") != (network.channels == 1):
            raise ModelUnavailable(
                f"input.channels is {channels}; the model takes "
                f"{network.channels}, so expected {'grey' if network.channels == 1 else 'RGB or BGR'}"
            )
        self.labels = pin.labels
        self.size = network.size
        self.channels = channels
        self.network = network
        self._pin = pin
        self._extras = extras
        self.range = pin.input.range or network.range or (0.0, 1.0)
        _check_range(self.range, network.range)
        self.predict([self.sample()])

    @staticmethod
    def prepare(pin: Pin) -> None:
        """Import the library that runs the model, if it is installed."""
        with contextlib.suppress(KeyError, ImportError):
            importlib.import_module(PACKAGES[pin.format])

    @classmethod
    def load(cls, content: bytes, pin: Pin, extras: Extras = NO_EXTRAS) -> "Classifier":
        """Load a network from the verified bytes of its file.

        `pin.input` describes its input, an image. Its output is one sigmoid unit (the probability of the
        second of two labels), or a softmax unit for each label; or their logits, if `pin.output` says so.

        Raises:
            ModelUnavailable: the bytes cannot be loaded or are not such a network, or a package is missing.
        """
        try:
            return cls(_network(content, pin), pin, extras)
        except ModelUnavailable as error:
            raise ModelUnavailable(f"{pin.file}: {error}") from error
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelUnavailable(
                f"{pin.file}: cannot be loaded as {pin.format}: {reason[0][:300]}"
            ) from error

    def decode(self, raw: bytes) -> Picture:
        """Decode an image to the size of this network's input; see `pixels.decode`."""
        return decode(raw, self.size, self._extras.crop)

    def sample(self) -> Pixels:
        """Return a grey image of this network's size."""
        return np.full((*self.size, 3), 128, np.uint8)

    def predict(self, batch: Sequence[Pixels]) -> list[Prediction]:
        """Classify decoded images, each of shape (height, width, 3), uint8, RGB."""
        pixels: NDArray[np.number] = np.stack(batch)
        if self.channels == "BGR":
            pixels = pixels[..., ::-1]
        elif self.channels == "grey":
            pixels = pixels @ _LUMA
        black, white = self.range
        scaled = np.multiply(pixels, np.float32((white - black) / 255), dtype=np.float32)
        if black:
            scaled += np.float32(black)
        outputs = self.network.run(scaled)
        rows = probabilities(outputs.scores, len(self.labels), self._pin.output)
        maps = outputs.maps if outputs.maps is not None else [None] * len(batch)
        doubts = outputs.doubts if outputs.doubts is not None else [None] * len(batch)
        return [
            Prediction(row, seen, self._warnings(image, doubt), getattr(image, "box", WHOLE))
            for image, row, seen, doubt in zip(batch, rows, maps, doubts, strict=True)
        ]

    def _warnings(self, image: Pixels, doubts: Floats | None) -> Sequence[Warned]:
        """Return the warnings of decoding and those from the network's doubts, each code once."""
        own: Sequence[Warned] = getattr(image, "warnings", ())
        if doubts is None:
            return own
        if self._extras.warn is None:
            raise ModelUnavailable(
                "the model has an output of shape (n, 1, kinds), its doubts, which this function does not "
                "read: export it without"
            )
        warned: dict[str, Warned] = {}
        for each in (*own, *self._extras.warn(doubts, image)):
            warned.setdefault(each.code, each)
        return list(warned.values())

    def encode(self, output: Prediction, explain: bool) -> Answer:
        """Return the label and the probabilities, and the explanation if the function has one."""
        answer = verdict(self.labels, output.probabilities.tolist(), self._pin.threshold)
        if explain:
            answer["explanation"] = self._extras.explain(output, self.size) if self._extras.explain else None
        if output.warnings:
            answer["warnings"] = [warned._asdict() for warned in output.warnings]
        return answer


def _check_range(given: tuple[float, float], input_range: tuple[float, float] | None) -> None:
    """Refuse a range that the quantised input cannot represent; raises `ModelUnavailable`."""
    if input_range is None:
        return
    low, high = input_range
    step, slack = (high - low) / 255, SLACK * (high - low)
    if min(given) < low - slack or max(given) > high + slack or abs(given[1] - given[0]) < 5 * step:
        raise ModelUnavailable(
            f"input.range is {list(given)}; the model's input is of whole numbers that stand for {low:.4g} "
            f"to {high:.4g}: leave it out, or give what black and white are within those"
        )


# ITU-R 601-2 luma, as in Pillow and TensorFlow; shape (3, 1).
_LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)


def _network(content: bytes, pin: Pin) -> Network:
    if pin.format == "tflite":
        return litert.LiteRT(content, pin.input.size)
    if pin.format in ("keras", "h5"):
        return keras.Keras(content, f".{pin.format}", pin.input.size)
    raise ModelUnavailable(
        f"this function runs image networks ({', '.join(PACKAGES)}), not the format {pin.format!r}: publish "
        "a scikit-learn model in a function that reads text or rows"
    )
