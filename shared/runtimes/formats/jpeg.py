"""JPEG: scan its segments, and find the end of its first picture."""

import re
import struct
from dataclasses import dataclass, field

from ...errors import Unusable
from .plan import Plan, exif_orientation, limit_parts, several_frames, xmp_orientation

SOI, EOI, SOS, DNL = 0xD8, 0xD9, 0xDA, 0xDC
NAMES = {
    0xC3: "lossless",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xDE: "hierarchical",
    0xF7: "lossless (JPEG-LS)",
}
FILL = b"\xff" * 1000
"""No encoder writes this. For each block that Pillow passes, libjpeg would read all of it again."""

PER_SCAN = 20_000
"""The work for the tables of a scan; its pixels come on top."""

# In coded data, FF is followed by 00 or by the number of a restart marker; any other byte starts a segment.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")


@dataclass
class Frame:
    """The content of the segments."""

    width: int = 0
    height: int = 0
    block: int = 8
    components: list[int] = field(default_factory=list)
    progressive: bool = False
    adobe: bool = False
    orientation: int = 1
    scanned: int = 0
    scans: int = 0
    complete: set[tuple[int, int]] = field(default_factory=set)
    ended: bool = False


def scan(data: bytes) -> Plan:
    """Read the segments of the first picture; drop the rest of the file.

    Raises:
        Unusable: there is no picture, or it is of a rare kind; the message names it.
        IndexError, struct.error: a segment is too short.
        TooMuchWork: there are too many segments.
    """
    frame, kept = read(data)
    if frame.scans == 0:
        raise Unusable("the JPEG image is truncated: it ends before its picture begins")
    if len(frame.components) == 4 and not frame.adobe:
        raise Unusable(
            "expected a grey, RGB or Adobe CMYK JPEG; in this CMYK JPEG nothing says whether it is inverted"
        )
    if not frame.ended and not _enough(frame):
        raise Unusable("the JPEG image is truncated: it ends before its colours or its detail have come")
    side = frame.block
    wide, high = -(-frame.width // side) * side, -(-frame.height // side) * side
    pixels = wide * high
    buffered = frame.progressive or frame.scans > 1
    # Coded data is read bit by bit, and a scan visits each of its blocks even if they have no data.
    work = frame.scanned * pixels // 8 + frame.scans * PER_SCAN + 2 * len(data)
    memory = 2 * len(frame.components) * pixels if buffered else 0
    return Plan(
        "JPEG",
        (kept,),
        frame.width,
        frame.height,
        work=work,
        memory=memory,
        orientation=frame.orientation,
        damaged=not frame.ended,
        rows=side,
        shrinks=True,
    )


def read(data: bytes) -> tuple[Frame, list[bytes | memoryview]]:
    """Read all segments up to the end of the first picture; return their content, and the picture's bytes."""
    frame, view = Frame(), memoryview(data)
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    at, count = 2, 0
    while match := _MARKER.search(data, at):
        marker, at = match[1][0], match.end()
        count += 1
        limit_parts(count, "segments of a JPEG")
        if marker == EOI:
            frame.ended = True
            break
        if marker in (SOI, 0x01):
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + length]
        if len(body) < length - 2 or length < 2:
            break
        _segment(frame, marker, body)
        if marker in (0xE0, 0xEE) or not 0xE0 <= marker <= 0xFE:
            kept += [bytes([0xFF, marker]), view[at : at + length]]
        at += length
        if marker == SOS:
            start, at, whole = at, *_coded(data, at)
            kept.append(view[start:at])
            if whole:
                frame.complete.update(_coefficients(body))
    return frame, [*kept, b"\xff\xd9"]


def _coded(data: bytes, start: int) -> tuple[int, bool]:
    """Return the end of the coded data that start at `start`, and whether a marker follows them."""
    after = _MARKER.search(data, start)
    end = after.start() if after else len(data)
    if data.find(FILL, start, end) >= 0:
        raise Unusable("the JPEG image is damaged: FF fills its coded data")
    if not after:  # A file that was not written completely may end in zeros.
        end = start + len(data[start:].rstrip(b"\0"))
    while end > start and data[end - 1] == 0xFF:  # Fill bytes before a marker.
        end -= 1
    return end, bool(after)


def _segment(frame: Frame, marker: int, body: bytes) -> None:
    if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker in (0xDE, 0xF7):
        _start_of_frame(frame, marker, body)
    elif marker == SOS:
        frame.scans += 1
        frame.scanned += body[0]
    elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
        frame.orientation = exif_orientation(body)
    elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0") and frame.orientation == 1:
        frame.orientation = xmp_orientation(body)
    elif marker == 0xEE:
        frame.adobe = frame.adobe or body.startswith(b"Adobe")
    elif marker == DNL:
        raise Unusable("expected a JPEG that says its height at its start; this one says it at its end")


def _start_of_frame(frame: Frame, marker: int, body: bytes) -> None:
    if frame.components:
        raise several_frames("JPEG")
    if marker not in (0xC0, 0xC1, 0xC2):
        kind = NAMES.get(marker, "rare")
        raise Unusable(f"expected a baseline or progressive JPEG; this one is {kind}: save it as another")
    bits, frame.height, frame.width, count = struct.unpack_from(">BHHB", body)
    if bits != 8:
        raise Unusable(f"expected a JPEG of 8 bits per sample; this one has {bits}: save it as another")
    frame.progressive = marker == 0xC2
    factors = [body[7 + 3 * index] for index in range(count)]
    frame.components = [body[6 + 3 * index] for index in range(count)]
    frame.block = 8 * max([1, *(max(each >> 4, each & 15) for each in factors)])


def _coefficients(body: bytes) -> set[tuple[int, int]]:
    """Return (component, last coefficient) for each component of a complete scan."""
    count = body[0]
    return {(body[1 + 2 * index], body[2 + 2 * count]) for index in range(count)}


def _enough(frame: Frame) -> bool:
    """Whether all that can be missing is rows at the end of the image, or the last bits of precision."""
    if len(frame.components) == 4:
        return False
    if not frame.progressive:
        return frame.scanned == len(frame.components) and frame.scans == 1
    return all((component, 63) in frame.complete for component in frame.components)
