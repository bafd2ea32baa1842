"""BMP: the header says everything."""

import struct

from ...errors import Unusable
from .plan import Plan

RUN = 30
"""Work for one byte of run-length coding, which Pillow decodes in Python."""


def scan(data: bytes) -> Plan:
    """Read the header; raises `Unusable` if it is damaged."""
    try:
        [header] = struct.unpack_from("<I", data, 14)
        if header == 12:
            width, height = struct.unpack_from("<HH", data, 18)
            compression = 0
        else:
            width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    except struct.error:
        raise Unusable("the BMP image is truncated: it ends within its header") from None
    width, height = abs(width), abs(height)
    pixels = width * height
    runs = compression in (1, 2)
    return Plan(
        "BMP",
        (data,),
        width,
        height,
        work=2 * pixels + (RUN * len(data) if runs else 0),
        # A run-length code may skip 255 rows at once, for which Pillow allocates.
        memory=8 * pixels + (256 * width if runs else 0),
    )
