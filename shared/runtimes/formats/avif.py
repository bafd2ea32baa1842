"""AVIF: scan its boxes, and the number and size of the frames in its coded data; recognise HEIC."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...errors import Unusable
from .plan import Plan, limit_parts, several_frames

MAX_ITEMS = 64
CONTAINERS = (b"meta", b"iprp", b"ipco")
IGNORED = (b"Exif", b"mime", b"uri ", b"tmap")
"""Items that are not pictures: descriptions, and the parameters of a gain map, which is not applied."""


def brands(data: bytes) -> set[bytes]:
    """Return the brands that the file declares; empty if it is not of this family."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 400)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def sizes(data: bytes) -> list[tuple[int, int]]:
    """Return the width and height of every picture in the file, from its boxes."""
    boxes = Boxes()
    for name, body in _boxes(data):
        if name == b"ispe":
            _read(boxes, name, body)
    return boxes.sizes


@dataclass
class Boxes:
    """The content of the boxes."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    stored: bytes = b""


def scan(data: bytes) -> Plan:
    """Find the coded data, and count its frames.

    Raises:
        Unusable: the file is of a rare kind; the message names it.
        IndexError, ValueError, struct.error: there is no picture, or a box cannot be read.
        UnsupportedType: it is a sequence of images.
        TooMuchWork: there are too many boxes or items.
    """
    boxes = Boxes()
    for name, body in _boxes(data):
        if name == b"moov":
            raise several_frames("AVIF")
        _read(boxes, name, body)
    coded = _items(boxes, data)
    frames = [size for item in coded for size in _frames(item)]
    if not boxes.sizes or not frames:
        raise IndexError
    if len(frames) > 2 * len(coded):
        raise Unusable(f"expected an AVIF of one frame; this one has {len(frames)}: save it as another")
    width, height = max(boxes.sizes, key=lambda size: size[0] * size[1])
    if any(wide > width + 64 or high > height + 64 for wide, high in frames):
        raise Unusable(f"the AVIF image is damaged: a frame is larger than {width} x {height}")
    total = sum(wide * high for wide, high in frames)
    work, memory = 4 * total + 10_000, 10 * width * height
    return Plan("AVIF", (_without_exif(data),), width, height, work, memory)


def _without_exif(data: bytes) -> list[bytes | memoryview]:
    """Return the file with its EXIF item renamed, because Pillow would read any number of tags of any length.

    The orientation is not lost: an AVIF has it in boxes of its own.
    """
    at = 0
    while data[at + 4 : at + 8] != b"meta":
        at += int.from_bytes(data[at : at + 4], "big")
    end = at + int.from_bytes(data[at : at + 4], "big")
    return [memoryview(data)[:at], data[at:end].replace(b"Exif", b"skip"), memoryview(data)[end:]]


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield every box at any level of the containers, with its name."""
    waiting, count = [data], 0
    while waiting:
        here, at = waiting.pop(), 0
        while at + 8 <= len(here):
            size, name = struct.unpack_from(">I4s", here, at)
            head = 8
            if size == 1:
                [size] = struct.unpack_from(">Q", here, at + 8)
                head = 16
            size = size or len(here) - at
            if size < head or at + size > len(here) + (1 << 20):
                raise ValueError
            count += 1
            limit_parts(count, "boxes of an AVIF", 1000)
            if name != b"mdat":
                body = here[at + head : at + size]
                if name in CONTAINERS:
                    waiting.append(body[4 if name == b"meta" else 0 :])
                else:
                    yield name, body
            at += size


def _read(boxes: Boxes, name: bytes, body: bytes) -> None:
    if name == b"ispe":
        boxes.sizes.append(struct.unpack_from(">II", body, 4))
    elif name == b"idat":
        boxes.stored = body
    elif name == b"iloc":
        boxes.extents = _locations(body)
    elif name == b"iinf":
        wide = body[0] > 0
        for entry, info in _boxes(body[8 if wide else 6 :]):
            if entry == b"infe" and info[0] >= 2:
                size = 4 if info[0] > 2 else 2
                item = int.from_bytes(info[4 : 4 + size], "big")
                boxes.kinds[item] = info[6 + size : 10 + size]


def _locations(body: bytes) -> dict[int, list[tuple[int, int, int]]]:
    """Return the pieces of each item: (1 if it is in the `idat` box, offset, length)."""
    version, sizes = body[0], struct.unpack_from(">H", body, 4)[0]
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    at = 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > len(body):
            raise IndexError
        return int.from_bytes(body[at - size : at], "big")

    wide = 4 if version == 2 else 2
    items = {}
    count = number(wide)
    limit_parts(count, "items of an AVIF", MAX_ITEMS)
    for _ in range(count):
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size)
        pieces = []
        count = number(2)
        limit_parts(count, "pieces of an AVIF item", MAX_ITEMS)
        for _ in range(count):
            if version:
                number(index_size)
            offset = base + number(offset_size)
            pieces.append((method, offset, number(length_size)))
        items[item] = pieces
    return items


def _items(boxes: Boxes, data: bytes) -> list[bytes]:
    """Return the coded data of each picture in the file: the colours, alpha, a thumbnail."""
    coded = []
    for item, kind in boxes.kinds.items():
        if kind == b"av01":
            pieces = []
            for method, offset, length in boxes.extents.get(item, []):
                if method > 1:
                    raise ValueError
                source = boxes.stored if method else data
                pieces.append(source[offset : offset + length] if length else source[offset:])
            coded.append(b"".join(pieces))
        elif kind not in IGNORED:
            name = kind.decode("latin-1")
            raise Unusable(
                f"expected an AVIF of one piece; this one has an item {name!r}: save it as another"
            )
    if sum(map(len, coded)) > len(data):
        raise Unusable("the AVIF image is damaged: its items overlap")
    return coded


def _frames(item: bytes) -> Iterator[tuple[int, int]]:
    """Yield the width and height of every frame in the data of an item."""
    at, count, size = 0, 0, (0, 0)
    while at < len(item):
        header = item[at]
        kind = header >> 3 & 15
        at += 2 if header & 4 else 1
        length = len(item) - at
        if header & 2:
            length, at = _leb128(item, at)
        count += 1
        limit_parts(count, "units of AV1 data", 1000)
        if kind == 1:
            size = _sequence(item[at : at + length])
        elif kind in (3, 6):
            yield size
        at += length


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        value |= (data[at + index] & 0x7F) << 7 * index
        if not data[at + index] & 0x80:
            return value, at + index + 1
    raise ValueError


def _sequence(body: bytes) -> tuple[int, int]:
    """Return the largest width and height of a frame in an AV1 sequence header (AV1 specification, 5.5)."""
    bits = int.from_bytes(body[:64], "big")
    left = 8 * len(body[:64])

    def read(count: int) -> int:
        nonlocal left
        left -= count
        if left < 0:
            raise IndexError
        return bits >> left & (1 << count) - 1

    read(3 + 1)
    if read(1):
        read(5)
    else:
        if read(1):
            raise Unusable("expected an AVIF still image; this one has the timing of a video")
        delay = read(1)
        for _ in range(read(5) + 1):
            read(12)
            if read(5) > 7:
                read(1)
            if delay and read(1):
                read(4)
    wide, high = read(4) + 1, read(4) + 1
    return read(wide) + 1, read(high) + 1
