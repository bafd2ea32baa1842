"""GIF: scan its blocks, and keep its only image."""

import struct

from .plan import Plan, limit_parts, several_frames

MAX_BLOCKS = 100_000
"""The most data blocks; at up to 255 bytes each, these are 25 MB."""


def scan(data: bytes) -> Plan:
    """Find the only image; drop comments and application data.

    Raises:
        IndexError, struct.error: the file ends before its image does.
        UnsupportedType: there are several images.
        TooMuchWork: there are too many blocks.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _palette(flags)
    view = memoryview(data)
    kept = [view[:at]]
    control, image, count = view[:0], False, 0
    while at < len(data):
        start, kind = at, data[at]
        if kind == 0x21:
            at, count = _blocks(data, at + 2, count)
            if data[start + 1 : start + 2] == b"\xf9":
                control = view[start:at]
        elif kind == 0x2C and image:
            raise several_frames("GIF")
        elif kind == 0x2C:
            image = True
            left, top, wide, high, local = struct.unpack_from("<HHHHB", data, at + 1)
            width, height = max(width, left + wide), max(height, top + high)
            at, count = _blocks(data, at + 11 + _palette(local), count)
            kept += [control, view[start:at]]
        else:
            break
    if not image:
        raise IndexError
    pixels = width * height
    return Plan("GIF", ([*kept, b";"],), width, height, work=2 * pixels, memory=8 * pixels)


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks(data: bytes, at: int, count: int) -> tuple[int, int]:
    """Skip a run of data blocks; return where it ends, and how many blocks it has."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
        count += 1
        limit_parts(count, "blocks of a GIF", MAX_BLOCKS)
    return at + 1, count
