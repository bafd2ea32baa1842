"""Convert the samples of an image file, of any mode and depth, to upright 8-bit RGB."""

import ctypes
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile, TiffImagePlugin

from .. import budget
from ..errors import Unusable
from .formats.plan import Plan, exif_orientation

BAND = 64
"""Rows converted at a time, so that no second copy of the whole image is needed."""

MAX_LOST = 0.25
"""The largest share of a JPEG's rows that may be missing at its end."""

MAX_BACKGROUND = 32
"""The largest contrast, in levels of 256, of a row of plain background; a row with a cell has more."""

# Pillow's guard against decompression bombs only warns; `pixels` refuses before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
# Pillow's own TIFF reader cannot read 16-bit planes, and runs a Python step for each strip.
TiffImagePlugin.READ_LIBTIFF = True


def _silence_libtiff() -> None:
    """Silence libtiff, which prints a line for each damaged file; Pillow raises an exception as well."""
    for library in Path(PIL.__file__).parents[1].glob("pillow.libs/libtiff-*"):
        set_handler = ctypes.CDLL(str(library)).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


_silence_libtiff()


class Warned(NamedTuple):
    """A warning about an image that was accepted: a stable code, and a sentence."""

    code: str
    message: str


def shrink(plan: Plan, least: tuple[int, int]) -> int:
    """Return the factor by which the decoder can shrink the image, down to `least` (width, height)."""
    room = min(plan.width // least[0], plan.height // least[1])
    return next(scale for scale in (8, 4, 2, 1) if room >= scale or scale == 1) if plan.shrinks else 1


def rgb(plan: Plan, least: tuple[int, int]) -> tuple[Image.Image, list[Warned]]:
    """Decode a scanned image: upright, in mode RGB, shrunk to no less than `least` if the decoder can.

    Raises:
        Unusable: the meaning of its samples is ambiguous.
        Exception: Pillow raises many kinds for a damaged file.
    """
    warned: list[Warned] = []
    file = _opened(plan, plan.files[0])
    # AVIF and HEIC store the rotation in boxes of their own; Pillow converts it to EXIF.
    orientation = max(plan.orientation, exif_orientation((file.info.get("exif") or b"")[:65536]))
    file.draft("RGB", least)
    image: Image.Image = file
    if file.mode.startswith("I;16"):
        planes = [file, *(_opened(plan, each) for each in plan.files[1:])]
        image = _narrowed([np.asarray(each) for each in planes], plan, warned)
    elif plan.mode:
        image = Image.merge(plan.mode, [file, *(_opened(plan, each) for each in plan.files[1:])])
        image = ImageChops.invert(image) if plan.inverted else image
    elif ";16" in (rawmode := _rawmode(file)):
        image = _with_low_bytes(file, rawmode, plan, warned)
    elif plan.damaged or _ends_early(file, plan):
        image = _mended(file, plan, warned)
    return _upright(_rgb(image), orientation), warned


def _opened(plan: Plan, file: Sequence[bytes | memoryview]) -> ImageFile.ImageFile:
    image: ImageFile.ImageFile = Image.open(io.BytesIO(b"".join(file)), formats=(plan.format,))
    # A file may declare two sizes, and Pillow may use another one than the plan.
    if image.width * image.height > plan.width * plan.height:
        raise Unusable(f"the {plan.format} image is damaged: it says two different sizes")
    return image


def _rawmode(image: ImageFile.ImageFile) -> str:
    """Return Pillow's raw mode: how the file packs its samples."""
    args = image.tile[0].args if image.tile else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _depth(largest: int, plan: Plan, warned: list[Warned]) -> int:
    """Return how many bits of 16-bit samples are used: as the file declares, or as the largest sample needs.

    Cameras with 10, 12 and 14 bits write 16-bit files, and few of these files declare the depth.
    """
    needed = max(8, largest.bit_length())
    if plan.depth and plan.depth >= needed:
        return min(16, plan.depth)
    depth = next(bits for bits in (8, 10, 12, 14, 16) if bits >= needed)
    if depth < 16:
        warned.append(
            Warned(
                "assumed_depth",
                f"no 16-bit sample of this image is above {2**depth - 1:,}; they were taken for {depth} bits",
            )
        )
    return depth


def _narrowed(planes: list[NDArray[np.uint16]], plan: Plan, warned: list[Warned]) -> Image.Image:
    """Reduce 16-bit planes, each of shape (height, width), to 8 bits."""
    mode = plan.mode or "L"
    colours = planes[: len(mode.rstrip("A"))]
    depth = _depth(max(int(plane.max()) for plane in colours), plan, warned)
    flip = 255 if plan.inverted else 0
    narrow = [(np.minimum(plane >> (depth - 8), 255) ^ flip).astype(np.uint8) for plane in planes]
    return Image.merge(mode, [Image.fromarray(plane) for plane in narrow])


def _with_low_bytes(image: Image.Image, rawmode: str, plan: Plan, warned: list[Warned]) -> Image.Image:
    """Add the low bytes of 16-bit samples; Pillow keeps only the high ones."""
    image.load()
    counts = image.histogram()
    tops = [max(np.flatnonzero(counts[at : at + 256])) for at in range(0, len(counts), 256)]
    colours = 3 if image.mode == "RGBA" else len(tops)
    depth = _depth(int(max(tops[:colours])) << 8 | 255, plan, warned)
    if depth == 16:
        return image
    layout = rawmode.partition(";")[0]
    if not layout.startswith("RGB"):
        raise Unusable(f"expected {layout} samples of 8 bits, or of all 16; those of this image use {depth}")
    low = _opened(plan, plan.files[0])
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    [tile] = low.tile
    swapped = rawmode[:-1] + other[rawmode[-1]]
    low.tile = [tile._replace(args=(swapped, *tile.args[1:]) if isinstance(tile.args, tuple) else swapped)]
    low.load()
    shifted = [value << (16 - depth) & 255 for value in range(256)]
    rest = [value >> (depth - 8) for value in range(256)]
    highs, lows = shifted * 3, rest * 3
    if image.mode == "RGBA":
        full_alpha = tops[3] >> (depth - 8) > 0  # Alpha uses all 16 bits: keep its high byte as it is.
        highs += list(range(256)) if full_alpha else shifted
        lows += [0] * 256 if full_alpha else rest
    for box in _bands(image):
        image.paste(ImageChops.add(image.crop(box).point(highs), low.crop(box).point(lows)), box)
    return image


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    for top in range(0, image.height, BAND):
        yield 0, top, image.width, min(top + BAND, image.height)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode in ("I", "F"):
        raise Unusable(f"expected 8 or 16 bits per channel; this image is of mode {image.mode}, with 32")
    if image.mode == "La":
        image = image.convert("LA")
    return _over_black(image.convert("RGBA")) if image.has_transparency_data else image.convert("RGB")


def _over_black(image: Image.Image) -> Image.Image:
    """Blend an RGBA image with black; if it is entirely transparent, ignore its alpha channel."""
    if image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    whole = Image.new("RGB", image.size)
    for box in _bands(image):
        band = image.crop(box)
        black = Image.new("RGBA", band.size, (0, 0, 0, 255))
        whole.paste(Image.alpha_composite(black, band).convert("RGB"), box)
    return whole


JUNK = b"".join(b"\x55\xaa\x33\x99" * 64 + bytes([0xFF, 0xD0 + index]) for index in range(8)) * 8
"""Entropy-coded data of arbitrary blocks, with all eight restart markers."""


def _ends_early(image: Image.Image, plan: Plan) -> bool:
    """Whether blocks at the end of a JPEG are missing: it ends in grey, and appended data changes that."""
    if plan.format != "JPEG":
        return False
    side = max(1, plan.rows * image.height // plan.height // 2)
    last = image.crop((max(0, image.width - side), image.height - 1, image.width, image.height))
    grey = (127, 127) if image.mode == "CMYK" else (128, 128)
    if any(channel.getextrema() != grey for channel in last.split()):
        return False
    budget.spend(plan.work, "JPEG image")
    *pieces, end = plan.files[0]
    longer = _opened(plan, [*pieces, JUNK, end])
    longer.draft("RGB", image.size)
    if ImageChops.difference(longer, image).getbbox() is None:
        return False
    if image.mode == "CMYK":
        raise Unusable("the JPEG image is truncated: it ends before its last rows have come")
    return True


def _mended(image: Image.Image, plan: Plan, warned: list[Warned]) -> Image.Image:
    """Fill the missing end of a JPEG with its background, if only background is missing.

    libjpeg fills the missing blocks, which are all those after the last complete one, with exactly 128.

    Raises:
        Unusable: too many rows are missing, or the last row before them is not plain background.
    """
    pixels = np.array(image)
    height = len(pixels)
    block = max(1, plan.rows * height // plan.height)
    missing = (pixels == 128).reshape(height, -1).all(1)
    lost = height if missing.all() else int(np.argmin(missing[::-1]))
    if lost or (pixels[-1, -max(1, block // 2) :] == 128).all():
        # The row of blocks above may be incomplete; upsampling spreads its colours one pixel beyond its edge.
        kept = max(0, (height - lost - 2) // block * block)
        if kept < (1 - MAX_LOST) * height:
            raise Unusable(f"the JPEG image is truncated: of its {height} rows {height - kept} are missing")
        last = pixels[kept - 1]
        if np.ptp(last, axis=0).max() > MAX_BACKGROUND:
            raise Unusable("the JPEG image is truncated, within what it shows")
        pixels[kept:] = last
        image = Image.fromarray(pixels)
    warned.append(Warned("truncated", "the JPEG ends too early; no more than background is missing in it"))
    return image


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that turns an image of each EXIF orientation upright."""


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation > 1 else image
