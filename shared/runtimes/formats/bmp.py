"""BMP: scan the header, which describes the whole file."""

import struct

from .plan import Plan

RUN = 30
"""The work for one byte of run-length coding, which Pillow decodes in Python."""


def scan(data: bytes) -> Plan:
    """Read the header; raises `struct.error` if the file ends within it."""
    [header] = struct.unpack_from("<I", data, 14)
    compression = 0
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    width, height = abs(width), abs(height)
    pixels = width * height
    runs = compression in (1, 2)
    return Plan(
        "BMP",
        ((data,),),
        width,
        height,
        work=2 * pixels + (RUN * len(data) if runs else 0),
        # A run-length code may skip 255 rows at once, and Pillow allocates memory for them.
        memory=8 * pixels + (256 * width if runs else 0),
    )
