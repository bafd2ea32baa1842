"""Decode an image file to pixels, within limits of memory and time."""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .. import budget
from ..errors import ServiceError, TooLarge, TooMuchWork, UniformImage, UnsupportedType, Unusable
from ..turns import turn
from .formats import avif, bmp, gif, heic, jpeg, jpeg2000, png, tiff, webp
from .formats.plan import Plan
from .samples import Warned, rgb, shrink

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000")
MAX_PIXELS = 12_500_000
MAX_MEMORY = 200_000_000
"""The most memory for decoding one image, in bytes: with the process and eight bodies, less than 512 MiB."""

MIN_SIDE = 8
LARGE = 12_000_000
"""Images of more bytes of memory or more work are decoded one at a time: a burst would fill the memory."""

MIN_CONTRAST = 8
"""An image with less contrast than this, in levels of 256, counts as uniform."""

Pixels = NDArray[np.uint8]


class Format(Protocol):
    """A module that scans one file format."""

    __name__: str

    def scan(self, data: bytes) -> Plan:
        """Read the structure of a file, without decoding pixels."""


SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (png.SIGNATURE, png),
    (b"\xff\xd8\xff", jpeg),
    (b"BM", bmp),
    (b"GIF87a", gif),
    (b"GIF89a", gif),
    *((order + number, tiff) for order in (b"II", b"MM") for number in (b"*\0", b"\0*", b"+\0", b"\0+")),
    (jpeg2000.CODESTREAM, jpeg2000),
    (jpeg2000.BOX, jpeg2000),
)


class Box(NamedTuple):
    """A part of an image: the distances of its sides from the left and the top, as shares from 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float

    def of(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return the sides in pixels of an image of `size` (width, height)."""
        width, height = size
        return self.left * width, self.top * height, self.right * width, self.bottom * height


WHOLE = Box(0.0, 0.0, 1.0, 1.0)

Crop = Callable[[Image.Image], tuple[Box, Sequence[Warned]]]
"""Finds the part of an upright RGB image that matters, and returns warnings about the image."""


class Picture(np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]):
    """Pixels, shape (height, width, 3), uint8, RGB.

    Attributes:
        warnings: warnings about the image, for the caller.
        box: the part of the image that the pixels show.
    """

    warnings: Sequence[Warned] = ()
    box: Box = WHOLE


def decode(data: bytes, size: tuple[int, int], crop: Crop | None = None) -> Picture:
    """Turn an encoded image into RGB pixels, shape (height, width, 3), uint8, for `size` (height, width).

    The image is rotated by its EXIF tag, converted to 8-bit RGB (transparency becomes black, like the
    background of a segmented cell), cropped to the box that `crop` returns and resized to `size`. Its cost is
    computed from the structure of the file before, and charged to the request by `budget.spend`.

    Raises:
        UnsupportedType: the format is not one of `FORMATS`, or the file has several frames.
        TooLarge: the header says more than `MAX_PIXELS`; no pixel has been decoded.
        TooMuchWork: it needs more work or memory than `budget` or `MAX_MEMORY` allows; no pixel has been
            decoded.
        UniformImage: all pixels have about the same colour.
        Unusable: it is truncated or damaged, has less than `MIN_SIDE` pixels a side, or is of a kind that
            cannot be decoded reliably.
    """
    plan = _scan(data)
    least = _least(size, crop)
    pixels, warned, box = _decoded(plan, size, crop, _check(plan, least))
    if _uniform(pixels):
        colour = ", ".join(str(value) for value in pixels.mean((0, 1)).round().astype(int))
        raise UniformImage(f"expected an image with something in it; this one is ({colour}) all over")
    picture = pixels.view(Picture)
    picture.warnings = warned
    picture.box = box
    return picture


def _decoded(
    plan: Plan, size: tuple[int, int], crop: Crop | None, memory: int
) -> tuple[Pixels, list[Warned], Box]:
    failure: ServiceError
    try:
        with turn(large=max(plan.work, memory) > LARGE):
            image, warned = rgb(plan, _least(size, crop))
            box, doubts = crop(image) if crop else (WHOLE, ())
            part = box.of(image.size)
            image = image.resize(size[::-1], Image.Resampling.BILINEAR, box=part)
        return np.asarray(image), [*warned, *doubts], box
    except ServiceError as error:
        failure = error.with_traceback(None)
    except UnidentifiedImageError:
        failure = Unusable(
            f"the {plan.format} image is damaged, or of a kind that is not read here: save it as PNG"
        )
    except Exception as error:
        if str(error).lower().startswith("unsupported"):
            failure = Unusable(f"{error}: save the {plan.format} image as PNG")
        else:
            failure = Unusable(f"the {plan.format} image is truncated or damaged: {error}")
    # Raised here and without its traceback, the error keeps no frame alive that holds an image.
    raise failure


def _least(size: tuple[int, int], crop: Crop | None) -> tuple[int, int]:
    """Return the smallest (width, height) a decoder may shrink to, for an image of `size` (height, width)."""
    detail = 4 if crop else 2  # a part that is cropped must still have enough pixels
    return detail * size[1], detail * size[0]


def _uniform(pixels: Pixels) -> bool:
    # For most images a sample of the pixels decides, in a hundredth of the time.
    sample = pixels[::13, ::13].tobytes()
    if any(max(sample[index::3]) - min(sample[index::3]) >= MIN_CONTRAST for index in range(3)):
        return False
    return bool(np.ptp(pixels, axis=(0, 1)).max() < MIN_CONTRAST)


def _scan(data: bytes) -> Plan:
    kind = _kind(data)
    if kind is None:
        raise UnsupportedType(
            f"expected a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image; "
            f"these {len(data)} bytes are none of them"
        )
    try:
        return kind.scan(data)
    except (IndexError, KeyError, ValueError, OverflowError, struct.error):
        name = kind.__name__.rpartition(".")[2].upper()
        raise Unusable(f"the {name} image is truncated or damaged: its structure cannot be read") from None


def _kind(data: bytes) -> Format | None:
    """Return the module for the format of these bytes."""
    for start, kind in SIGNATURES:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return webp
    brands = avif.brands(data)
    if brands & {b"avif", b"avis"}:
        return avif
    return heic if brands & heic.BRANDS else None


def _check(plan: Plan, least: tuple[int, int]) -> int:
    """Check the limits; return the memory that decoding will take, in bytes.

    `least` is the (width, height) to which the decoder may shrink the image.
    """
    scale = shrink(plan, least)
    pixels = -(-plan.width // scale) * -(-plan.height // scale)
    if pixels > MAX_PIXELS:
        raise TooLarge(
            f"expected at most {MAX_PIXELS:,} pixels, one cell; this image has {plan.width} x {plan.height}"
        )
    if min(plan.width, plan.height) < MIN_SIDE:
        raise Unusable(
            f"expected at least {MIN_SIDE} x {MIN_SIDE} pixels; this image has {plan.width} x {plan.height}"
        )
    memory = plan.memory + (8 * pixels if plan.shrinks else 0)
    if memory > MAX_MEMORY:
        raise TooMuchWork(
            f"expected at most {MAX_MEMORY // 1_000_000} MB of memory for decoding; "
            f"this {plan.format} image of {plan.width} x {plan.height} takes {memory // 1_000_000:,} MB"
        )
    budget.spend(plan.work + (2 * pixels if plan.shrinks else 0), f"{plan.format} image")
    return memory
