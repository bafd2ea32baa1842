"""The result of scanning a file's structure, before any pixel is decoded."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import TooMuchWork, UnsupportedType

MAX_PARTS = 10_000
"""The most segments, chunks, strips, tiles or tags: a photo has tens, and at most a strip for each row."""


@dataclass(frozen=True)
class Plan:
    """How one file is to be decoded, and at what cost.

    Attributes:
        format: what the file is, as Pillow names it.
        files: what Pillow is given: the pieces of the file that it needs to see; for colour planes, one file
            for each. They are joined only when it is their turn, so that none that waits takes memory twice.
        width: pixels, before the image is turned upright.
        height: as `width`.
        work: what decoding costs, in the unit of `budget.MAX_WORK`.
        memory: bytes that decoding takes at its peak, besides the file itself.
        orientation: the EXIF orientation, 1 to 8.
        depth: how many bits of a 16-bit sample the file says are used; None if it does not say.
        inverted: whether white is zero in 16-bit samples.
        mode: what the planes are together, in Pillow's words; empty if there is one file.
        damaged: whether the file ends before its image does.
        rows: pixels in a row of a JPEG's blocks, the least that can be lost at the end.
        shrinks: whether the decoder can leave out detail as it decodes.
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
    """Return the orientation in an EXIF block, 1 to 8; 1 if there is none. Nothing else is read."""
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
    found = re.search(rb'tiff:Orientation(?:="|>)([1-8])["<]', xmp[:65536])
    return int(found[1]) if found else 1
