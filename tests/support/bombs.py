"""Small image files that would need much work or memory to decode, for every supported format."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from tiffs import tiff

PNG = b"\x89PNG\r\n\x1a\n"
PIXELS = (4000, 3000)

Make = Callable[[], bytes]
BOMBS: dict[str, Make] = {}


def bomb(make: Make) -> Make:
    """Register a function that makes a hostile file, under the function's name."""
    BOMBS[make.__name__] = make
    return make


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of the image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def gradient(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Return an image that is not uniform and compresses well."""
    return Image.linear_gradient("L").resize(size).convert(mode)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, colour: int = 2, bits: int = 8, extra: bytes = b"", interlaced: bool = False
) -> bytes:
    """Return a black PNG of this size, with other chunks before its pixels."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    rows = zlib.compress(bytes(min(height * (8 + width * samples * bits // 8), 1 << 26)), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    return PNG + header + extra + chunk(b"IDAT", rows) + chunk(b"IEND")


def exif(tags: int, length: int) -> bytes:
    """Return an EXIF block of many tags, which all refer to the same long run of bytes."""
    entries = b"".join(struct.pack("<HHII", tag, 7, length, 8) for tag in range(1, tags + 1))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + bytes(4) + bytes(length)


def segment(marker: int, body: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


@bomb
def png_of_huge_size() -> bytes:
    return png(50_000, 50_000)


@bomb
def png_of_many_chunks() -> bytes:
    return png(64, 64, extra=chunk(b"tEXt", b"a\0b") * 600_000)


@bomb
def png_of_empty_data_chunks() -> bytes:
    return png(64, 64, extra=chunk(b"IDAT") * 800_000)


@bomb
def png_of_long_exif_tags() -> bytes:
    return png(64, 64, extra=chunk(b"eXIf", exif(20_000, 9_000_000)))


@bomb
def png_of_16_bits_rgba() -> bytes:
    return png(*PIXELS, colour=6, bits=16)


@bomb
def png_of_a_compressed_text() -> bytes:
    text = zlib.compress(bytes(100_000_000), 9)
    return png(64, 64, extra=chunk(b"zTXt", b"a\0\0" + text) * 8 + chunk(b"iCCP", b"a\0\0" + text))


@bomb
def png_interlaced_rgba() -> bytes:
    return png(*PIXELS, colour=6, interlaced=True)


def _progressive(size: tuple[int, int], repeats: int) -> bytes:
    data = encode(gradient(size), "JPEG", progressive=True, quality=50)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * repeats + data[-2:]


@bomb
def jpeg_of_repeated_scans() -> bytes:
    return _progressive(PIXELS, 20)


@bomb
def jpeg_of_a_last_scan_4000_times() -> bytes:
    data = encode(Image.new("L", (2000, 1500), 99), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last[:10] * 4000 + data[-2:]


@bomb
def jpeg_of_a_million_scans_of_a_small_image() -> bytes:
    data = encode(Image.new("L", (16, 16), 99), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last[:10] * 900_000 + data[-2:]


@bomb
def jpeg_of_sequential_scans() -> bytes:
    data = encode(gradient(PIXELS, "L"), "JPEG")
    scan = data[data.index(b"\xff\xda") : -2]
    return data[:-2] + scan * 40 + data[-2:]


@bomb
def jpeg_of_fill_bytes() -> bytes:
    data = encode(gradient((64, 64)), "JPEG")
    return data[:2] + b"\xff" * 9_000_000 + data[2:]


@bomb
def jpeg_of_fill_bytes_before_a_stuffed_zero() -> bytes:
    data = encode(gradient((64, 64)), "JPEG")
    at = data.index(b"\xff\xda") + 14
    return data[:at] + b"\xff" * 9_000_000 + b"\0" + data[at:]


@bomb
def jpeg_of_many_segments() -> bytes:
    data = encode(gradient((64, 64)), "JPEG")
    return data[:2] + segment(0xFE, b"") * 2_000_000 + data[2:]


@bomb
def jpeg_of_many_tables() -> bytes:
    data = encode(gradient((64, 64)), "JPEG")
    at = data.index(b"\xff\xdb")
    table = data[at : at + 69]
    return data[:at] + table * 130_000 + data[at:]


@bomb
def jpeg_of_long_exif_tags() -> bytes:
    data = encode(gradient((64, 64)), "JPEG")
    return data[:2] + segment(0xE1, b"Exif\0\0" + exif(2_700, 32_000)) + data[2:]


@bomb
def jpeg_of_huge_size() -> bytes:
    data = bytearray(encode(gradient((64, 64), "L"), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


@bomb
def jpeg_progressive_of_100_megapixels() -> bytes:
    data = bytearray(encode(gradient((64, 64)), "JPEG", progressive=True, subsampling=0))
    at = data.index(b"\xff\xc2") + 5
    data[at : at + 4] = struct.pack(">HH", 10_000, 10_000)
    return bytes(data)


def grey(width: int, height: int, **more: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """The tags of a grey TIFF; those of `more` are called `t` and their number."""
    tags = {256: (width,), 257: (height,), 258: (8,), 259: (1,), 262: (1,), 277: (1,)}
    return tags | {int(name[1:]): value for name, value in more.items()}


@bomb
def tiff_of_one_huge_tile() -> bytes:
    tile = zlib.compress(bytes(64_000_000), 9)
    tags = grey(8, 8, t259=(8,), t322=(32768,), t323=(32768,), t324=(16,), t325=(len(tile),))
    return tiff(tags, tile)


@bomb
def tiff_of_a_million_strips() -> bytes:
    count = 1_200_000
    tags = grey(8, count, t278=(1,), t273=(16,) * count, t279=(8,) * count)
    return tiff(tags, bytes(8))


@bomb
def tiff_of_a_huge_count() -> bytes:
    tags = grey(8, 8, t273=(16,) * 2_000_000, t279=(64,), t278=(8,))
    return tiff(tags, bytes(64))


@bomb
def tiff_of_strips_that_share_their_bytes() -> bytes:
    count = 3000
    size = 8_000_000
    tags = grey(4000, count, t259=(5,), t278=(1,), t273=(16,) * count, t279=(size,) * count)
    return tiff(tags, bytes(size))


@bomb
def tiff_of_many_tags() -> bytes:
    tags = dict.fromkeys(range(700, 65500), (16,))
    return tiff(grey(64, 64, t273=(16,), t279=(4096,), t278=(64,)) | tags, bytes(4096))


@bomb
def tiff_of_endless_pages() -> bytes:
    tags = grey(64, 64, t254=(1,), t273=(16,), t279=(4096,), t278=(64,))
    alone = tiff(tags, bytes(4096))
    [start] = struct.unpack_from("<I", alone, 4)
    return tiff(tags, bytes(4096), after=start)


@bomb
def tiff_of_many_small_tiles() -> bytes:
    count = (4096 // 16) ** 2
    tags = grey(4096, 4096, t322=(16,), t323=(16,), t324=(16,) * count, t325=(256,) * count)
    return tiff(tags, bytes(256))


@bomb
def tiff_of_a_progressive_jpeg() -> bytes:
    data = _progressive((2000, 1500), 500)
    tags = grey(2000, 1500, t259=(7,), t262=(6,), t277=(3,), t258=(8, 8, 8), t278=(1500,))
    return tiff(tags | {273: (16,), 279: (len(data),)}, data)


@bomb
def tiff_of_many_samples() -> bytes:
    tags = grey(64, 64, t277=(60_000,), t258=(8,) * 9_000, t273=(16,), t279=(4096,), t278=(64,))
    return tiff(tags, bytes(4096))


@bomb
def bigtiff_of_one_huge_tile() -> bytes:
    tile = zlib.compress(bytes(64_000_000), 9)
    tags = grey(8, 8, t259=(8,), t322=(32768,), t323=(32768,), t324=(16,), t325=(len(tile),))
    return tiff(tags, tile, big=True)


@bomb
def tiff_of_damaged_strips() -> bytes:
    tags = grey(64, 64, t259=(8,), t278=(1,), t273=(16,) * 64, t279=(64,) * 64)
    return tiff(tags, bytes(range(64)) * 64)


@bomb
def gif_of_tiny_blocks() -> bytes:
    data = encode(gradient((64, 64), "P"), "GIF")
    return data[:-1] + b"!\xfe" + b"\x01a" * 4_500_000 + b"\0;"


@bomb
def gif_of_many_comments() -> bytes:
    data = encode(gradient((64, 64), "P"), "GIF")
    return data[:-1] + b"!\xfe\x01a\0" * 1_800_000 + b";"


@bomb
def gif_larger_than_its_screen() -> bytes:
    data = bytearray(encode(gradient((64, 64), "P"), "GIF"))
    at = data.rindex(b"\x2c\0\0\0\0")
    data[at + 5 : at + 9] = struct.pack("<HH", 65_000, 65_000)
    return bytes(data)


@bomb
def gif_of_many_frames() -> bytes:
    frames = [Image.new("L", (8, 8), index % 256) for index in range(600)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def bmp(width: int, height: int, compression: int, body: bytes) -> bytes:
    """Return a palette BMP with run-length coding."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(body), 0, 0, 256, 0)
    palette = b"".join(struct.pack("<BBBB", *[value] * 3, 0) for value in range(256))
    offset = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + header + palette + body


@bomb
def bmp_of_short_runs() -> bytes:
    return bmp(*PIXELS, 1, b"\x01\x07" * 4_500_000)


@bomb
def bmp_of_long_skips() -> bytes:
    return bmp(1_500_000, 8, 1, b"\x01\x07" + b"\0\x02\xff\xff" * 4)


@bomb
def bmp_of_huge_size() -> bytes:
    return bmp(60_000, 60_000, 0, bytes(1000))


@bomb
def webp_of_huge_size() -> bytes:
    data = bytearray(encode(gradient((64, 64)), "WEBP"))
    at = data.index(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = struct.pack("<HH", 16_383, 16_383)
    return bytes(data)


@bomb
def webp_of_many_chunks() -> bytes:
    data = encode(gradient((64, 64)), "WEBP", exif=b"Exif\0\0" + exif(1, 8))
    body = data[8:] + b"abcd\0\0\0\0" * 1_000_000
    return b"RIFF" + struct.pack("<I", len(body)) + body


@bomb
def webp_of_long_exif_tags() -> bytes:
    return encode(gradient((64, 64)), "WEBP", exif=exif(20_000, 9_000_000))


@bomb
def webp_of_many_frames() -> bytes:
    frames = [Image.new("L", (16, 16), index % 256) for index in range(500)]
    return encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])


class Bits:
    """Bits in the order of WebP's lossless format."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def put(self, value: int, count: int) -> None:
        self.bits += [value >> index & 1 for index in range(count)]

    def symbol(self, value: int) -> None:
        """A prefix code of one symbol of 8 bits."""
        self.put(0b101, 3)
        self.put(value, 8)

    def octets(self) -> None:
        """A prefix code in which each of 256 symbols has 8 bits."""
        self.put(0, 1)
        self.put(8, 4)
        for length in (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8):
            self.put(length == 8, 3)
        self.put(0b0111, 4)
        self.put(254, 8)

    def __bytes__(self) -> bytes:
        return np.packbits(self.bits, bitorder="little").tobytes()


@bomb
def webp_of_65536_sets_of_tables() -> bytes:
    side = 1024
    bits = Bits()
    for value, count in ((0x2F, 8), (side - 1, 14), (side - 1, 14), (0, 6), (1, 1), (0, 4)):
        bits.put(value, count)
    bits.octets()
    bits.octets()
    for _ in range(3):
        bits.symbol(0)
    numbers = np.arange(65_536)
    for number in ((numbers[:, None] >> np.array([*range(7, -1, -1), *range(15, 7, -1)])) & 1).tolist():
        bits.bits += number
    for number in range(65_536):
        for value in (number & 255, 7, 9, 255, 0):
            bits.symbol(value)
    data = bytes(bits) + bytes(64)
    data += bytes(len(data) % 2)
    body = b"WEBPVP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _avif(size: tuple[int, int], mode: str = "L") -> bytes:
    return encode(gradient(size, mode), "AVIF", speed=10, quality=1)


@bomb
def avif_larger_than_its_box_says() -> bytes:
    width, height = 4200, 3200
    return _avif((width, height)).replace(struct.pack(">II", width, height), struct.pack(">II", 64, 64))


@bomb
def avif_of_many_frames() -> bytes:
    data = _avif((2000, 1500))
    at = data.index(b"mdat") + 4
    item = data[at:]
    # The frame follows the sequence header, which has its own length.
    frame = item[item.index(b"\x32") :]
    more = item + frame * 200
    old, new = struct.pack(">I", len(item)), struct.pack(">I", len(more))
    head = data[: at - 8].replace(old, new)
    return head + struct.pack(">I", len(more) + 8) + b"mdat" + more


@bomb
def avif_of_long_exif_tags() -> bytes:
    return encode(gradient((64, 64)), "AVIF", exif=exif(20_000, 9_000_000))


@bomb
def avif_sequence() -> bytes:
    frames = [gradient((64, 64)).rotate(index) for index in range(30)]
    return encode(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)


def _jpeg2000(size: tuple[int, int] = (64, 64), **options: object) -> bytes:
    return encode(gradient(size), "JPEG2000", **options)


def _sized(data: bytes, at: int, value: int) -> bytes:
    place = data.index(b"\xff\x51") + at
    return data[:place] + struct.pack(">I", value) + data[place + 4 :]


@bomb
def jpeg2000_of_huge_size() -> bytes:
    return _sized(_sized(_jpeg2000(no_jp2=True), 6, 60_000), 10, 60_000)


@bomb
def jpeg2000_that_says_two_sizes() -> bytes:
    data = _jpeg2000()
    at = data.index(b"ihdr") + 4
    return data[:at] + struct.pack(">I", 30_000_000) + data[at + 4 :]


@bomb
def jpeg2000_of_tiny_tiles() -> bytes:
    data = _jpeg2000((1024, 1024), no_jp2=True)
    return _sized(_sized(data, 22, 4), 26, 4)


@bomb
def jpeg2000_of_tiny_precincts() -> bytes:
    data = _jpeg2000((512, 512), precinct_size=(64, 64), num_resolutions=6)
    at = data.index(b"\xff\x52")
    return data[: at + 14] + b"\x11" * 6 + data[at + 20 :]


@bomb
def jpeg2000_of_many_layers() -> bytes:
    data = _jpeg2000((512, 512))
    at = data.index(b"\xff\x52")
    return data[: at + 6] + b"\xff\xff" + data[at + 8 :]


@bomb
def jpeg2000_of_12_megapixels() -> bytes:
    return _jpeg2000((4096, 3000))


def noise(size: tuple[int, int], mode: str) -> Image.Image:
    """Return bytes that cannot be compressed."""
    rng = np.random.default_rng(0)
    shape = size[::-1] if mode == "L" else (*size[::-1], len(mode))
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode)


def batch() -> Iterator[bytes]:
    """32 images of 8 million pixels in RGBA, which are 2 MB together."""
    one = png(4000, 2000, colour=6)
    for _ in range(32):
        yield one
