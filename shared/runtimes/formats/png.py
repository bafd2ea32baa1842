"""PNG: scan its chunks, and keep those of one still picture."""

import struct
import zlib

from ...errors import Unusable
from .plan import Plan, exif_orientation, limit_parts, several_frames, xmp_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def scan(data: bytes) -> Plan:
    """Read the chunks; keep those that the pixels are made of.

    Raises:
        struct.error: there is no header.
        Unusable: a checksum is wrong.
        UnsupportedType: it is an APNG with several frames.
        TooMuchWork: there are too many chunks.
    """
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    view = memoryview(data)
    kept: list[bytes | memoryview] = [SIGNATURE]
    orientation, depth, at, count = 1, None, 8, 0
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        count += 1
        limit_parts(count, "chunks of a PNG")
        if name in KEPT:
            if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise Unusable(
                    f"the PNG image is truncated or damaged: the checksum of its {name.decode()} is wrong"
                )
            kept.append(view[at:end])
        elif name == b"fdAT" or (name == b"acTL" and data[at + 8 : at + 12] != b"\0\0\0\1"):
            raise several_frames("PNG")
        elif name == b"eXIf":
            orientation = exif_orientation(data[at + 8 : end - 4])
        elif name == b"iTXt" and data[at + 8 : at + 26] == b"XML:com.adobe.xmp\0" and orientation == 1:
            orientation = xmp_orientation(data[at + 8 : end - 4])
        elif name == b"sBIT" and bits == 16:
            depth = max(data[at + 8 : end - 4], default=16)
        if name == b"IEND":
            break
        at = end
    pixels = width * height
    sample_bytes = SAMPLES.get(colour, 4) * bits / 8
    # 16-bit colours are decoded twice, for their high and their low bytes.
    passes = 2 if bits == 16 and colour != 0 else 1
    return Plan(
        "PNG",
        (kept,),
        width,
        height,
        work=int(pixels * (0.5 + 0.9 * sample_bytes)) * passes,
        memory=pixels * 10,
        orientation=orientation,
        depth=depth,
    )
