"""From the bytes of an image file to pixels, within limits."""

import contextlib
import io
import threading

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import TooLarge, UnsupportedType, Unusable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 12_500_000
MIN_SIDE = 8
LARGE = 2_000_000
"""Pixels beyond which images are decoded one at a time: a burst of them would fill the memory."""

_one_large = threading.Lock()

# Pillow's own bomb guard warns where we refuse; `decode` checks the size before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

Pixels = NDArray[np.uint8]


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
