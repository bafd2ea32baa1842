"""LiteRT (`tflite`) networks: float32, or quantised with the scale and zero point in the file."""

import contextlib
import os
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelUnavailable
from .networks import LARGE_OFFSET, SMALL_FACTOR, About, Floats, Outputs, input_shape, outputs

PACKAGE = "ai_edge_litert.interpreter"
KINDS = (np.float32, np.uint8, np.int8)
FLEX = (
    "it needs operators of TensorFlow that LiteRT does not have (SELECT_TF_OPS): convert it again with "
    "tf.lite.OpsSet.TFLITE_BUILTINS only, or publish the network as a .keras file"
)
SOFTMAX_STEP = 1 / 256
"""The scale of every 8-bit softmax, even if its output is converted to float32."""
CALIBRATION = 0.15
"""How far the range that a converter calibrated may be from the real one, as a share of the range."""
MOVING = (
    "CAST",
    "DEQUANTIZE",
    "GATHER",
    "QUANTIZE",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "REVERSE_V2",
    "STRIDED_SLICE",
    "TRANSPOSE",
)
"""Operators that move pixels or convert their type, and do not change their values."""


class LiteRT:
    """A network in memory. An interpreter is not thread-safe, so there is a pool with one for each core."""

    def __init__(self, content: bytes, size: tuple[int, int] | None = None) -> None:
        """Load the bytes of a `tflite` file; `size` is the (height, width) if the network takes any size.

        Raises:
            ModelUnavailable: the package is missing, or the network does not take images.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelUnavailable("add ai-edge-litert to the function's requirements.in") from error

        first = Interpreter(model_content=content, num_threads=1)
        inputs = first.get_input_details()
        if len(inputs) != 1:
            raise ModelUnavailable(f"expected one input, an image; the model takes {len(inputs)}")
        [image] = inputs
        signature = image.get("shape_signature", image["shape"])
        self.size, self.channels = input_shape([int(side) for side in signature], size)
        self._rank = len(signature)
        shape = [1, *self.size, self.channels][: self._rank]

        def build(**options: Any) -> Any:
            interpreter = Interpreter(model_content=content, num_threads=1, **options)
            if image["shape"].tolist() != shape:
                interpreter.resize_tensor_input(image["index"], shape)
            try:
                interpreter.allocate_tensors()
            except RuntimeError as error:
                if "Select TensorFlow op" in str(error):
                    raise ModelUnavailable(FLEX) from error
                raise
            return interpreter

        first = build()
        self._input = first.get_input_details()[0]
        self._outputs = first.get_output_details()
        for tensor in (self._input, *self._outputs):
            if tensor["dtype"] not in KINDS:
                raise ModelUnavailable(
                    f"expected tensors of float32, uint8 or int8; {tensor['name']!r} is of "
                    f"{tensor['dtype'].__name__}: convert it again with inputs and outputs of one of those"
                )
        if self._input["dtype"] == np.int8 and not self._input["quantization"][0]:
            raise ModelUnavailable(
                "its int8 input has no scale: convert it again, quantised by the converter"
            )
        self.range = _range(self._input)
        self._build = build
        self._source = content, size
        # Last in, first out: a single caller always gets the interpreter that is warm.
        self._idle = [None] * ((os.cpu_count() or 1) - 1) + [first]
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in self._idle:
            self._free.put(None)

    def __reduce__(self) -> tuple[type["LiteRT"], tuple[bytes, tuple[int, int] | None]]:
        return type(self), self._source  # Spark pickles it, and no interpreter can be pickled

    @contextlib.contextmanager
    def _interpreter(self) -> Iterator[Any]:
        self._free.get()
        interpreter = self._idle.pop()
        try:
            interpreter = interpreter or self._build()
            yield interpreter
        finally:
            self._idle.append(interpreter)
            self._free.put(None)

    def about(self) -> About:
        """Inspect the operators after the input and before the scores."""
        from ai_edge_litert.interpreter import OpResolverType

        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate hides the operators
        interpreter = self._build(experimental_op_resolver_type=plain)
        operators = interpreter._get_ops_details()
        scores = [each["index"] for each in self._outputs if len(each["shape"]) == 2]
        return About(_ending(operators, scores), _scaling(operators, self._input["index"], interpreter))

    def run(self, batch: Floats) -> Outputs:
        """Run on images, shape (n, height, width, channels), float32, one by one."""
        batch = _quantised(batch if self._rank == 4 else batch[..., 0], self._input)
        results = []
        with self._interpreter() as interpreter:
            for image in batch:
                interpreter.set_tensor(self._input["index"], image[None])
                interpreter.invoke()
                results.append([interpreter.get_tensor(output["index"]) for output in self._outputs])
        tensors = [np.concatenate(each) for each in zip(*results, strict=True)]
        return outputs([_real(each, about) for each, about in zip(tensors, self._outputs, strict=True)])


def _quantised(values: Floats, tensor: dict[str, Any]) -> NDArray[Any]:
    """Quantise values for a tensor: value / scale + zero point."""
    kind = tensor["dtype"]
    if kind == np.float32:
        return values
    scale, zero = tensor["quantization"]
    limits = np.iinfo(kind)
    whole = np.rint(values / np.float32(scale) + zero) if scale else np.rint(values)
    return np.clip(whole, limits.min, limits.max).astype(kind)


def _real(values: NDArray[Any], tensor: dict[str, Any]) -> Floats:
    """Dequantise a tensor; rescale probabilities so that they sum to 1.

    The sum of a softmax that is rounded to steps of the scale differs from 1 by up to half a step a unit.
    """
    scale, zero = tensor["quantization"]
    if tensor["dtype"] == np.float32:
        real, scale = np.asarray(values), SOFTMAX_STEP
        if (real != np.rint(real / scale) * scale).any():
            return real
    elif not scale:
        raise ModelUnavailable(f"the output {tensor['name']!r} is of whole numbers without a scale")
    else:
        real = (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    if real.ndim == 2 and real.shape[1] > 1 and (real >= 0).all():
        total = real.sum(axis=1, keepdims=True)
        if (np.abs(total - 1) <= scale * real.shape[1]).all():
            real = real / total
    return np.asarray(real, dtype=np.float32)


def _range(tensor: dict[str, Any]) -> tuple[float, float] | None:
    """Return the values of black and white in a quantised input, from its scale and zero point."""
    if tensor["dtype"] == np.float32:
        return None
    scale, zero = tensor["quantization"]
    if not scale:
        return (0.0, 255.0)
    limits = np.iinfo(tensor["dtype"])
    low, high = float(scale) * (limits.min - zero), float(scale) * (limits.max - zero)
    for black, white in ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)):
        tolerance = CALIBRATION * (white - black)
        if abs(low - black) <= tolerance and abs(high - white) <= tolerance:
            return (black, white)
    return (low, high)


def _ending(operators: list[dict[str, Any]], scores: list[int]) -> str:
    """Return the name of the last activation: `sigmoid`, `softmax`, `none`, or empty if it is unknown."""
    producers = {int(index): each for each in operators for index in each["outputs"]}
    for index in scores:
        operator = producers.get(index)
        while operator and operator["op_name"] in ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST"):
            operator = producers.get(int(operator["inputs"][0]))
        name = operator["op_name"] if operator else ""
        if name in ("FULLY_CONNECTED", "CONV_2D", "ADD", "BATCH_MATMUL"):
            return "none"
        return {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}.get(name, "")
    return ""


def _scaling(operators: list[dict[str, Any]], image: int, interpreter: Any) -> str:
    """Describe the operator that scales pixels down, if it is the first that changes their values."""
    for each in operators:
        inputs = [int(index) for index in each["inputs"]]
        if image not in inputs:
            continue
        name = each["op_name"]
        if name in ("MUL", "DIV", "ADD", "SUB") and len(inputs) == 2:
            [other] = [index for index in inputs if index != image] or [image]
            try:
                constant = _constant(interpreter, other)
            except ValueError:  # it is computed, not a constant
                return ""
            factor = constant if name == "MUL" else 1 / constant if name == "DIV" and constant else 1.0
            if factor < SMALL_FACTOR:
                return f"{name} by {factor:.4g}"
            if name in ("ADD", "SUB") and constant > LARGE_OFFSET:
                return f"{name} of {constant:.4g}"
        elif name not in MOVING:
            return ""
        image = int(each["outputs"][0])
    return ""


def _constant(interpreter: Any, index: int) -> float:
    """Return the largest absolute value of a constant tensor; raises `ValueError` if it is computed."""
    values = interpreter.get_tensor(index).astype(np.float64)
    scale, zero = next(
        each["quantization"] for each in interpreter.get_tensor_details() if each["index"] == index
    )
    return float(np.max(np.abs((values - zero) * scale if scale else values)))
