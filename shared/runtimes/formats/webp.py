"""WebP: scan the chunks of its RIFF container."""

import struct

from ...errors import TooMuchWork
from .plan import Plan, exif_orientation, limit_parts, several_frames, xmp_orientation

MAX_TABLES = 30_000
"""The most sets of Huffman tables in lossless data. libwebp writes up to 2,600; reading one takes 5.6 kB."""


def scan(data: bytes) -> Plan:
    """Read the chunks.

    Raises:
        IndexError: the file has no image.
        UnsupportedType: it is an animation.
        TooMuchWork: there are too many chunks, or lossless data may need too many tables.
    """
    width = height = orientation = count = frames = lossless = 0
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + min(length, 65536)]
        size = _size(name, body)
        width, height = max(width, size[0]), max(height, size[1])
        count += 1
        limit_parts(count, "chunks of a WebP")
        frames += name == b"ANMF"
        if frames > 1:
            raise several_frames("WEBP")
        if name in (b"VP8L", b"ALPH"):
            lossless = max(lossless, length)
        if name == b"EXIF":
            orientation = exif_orientation(body)
        elif name == b"XMP " and not orientation:
            orientation = xmp_orientation(body)
        at += 8 + length + length % 2
    if not width:
        raise IndexError
    pixels = width * height
    # The number of sets is inside the coded data. There is at most one for 16 pixels, and one for 20 bits.
    tables = min(65_536, pixels // 16, 8 * lossless // 20)
    if tables > MAX_TABLES:
        raise TooMuchWork(
            f"expected a lossless WebP of at most {16 * MAX_TABLES:,} pixels, or {20 * MAX_TABLES // 8:,} "
            f"bytes; this one has {width} x {height}, and {lossless:,} bytes: save it as PNG, or lossy"
        )
    return Plan(
        "WEBP",
        ((data,),),
        width,
        height,
        work=3 * pixels + 1500 * tables,
        memory=16 * pixels,
        orientation=orientation or 1,
    )


def _size(name: bytes, body: bytes) -> tuple[int, int]:
    """Return width and height, if this chunk has them."""
    if name == b"VP8X" and len(body) >= 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if name == b"VP8 " and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if name == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0
