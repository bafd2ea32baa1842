"""The result of scanning a file's structure, before any pixel is decoded."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import TooMuchWork, UnsupportedType

MAX_PARTS = 10_000
"""The most segments, chunks, strips, tiles or tags. A photo has tens, or at most one strip for each row."""


@dataclass(frozen=True)
class Plan:
    """How one file is to be decoded, and at what cost.

    Attributes:
        format: Pillow's name of the file's format.
        files: the input for Pillow: the pieces of the file that it needs, one file for each separate colour
            plane. They are joined only just before decoding, so that a waiting image is not in memory twice.
        width: in pixels, before the image is rotated upright.
        height: as `width`.
        work: the cost of decoding, in the unit of `budget.MAX_WORK`.
        memory: the peak memory of decoding, in bytes, without the file itself.
        orientation: the EXIF orientation, 1 to 8.
        depth: the number of bits used in a 16-bit sample, if the file declares it; otherwise None.
        inverted: whether zero means white in 16-bit samples.
        mode: Pillow's mode of the planes together; empty if there is one file.
        damaged: whether the file ends before its image does.
        rows: the height of a row of a JPEG's blocks, in pixels: the least that can be missing at the end.
        shrinks: whether the decoder can shrink the image while it decodes.
    """

    format: str
    files: tuple[Sequence[bytes | memoryview], ...]
    width: int
    height: int
    work: int
    memory: int
    orientation: int = 1
    depth: int | None = None
    inverted: bool = False
    mode: str = ""
    damaged: bool = False
    rows: int = 0
    shrinks: bool = False


def limit_parts(count: int, what: str, limit: int = MAX_PARTS) -> None:
    """Raise `TooMuchWork` if a file consists of more than `limit` parts; `what` names them."""
    if count > limit:
        raise TooMuchWork(f"expected at most {limit:,} {what}; this image has {count:,} or more")


def several_frames(name: str) -> UnsupportedType:
    """Return the error for an animation or a stack."""
    return UnsupportedType(f"expected one still image; this {name} has several frames")


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; 1 if there is none. Other tags are not read."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return 1
    [start] = struct.unpack_from(order + "I", exif, 4)
    entries = exif[start + 2 : start + 2 + 12 * 1000]
    for tag, kind, _, value, _ in struct.iter_unpack(order + "HHIHH", entries[: len(entries) // 12 * 12]):
        if tag == 0x0112 and kind == 3:
            return value if 1 <= value <= 8 else 1
    return 1


def xmp_orientation(xmp: bytes) -> int:
    """Return the orientation in an XMP packet, 1 to 8; 1 if there is none."""
    match = re.search(rb'tiff:Orientation(?:="|>)([1-8])["<]', xmp[:65536])
    return int(match[1]) if match else 1
