"""TIFF and BigTIFF: scan one page, and rewrite the file with only the tags that its pixels depend on."""

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import UnsupportedType, Unusable
from . import jpeg
from .plan import Plan, limit_parts, several_frames

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, ROWS, STRIP_BYTES, LARGEST, PLANAR = 273, 274, 277, 278, 279, 281, 284
PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 317, 320, 322, 323, 324, 325
EXTRA, FORMAT, JPEG_TABLES, SUBSAMPLING, SUBFILE, DESCRIPTION = 338, 339, 347, 530, 254, 270

COMPRESSIONS = {1: 0.2, 5: 0.8, 7: 0.8, 8: 0.8, 32773: 0.5, 32946: 0.8}
"""The supported compressions (none, LZW, JPEG, deflate, PackBits), with the work to decompress a byte."""

PHOTOMETRICS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
"""The supported kinds (zero is white, zero is black, RGB, palette, CMYK, YCbCr, Lab), with their samples."""

PLANES = {1: {1: "L", 2: "LA"}, 2: {3: "RGB", 4: "RGBA"}, 5: {4: "CMYK"}}
"""Pillow's mode for separate planes, by kind and by their number."""

MAX_PAGES = 16
SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}

Tags = Mapping[int, Sequence[int]]


@dataclass(frozen=True)
class Layout:
    """How numbers are stored: TIFF has 32-bit offsets, BigTIFF 64-bit ones."""

    data: bytes
    order: str
    big: bool

    @classmethod
    def of(cls, data: bytes) -> "Layout":
        order = "<" if data[:2] == b"II" else ">"
        return cls(data, order, data[2:4] in (b"+\0", b"\0+"))

    def first(self) -> int:
        """Return the offset of the first page's tags."""
        [at] = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, 8 if self.big else 4)
        return int(at)

    def page(self, at: int) -> tuple[Tags, int]:
        """Return the tags in `READ` of the page at `at`, and the offset of the next page (0: none)."""
        count, entry = ("Q", "HHQ8s") if self.big else ("H", "HHI4s")
        [entries] = struct.unpack_from(self.order + count, self.data, at)
        limit_parts(entries, "tags of a TIFF", 1000)
        start, size = at + struct.calcsize("=" + count), struct.calcsize("=" + entry)
        tags = {}
        for index in range(entries):
            tag, kind, length, value = struct.unpack_from(self.order + entry, self.data, start + index * size)
            if tag in READ and kind in SIZES:
                length = min(length, 200) if tag == DESCRIPTION else length
                limit_parts(length, "strips, tiles or colours of a TIFF")
                tags[tag] = self._values(SIZES[kind], length, value)
        [after] = struct.unpack_from(
            self.order + ("Q" if self.big else "I"), self.data, start + entries * size
        )
        return tags, int(after)

    def _values(self, kind: str, length: int, value: bytes) -> Sequence[int]:
        if struct.calcsize(f"={length}{kind}") > len(value):
            [at] = struct.unpack(self.order + ("Q" if self.big else "I"), value)
            return struct.unpack_from(f"{self.order}{length}{kind}", self.data, at)
        return struct.unpack_from(f"{self.order}{length}{kind}", value)


READ = {
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, ORIENTATION, SAMPLES, ROWS),
    *(STRIP_BYTES, LARGEST, PLANAR, PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES),
    *(EXTRA, FORMAT, JPEG_TABLES, SUBSAMPLING, SUBFILE, DESCRIPTION),
}


def scan(data: bytes) -> Plan:
    """Find the only full-size page, and estimate the cost of decoding it.

    Raises:
        Unusable: the file is of a rare kind; the message names it.
        KeyError, IndexError, struct.error: a tag is missing, or cannot be read.
        UnsupportedType: there are several pages.
        TooMuchWork: there are too many strips, tiles or tags.
    """
    layout = Layout.of(data)
    return _plan(layout, _page(layout))


def _page(layout: Layout) -> Tags:
    """Return the tags of the only page that is not a smaller copy or a mask of another one."""
    pages, at, seen = [], layout.first(), 0
    while at and seen < MAX_PAGES:
        tags, at = layout.page(at)
        seen += 1
        if not tags.get(SUBFILE, (0,))[0] & 0b101:
            pages.append(tags)
    if len(pages) > 1 or at:
        raise several_frames("TIFF")
    # ImageJ may write no pages for the images of a stack, only their number in the description.
    if pages and re.match(rb"ImageJ=[^\0]*\nimages=(?!1\n)", bytes(pages[0].get(DESCRIPTION, ()))):
        raise several_frames("TIFF")
    if not pages:
        raise UnsupportedType("expected a TIFF with a full-size page; this one has thumbnails only")
    return pages[0]


