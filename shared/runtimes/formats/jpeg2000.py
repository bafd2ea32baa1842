"""JPEG 2000: scan the headers of the codestream, for the image and for each tile."""

import struct
from dataclasses import dataclass

from ...errors import Unusable
from .plan import Plan, limit_parts

CODESTREAM = b"\xff\x4f\xff\x51"
BOX = b"\0\0\0\x0cjP  \r\n\x87\n"
SOT, SOD, COD, COC = 0xFF90, 0xFF93, 0xFF52, 0xFF53
RARE = {0xFF5F: "progression changes", 0xFF60: "packed headers", 0xFF61: "packed headers"}
MAX_PACKETS = 100_000
"""The most packets. There is one for each quality layer, precinct, resolution, component and tile."""


@dataclass
class Coding:
    """The largest values in any of the headers."""

    layers: int = 1
    levels: int = 0
    block: int = 4096
    precinct: int = 1 << 15


def scan(data: bytes) -> Plan:
    """Read the headers.

    Raises:
        Unusable: the file is of a rare kind; the message names it.
        IndexError, struct.error: the file ends within a header, or has none.
        TooMuchWork: there are too many tiles, layers or precincts.
    """
    return _scan(data, _codestream(data))


def _codestream(data: bytes) -> int:
    """Return the offset of the codestream."""
    if data.startswith(CODESTREAM):
        return 0
    at, count = 0, 0
    while True:
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            [size] = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if name == b"jp2c":
            return at + head
        if size < head:
            raise IndexError
        if name == b"jp2h" and b"pclr" in data[at : at + size]:
            raise Unusable("expected a JPEG 2000 image without a palette; this one has one: save it as PNG")
        count += 1
        limit_parts(count, "boxes of a JPEG 2000 image", 100)
        at += size


def _scan(data: bytes, start: int) -> Plan:
    _, right, bottom, left, top, wide, high, x, y, components = struct.unpack_from(
        ">HIIIIIIIIH", data, start + 6
    )
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0 or not wide or not high:
        raise IndexError
    if components not in (1, 2, 3, 4):
        raise Unusable(f"expected 1 to 4 components; this JPEG 2000 image has {components}")
    depths = [data[start + 42 + 3 * index] for index in range(components)]
    if max(depths) > 0x7F or (components > 1 and max(depths) > 7):
        raise Unusable("expected a JPEG 2000 image of 8 bits, or of up to 16 that are grey, without a sign")
    tiles = -(-(right - x) // wide) * -(-(bottom - y) // high)
    limit_parts(tiles, "tiles of a JPEG 2000 image", 1000)
    coding = _headers(data, start + 2)
    pixels = width * height
    precincts = sum(
        -(-min(wide, width) // coding.precinct) * -(-min(high, height) // coding.precinct) + 1
        for _ in range(coding.levels + 1)
    )
    limit_parts(precincts * coding.layers * components * tiles, "packets of a JPEG 2000 image", MAX_PACKETS)
    samples = pixels * components
    blocks = samples // coding.block + components * tiles * (coding.levels + 1) * 4
    return Plan(
        "JPEG2000",
        ((data,),),
        width,
        height,
        work=8 * samples + 40 * len(data) + 100 * blocks,
        memory=8 * samples + 500 * blocks + 10_000 * tiles,
    )


def _headers(data: bytes, at: int) -> Coding:
    """Read the coding parameters from the main header and from those of the tiles."""
    coding, count = Coding(), 0
    tile = end = 0
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        count += 1
        limit_parts(count, "segments of a JPEG 2000 image")
        if marker in RARE:
            raise Unusable(
                f"expected a plain JPEG 2000 image; this one has {RARE[marker]}: save it as another"
            )
        if marker == SOT:
            [end] = struct.unpack_from(">I", data, at + 6)
            tile, end = at, at + end if end else len(data)
        elif marker == COD:
            [coding.layers] = [max(coding.layers, struct.unpack_from(">H", data, at + 6)[0])]
            _coding(coding, data[at + 9 : at + 2 + length], bool(data[at + 4] & 1))
        elif marker == COC:
            # The number of the component is one byte, because images of more than 4 components are refused.
            _coding(coding, data[at + 6 : at + 2 + length], bool(data[at + 5] & 1))
        elif marker == 0xFFD9:
            break
        if marker == SOD:
            if end <= tile:
                raise IndexError
            at = end
        else:
            at += 2 + max(2, length)
    return coding


def _coding(coding: Coding, body: bytes, precincts: bool) -> None:
    coding.levels = max(coding.levels, body[0])
    if coding.levels > 32:
        raise IndexError
    coding.block = min(coding.block, 1 << (body[1] & 15) + 2 + (body[2] & 15) + 2)
    if precincts:
        # The lowest resolution is small itself, and may have small precincts.
        sizes = [min(each & 15, each >> 4) for each in body[5 : 6 + body[0]]]
        coding.precinct = min([coding.precinct, *(1 << max(1, size) for size in sizes)])
