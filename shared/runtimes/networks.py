"""The interface of an image network, and the checks of its inputs and outputs, for every format."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelUnavailable

Floats = NDArray[np.float32]
SMALL_FACTOR = 0.1
"""A network that multiplies its input by less than this expects pixels of 0 to 255, not 0 to 1."""
LARGE_OFFSET = 1 / SMALL_FACTOR
"""A network that subtracts or adds more than this expects pixels of 0 to 255, too."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of a network for n images.

    Attributes:
        scores: one for each output unit, shape (n, units), float32.
        maps: the class-activation maps, shape (n, rows, columns), float32; None without such an output.
        doubts: how unlike the training images each image is, for each kind of doubt, shape (n, kinds),
            float32; above 1, the answer should carry a warning. None without such an output.
    """

    scores: Floats
    maps: Floats | None = None
    doubts: Floats | None = None


@dataclass(frozen=True)
class About:
    """What a network's layers reveal about its use; `models.publish` compares it with the pin.

    Attributes:
        ending: the last activation, `sigmoid` or `softmax`; `none` if the outputs are logits; empty if it is
            not known.
        scaling: the layer that scales pixels of 0 to 255 down; empty if there is none.
    """

    ending: str = ""
    scaling: str = ""


class Network(Protocol):
    """An image network. Any number of threads may run it at once.

    Attributes:
        size: the (height, width) of its input.
        channels: 1 or 3.
        range: the values of black and white, if its file says so; otherwise None.
    """

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def channels(self) -> int: ...

    @property
    def range(self) -> tuple[float, float] | None: ...

    def run(self, batch: Floats) -> Outputs:
        """Run on images, shape (n, height, width, channels), float32."""

    def about(self) -> About:
        """Inspect its layers."""


def input_shape(shape: Sequence[int | None], pinned: tuple[int, int] | None) -> tuple[tuple[int, int], int]:
    """Return the (height, width) and the channels of a network's input.

    Args:
        shape: the shape of its input, (n, height, width, channels), or (n, height, width) for grey images;
            None or less than 1 for a dimension of any size.
        pinned: the size in the pin, if there is one.

    Raises:
        ModelUnavailable: the input is not an image of one or three channels, or its size is not known.
    """
    dims = [size if size is not None and size > 0 else None for size in shape]
    if len(dims) == 3:
        dims = [*dims, 1]
    if len(dims) != 4:
        raise ModelUnavailable(
            f"expected an input of shape (n, height, width, channels); the model takes {len(dims)} "
            "dimensions: is it an image network?"
        )
    _, height, width, channels = dims
    if channels not in (1, 3):
        if dims[1] in (1, 3):
            raise ModelUnavailable(
                f"expected channels last (NHWC); the model takes channels first (NCHW), shape {tuple(dims)}: "
                "convert it again with channels last, or with a first layer that moves them"
            )
        raise ModelUnavailable(
            f"expected 1 or 3 channels, the last axis; the model takes the shape {tuple(dims)}"
        )
    size = (height or (pinned or (0, 0))[0], width or (pinned or (0, 0))[1])
    if not all(size):
        raise ModelUnavailable(
            "the model takes images of any size: give the one it was trained on, 'size=[height,width]'"
        )
    if pinned and pinned != size:
        raise ModelUnavailable(f"input.size is {list(pinned)}; the model takes {list(size)}")
    return size, channels


def outputs(tensors: Sequence[NDArray[Any]]) -> Outputs:
    """Recognise a network's scores, its class-activation map and its doubts by their shapes.

    Raises:
        ModelUnavailable: there is not exactly one output of shape (n, units), or there are other outputs than
            one map and one tensor of doubts.
    """
    scores = [tensor for tensor in tensors if tensor.ndim == 2]
    maps = [tensor for tensor in tensors if tensor.ndim == 4 and tensor.shape[3] == 1]
    doubts = [tensor for tensor in tensors if tensor.ndim == 3 and tensor.shape[1] == 1]
    known = len(scores) + len(maps) + len(doubts)
    if len(scores) != 1 or known != len(tensors) or len(maps) > 1 or len(doubts) > 1:
        raise ModelUnavailable(
            "expected an output of shape (n, units), and at most a map of shape (n, rows, columns, 1) and "
            f"doubts of shape (n, 1, kinds); the model's are {[tensor.shape for tensor in tensors]}"
        )
    return Outputs(
        scores[0],
        maps[0][..., 0] if maps else None,
        doubts[0][:, 0] if doubts else None,
    )