def _plan(layout: Layout, tags: Tags) -> Plan:
    width, height = tags[WIDTH][0], tags[HEIGHT][0]
    samples, compression = tags.get(SAMPLES, (1,))[0], tags.get(COMPRESSION, (1,))[0]
    photometric = tags.get(PHOTOMETRIC, (1,))[0]
    bits, extra = _kind(tags, samples, compression, photometric)
    planar = tags.get(PLANAR, (1,))[0] == 2 and samples > 1
    if planar and photometric not in (0, 1, 2, 5):
        raise Unusable("expected a TIFF whose samples are not in separate planes; those of this one are")
    wide, high = _cell(tags, width, height)
    count = -(-width // wide) * -(-height // high)
    offsets, sizes = _parts(tags, layout, count * (samples if planar else 1))
    if compression == 7:
        _check_jpeg(layout.data, tags, offsets, sizes)
    # Pillow supports white-is-zero for 8 bits only.
    inverted = photometric == 0 and (bits > 8 or planar)
    photometric = 1 if inverted else photometric
    common: dict[int, Sequence[int]] = {
        WIDTH: (width,),
        HEIGHT: (height,),
        COMPRESSION: (compression,),
        FILL_ORDER: tags.get(FILL_ORDER, (1,)),
        **{tag: tags[tag] for tag in (PREDICTOR, JPEG_TABLES, SUBSAMPLING) if tag in tags},
    }
    own: dict[int, Sequence[int]]
    if planar:
        used = PHOTOMETRICS[photometric] + (extra[:1] in ((1,), (2,)))
        own = {BITS: (bits,), SAMPLES: (1,), PHOTOMETRIC: (1,)}
        parts = [slice(index * count, (index + 1) * count) for index in range(used)]
    else:
        own = {BITS: (bits,) * samples, SAMPLES: (samples,), PHOTOMETRIC: (photometric,)}
        own |= {EXTRA: extra} if extra else {}
        own |= {COLOURS: _colours(tags[COLOURS])} if photometric == 3 else {}
        parts = [slice(count)]
    pages = [common | own | _placed(tags, wide, high, offsets[part], sizes[part]) for part in parts]
    sample_bytes, coded = samples * bits / 8, count * wide * high
    # 16-bit samples that are not in separate planes are decoded twice, for their high and their low bytes.
    passes = 2 if bits == 16 and samples > 1 and not planar else 1
    orientation = tags.get(ORIENTATION, (1,))[0]
    return Plan(
        "TIFF",
        tuple(_file(layout, page, ">" if bits == 16 and layout.order == ">" else "<") for page in pages),
        width,
        height,
        work=int(coded * (1 + sample_bytes * COMPRESSIONS[compression]) * passes) + 1000 * len(offsets),
        memory=int(width * height * 8 + wide * high * sample_bytes),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        depth=12 if bits == 12 else max(tags.get(LARGEST, (0,))).bit_length() or None,
        inverted=inverted,
        mode=PLANES[photometric][len(pages)] if planar else "",
    )


def _kind(tags: Tags, samples: int, compression: int, photometric: int) -> tuple[int, tuple[int, ...]]:
    """Return the bits per sample, and the kinds of the extra samples (such as alpha)."""
    if compression not in COMPRESSIONS:
        raise Unusable(
            "expected a TIFF without compression, or with LZW, deflate, PackBits or JPEG; "
            f"this one has compression {compression}: save it as another"
        )
    if photometric not in PHOTOMETRICS:
        raise Unusable(
            f"expected a grey, RGB, palette, CMYK, YCbCr or Lab TIFF; this one is of kind {photometric}, "
            "as raw camera files are: export it as an RGB TIFF"
        )
    depths = set(tags.get(BITS, (1,)))
    [bits, *others] = sorted(depths)
    form = set(tags.get(FORMAT, (1,)))
    if 3 in form:
        raise Unusable("expected 8 or 16 bits per channel; this image holds floating-point numbers")
    if bits > 16 or others:
        raise Unusable(f"expected 8 or 16 bits per channel; this image has {max(depths)}")
    if not form <= {1, 4}:
        raise Unusable("expected unsigned samples; those of this TIFF are signed or complex")
    colours = PHOTOMETRICS[photometric]
    # Samples that are multiplied by alpha are already blended with black, so their alpha is ignored.
    extra = tuple(0 if each == 1 and colours == 3 else each for each in tags.get(EXTRA, ()))
    extra = extra[: max(0, samples - colours)]
    layouts = {1: {0, 1, 3}, 2: {0, 1, 3}, 4: {0, 1, 3}, 12: {0, 1}, 8: set(PHOTOMETRICS), 16: {0, 1, 2, 5}}
    if photometric not in layouts.get(bits, ()):
        raise Unusable(f"expected 8 or 16 bits per channel; this TIFF of kind {photometric} has {bits}")
    if samples < colours or samples > 6 or (bits < 8 and samples > 1):
        raise Unusable(f"expected {colours} samples a pixel, and alpha; this TIFF has {samples}")
    if samples > 1 and photometric in (0, 1) and (photometric, bits, samples, len(extra)) != (1, 8, 2, 1):
        raise Unusable(f"expected one grey sample a pixel; this TIFF has {samples} of {bits} bits")
    if bits == 16 and 1 in extra:
        raise Unusable("expected 16-bit samples that are not multiplied by alpha; those of this TIFF are")
    return bits, extra


def _cell(tags: Tags, width: int, height: int) -> tuple[int, int]:
    """Return the width and height of a tile or strip."""
    if TILES in tags:
        return max(1, tags[TILE_WIDTH][0]), max(1, tags[TILE_HEIGHT][0])
    return max(1, width), max(1, min(height, tags.get(ROWS, (height,))[0]))


def _parts(tags: Tags, layout: Layout, count: int) -> tuple[Sequence[int], Sequence[int]]:
    """Return the offsets of the strips or tiles, and their sizes in bytes."""
    limit_parts(count, "strips or tiles of a TIFF")
    places, lengths = (TILES, TILE_BYTES) if TILES in tags else (STRIPS, STRIP_BYTES)
    offsets = tags[places]
    if lengths not in tags and len(offsets) == 1:
        sizes: Sequence[int] = (len(layout.data) - offsets[0],)
    else:
        sizes = tags[lengths]
    if len(offsets) < count or len(sizes) < count:
        raise Unusable(
            f"the TIFF image is damaged: {count:,} strips or tiles are expected, not {len(offsets):,}"
        )
    offsets, sizes = offsets[:count], sizes[:count]
    if sum(sizes) > len(layout.data):
        raise Unusable("the TIFF image is truncated or damaged: it says that it has more bytes than it has")
    return offsets, sizes


def _check_jpeg(data: bytes, tags: Tags, offsets: Sequence[int], sizes: Sequence[int]) -> None:
    wide, high = _cell(tags, tags[WIDTH][0], tags[HEIGHT][0])
    for at, size in zip(offsets, sizes, strict=True):
        frame, _ = jpeg.read(data[at : at + size])
        if frame.progressive or frame.scans > 4 or frame.width > wide or frame.height > high:
            raise Unusable("expected baseline JPEG within a TIFF; in this one it is progressive or too large")


def _placed(
    tags: Tags, wide: int, high: int, offsets: Sequence[int], sizes: Sequence[int]
) -> dict[int, Sequence[int]]:
    if TILES in tags:
        return {TILE_WIDTH: (wide,), TILE_HEIGHT: (high,), TILES: offsets, TILE_BYTES: sizes}
    return {ROWS: (high,), STRIPS: offsets, STRIP_BYTES: sizes}


def _colours(colours: Sequence[int]) -> Sequence[int]:
    """Return the palette in 16 bits; some programs write only 8-bit values."""
    return colours if max(colours, default=0) > 255 else [257 * value for value in colours]


def _file(layout: Layout, tags: Tags, order: str) -> list[bytes | memoryview]:
    """Return a new header, the rest of the old file, and a directory of these tags at the end."""
    end = len(layout.data) + len(layout.data) % 2
    entries, values = [], bytearray()
    start = end + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        numbers = tags[tag]
        kind, code = (
            (4, "I") if tag in (STRIPS, STRIP_BYTES, TILES, TILE_BYTES, WIDTH, HEIGHT, ROWS) else (3, "H")
        )
        if tag == JPEG_TABLES:
            kind, code = 7, "B"
        packed = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(packed) > 4:
            place = struct.pack(order + "I", start + len(values))
            values += packed + b"\0" * (len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        entries.append(struct.pack(order + "HHI", tag, kind, len(numbers)) + place)
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", end)
    body, even = memoryview(layout.data)[8:], b"\0" * (len(layout.data) % 2)
    count = struct.pack(order + "H", len(entries))
    return [header, body, even, count, *entries, bytes(4), bytes(values)]
