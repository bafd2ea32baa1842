"""Images of every kind that users send are decoded to the right picture, or refused."""

import base64
import io
import itertools
import json
import random
import struct
import subprocess
import sys
import warnings
import zlib

import bombs
import cells
import numpy as np
import pytest
import tiffs
from bombs import BOMBS, chunk
from conftest import ROOT
from PIL import Image

from shared import budget
from shared.errors import ServiceError, TooLarge, TooMuchWork, UniformImage, UnsupportedType, Unusable
from shared.runtimes.pixels import FORMATS, decode

INFECTED = ROOT / "models" / "malaria" / "examples" / "infected.png"
NORMAL = ROOT / "models" / "malaria" / "examples" / "normal.png"
CELL = Image.open(INFECTED).convert("RGB")
COLOURS = np.asarray(CELL)
GREY = np.asarray(CELL.convert("L"))
SIZE = CELL.height, CELL.width
SMALL = (100, 100)


def encode(image, kind="PNG", **options):
    return cells.encode(image, kind, **options)


def grey(image):
    return np.asarray(image.convert("L").convert("RGB"))


def differ(data, expected, size=SIZE):
    """The largest difference from the pixels expected, of 255."""
    return np.abs(decode(data, size).astype(int) - expected).max()


def codes(picture):
    return [warned.code for warned in picture.warnings]


def plainly(data, size):
    """Return the pixels as they were decoded when the model was trained."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (2 * size[1], 2 * size[0]))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR))


def segmented():
    """The cell with an alpha that is its outline."""
    image = CELL.copy()
    image.putalpha(Image.fromarray(np.where(GREY > 40, 255, 0).astype(np.uint8)))
    return image


KINDS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_plain_images_are_decoded_as_in_training(kind, mode):
    image = segmented() if mode == "RGBA" else CELL.convert(mode)
    if kind == "JPEG" and mode in ("P", "RGBA"):
        pytest.skip("JPEG has no palette and no alpha")
    for each in (image, image.resize((901, 700))):
        data = encode(each, kind)
        assert np.array_equal(decode(data, SMALL), plainly(data, SMALL))


@pytest.mark.parametrize("path", [INFECTED, NORMAL, ROOT / "functions" / "malaria" / "example.png"])
def test_the_examples_are_decoded_as_in_training(path):
    data = path.read_bytes()
    assert np.array_equal(decode(data, SMALL), plainly(data, SMALL))
    assert decode(data, SMALL).warnings == []


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded_to_the_same_cell(kind):
    options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    assert np.abs(decode(encode(CELL, kind, **options), SIZE).astype(int) - COLOURS).mean() < 2.5


# 16 bits


def deep(samples, depth):
    """8-bit samples at another depth, in 16-bit integers."""
    wide = samples.astype(np.uint16)
    return wide if depth == 8 else wide << (depth - 8) | wide >> (16 - depth)


def png16(samples):
    """A PNG of 16-bit samples, shape (height, width, 1 to 4)."""
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return bombs.PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


LAYOUTS = [
    dict(zip(("order", "planar", "tile", "deflated", "big"), values, strict=True))
    for values in itertools.product("<>", (False, True), (0, 48), (False, True), (False, True))
]


@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_16_bit_tiffs_of_every_layout_are_decoded_by_the_bits_they_use(depth):
    for layout in LAYOUTS:
        for samples, photometric, expected in (
            (COLOURS, 2, COLOURS),
            (GREY[..., None], 1, grey(CELL)),
            (255 - GREY[..., None], 0, grey(CELL)),
        ):
            data = tiffs.page(deep(samples, depth), photometric, **layout)
            assert differ(data, expected) == 0, (photometric, layout)
            assert codes(decode(data, SIZE)) == (["assumed_depth"] if depth < 16 else [])


def test_8_bit_tiffs_of_every_layout_are_decoded():
    for layout in LAYOUTS:
        for samples, photometric, expected in (
            (COLOURS, 2, COLOURS),
            (GREY[..., None], 1, grey(CELL)),
            (255 - GREY[..., None], 0, grey(CELL)),
            (np.asarray(CELL.convert("CMYK")), 5, COLOURS),
        ):
            assert differ(tiffs.page(samples, photometric, **layout), expected) == 0, (photometric, layout)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("extra", "value"), [((0,), 0), ((0,), 255), ((2,), 0), ((2,), 255), ((), 0)])
def test_a_fourth_sample_without_a_meaning_changes_nothing(bits, extra, value):
    fourth = np.full((*SIZE, 1), value, np.uint8)
    for layout in LAYOUTS:
        samples = np.concatenate([COLOURS, fourth], axis=2)
        samples = samples if bits == 8 else samples * np.uint16(257)
        assert differ(tiffs.page(samples, 2, extra=extra, **layout), COLOURS) == 0, layout


@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("alpha", [False, True])
def test_16_bit_pngs_are_decoded_by_the_bits_they_use(depth, alpha):
    for samples, expected in ((COLOURS, COLOURS), (GREY[..., None], grey(CELL))):
        wide = deep(samples, depth)
        if alpha:
            wide = np.concatenate([wide, np.full((*SIZE, 1), 65535, np.uint16)], axis=2)
        if alpha and samples.shape[2] == 1 and depth < 16:
            with pytest.raises(Unusable, match=f"those of this image use {depth}"):
                decode(png16(wide), SIZE)
        else:
            assert differ(png16(wide), expected) == 0


def test_a_declared_depth_is_used_without_a_warning():
    dark = deep(COLOURS // 4, 12)
    tags = tiffs.page(dark, 2)
    assert decode(tags, SIZE).max() > 200
    data = png16(dark)
    at = data.index(b"IDAT") - 4
    said = data[:at] + chunk(b"sBIT", b"\x0c\x0c\x0c") + data[at:]
    picture = decode(said, SIZE)
    assert codes(picture) == []
    assert np.abs(picture.astype(int) - COLOURS // 4).max() <= 1


@pytest.mark.parametrize(
    ("samples", "photometric", "words"),
    [
        (COLOURS.astype(np.uint32), 2, "this image has 32"),
        (GREY[..., None].astype(np.int32), 1, "this image has 32"),
        (COLOURS.astype(np.float32), 2, "floating-point"),
        (GREY[..., None].astype(np.int16), 1, "signed"),
        (COLOURS, 32803, "raw camera files"),
        (np.repeat(COLOURS, 3, axis=2), 2, "this TIFF has 9"),
        (COLOURS, 1, "one grey sample"),
        (deep(COLOURS[..., :2], 16), 1, "one grey sample"),
    ],
)
def test_ambiguous_samples_are_refused_by_name(samples, photometric, words):
    with pytest.raises(Unusable, match=words):
        decode(tiffs.page(samples, photometric), SIZE)


def test_a_palette_of_8_bits_in_16_is_not_black():
    palette = CELL.quantize(256)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    expected = np.asarray(palette.convert("RGB"))
    indices = np.asarray(palette)[..., None]
    plain = tiffs.page(indices, 3)
    [start] = struct.unpack_from("<I", plain, 4)
    tags = {}
    for index in range(struct.unpack_from("<H", plain, start)[0]):
        tag, _, count, value = struct.unpack_from("<HHII", plain, start + 2 + 12 * index)
        tags[tag] = struct.unpack_from(f"<{count}I", plain, value) if count > 1 else (value,)
    for scale in (1, 257):
        tags[320] = [
            int(value) * scale for value in np.pad(colours, ((0, 256 - len(colours)), (0, 0))).T.ravel()
        ]
        assert differ(tiffs.tiff(tags, plain[tiffs.HEAD : start]), expected) == 0


@pytest.mark.parametrize("mode", ["LAB", "YCbCr", "CMYK"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_other_colour_spaces_of_a_tiff_are_decoded_to_the_same_cell(mode, compression):
    assert differ(encode(CELL.convert(mode), "TIFF", compression=compression), COLOURS) <= 3


# Alpha


def bmp32(samples):
    """A BMP of 32 bits with a header that has a mask for alpha, as the Windows clipboard makes it."""
    height, width, _ = samples.shape
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII4I", 124, width, -height, 1, 32, 3, 0, 0, 0, 0, 0, *masks).ljust(
        124, b"\0"
    )
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, 138) + header + samples[..., [2, 1, 0, 3]].tobytes()


def test_transparency_becomes_the_black_of_a_segmented_background():
    expected = np.where(GREY[..., None] > 40, COLOURS, 0)
    for data in (encode(segmented()), encode(segmented(), "TIFF"), bmp32(np.asarray(segmented()))):
        assert differ(data, expected) == 0


def test_an_alpha_channel_of_zeros_is_ignored():
    hidden = CELL.copy()
    hidden.putalpha(0)
    for data in (
        bmp32(np.asarray(hidden)),
        encode(hidden, "PNG"),
        encode(hidden, "TIFF"),
        encode(hidden, "WEBP", lossless=True, exact=True),
        encode(hidden, "JPEG2000"),
    ):
        assert differ(data, COLOURS) == 0
    shown = np.array(hidden)
    shown[40:90, 40:90, 3] = 255
    assert decode(bmp32(shown), SIZE)[:40].max() == 0


@pytest.mark.parametrize("colour", ["black", "white", (200, 40, 90)])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_uniform_image_is_refused(kind, colour):
    with pytest.raises(UniformImage, match="all over"):
        decode(encode(Image.new("RGB", (64, 64), colour), kind), SMALL)


def test_an_image_that_is_uniform_after_decoding_is_refused():
    for data in (png16(np.full((64, 64, 3), 7, np.uint16)), encode(Image.new("RGBA", (64, 64)))):
        with pytest.raises(UniformImage):
            decode(data, SMALL)


# More in a file than a picture


def mpo():
    """A phone's JPEG with a second, smaller picture in it."""
    return encode(CELL, "MPO", save_all=True, append_images=[CELL.resize((40, 40))], quality=95)


def test_the_first_picture_of_a_still_photo_is_used():
    assert Image.open(io.BytesIO(mpo())).n_frames == 2
    assert np.array_equal(decode(mpo(), SIZE), decode(encode(CELL, "JPEG", quality=95), SIZE))
    alone = encode(CELL, "JPEG", quality=95)
    assert np.array_equal(decode(alone + encode(CELL.resize((40, 40)), "JPEG"), SIZE), decode(alone, SIZE))


def two_pages(kind):
    """A TIFF whose second page is of this kind of sub-file."""
    page = tiffs.page(COLOURS, 2)
    smaller = tiffs.tiff({254: (kind,), 256: (8,), 257: (8,), 273: (16,), 279: (64,)}, bytes(64))
    [start] = struct.unpack_from("<I", smaller, 4)
    data = bytearray(page) + bytes(len(page) % 2)
    place = len(data) + start
    [first] = struct.unpack_from("<I", page, 4)
    [count] = struct.unpack_from("<H", page, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, place)
    return bytes(data + smaller)


def test_a_tiff_with_a_thumbnail_or_a_mask_is_one_picture():
    for kind in (1, 4, 5):
        assert differ(two_pages(kind), COLOURS) == 0


def test_a_tiff_of_several_pages_is_refused():
    for kind in (0, 2):
        with pytest.raises(UnsupportedType, match="several frames"):
            decode(two_pages(kind), SIZE)


def test_a_stack_that_only_imagejs_description_mentions_is_refused():
    with pytest.raises(UnsupportedType, match="several frames"):
        decode(tiffs.page(COLOURS, 2, description="ImageJ=1.54f\nimages=30\nslices=30\n"), SIZE)
    for described in ("ImageJ=1.54f\nimages=1\n", "ImageJ=1.54f\nunit=micron\n"):
        assert differ(tiffs.page(COLOURS, 2, description=described), COLOURS) == 0


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_an_animation_is_refused(kind):
    frames = [cells.draw(True, seed).resize((40, 40)) for seed in (1, 2, 3)]
    with pytest.raises(UnsupportedType, match="expected one still image"):
        decode(encode(frames[0], kind, save_all=True, append_images=frames[1:]), SMALL)


def test_a_still_apng_is_accepted():
    data = encode(CELL, "PNG")
    at = data.index(b"IDAT") - 4
    control = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(
        b"fcTL", struct.pack(">IIIIIHHBB", 0, *CELL.size, 0, 0, 1, 1, 0, 0)
    )
    assert differ(data[:at] + control + data[at:], COLOURS) == 0


# Size


def test_a_photo_of_48_megapixels_is_classified():
    data = encode(CELL.resize((8000, 6000)), "JPEG")
    assert np.abs(decode(data, SMALL).astype(int) - plainly(encode(CELL), SMALL)).mean() < 3


def test_an_image_of_a_bad_size_is_refused_with_its_size():
    with pytest.raises(TooLarge, match="50000 x 50000"):
        decode(BOMBS["png_of_huge_size"](), SMALL)
    for side in (1, 7):
        with pytest.raises(Unusable, match="expected at least 8 x 8 pixels"):
            decode(encode(CELL.resize((side, 20))), SMALL)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_rotated_photo_is_turned_upright(kind, orientation):
    upright = Image.new("RGB", (60, 40), "red")
    upright.paste("blue", (0, 0, 60, 20))
    upright.paste("white", (0, 0, 20, 20))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright.transpose(undo) if undo is not None else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encode(stored, kind, exif=exif.tobytes()), (40, 60))
    for rows, columns, colour in (
        (slice(4, 14), slice(4, 14), (255, 255, 255)),
        (slice(4, 14), slice(30, 56), (0, 0, 255)),
        (slice(28, 36), slice(4, 56), (255, 0, 0)),
    ):
        assert np.abs(pixels[rows, columns].astype(int) - colour).max() < 60


# Damage


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_truncated_at_any_place_is_refused(kind):
    data = encode(CELL, kind)
    for share in (0.02, 0.1, 0.3, 0.5, 0.8, 0.9):
        with pytest.raises((UnsupportedType, Unusable)):
            decode(data[: int(len(data) * share)], SMALL)


def mutated(data, rng):
    """The bytes with a few of them changed, left out or repeated."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(min(len(data), rng.choice((60, 300, 100_000))))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\xff\xff"))
        elif kind == 2:
            del data[at + 1 : at + rng.randrange(2, 9)]
        elif kind == 3:
            data[at:at] = data[max(0, at - rng.randrange(1, 40)) : at] * rng.choice((1, 2, 50))
        else:
            del data[at + 1 :]
    return bytes(data)


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_any_damaged_file_is_decoded_or_refused(kind, capfd):
    rng = random.Random(kind)
    small = CELL.resize((48, 40))
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    data = encode(small, kind, **options)
    statuses = []
    for _ in range(150):
        try:
            decode(mutated(data, rng), SMALL)
        except ServiceError as refusal:
            statuses.append(refusal.status)
    assert set(statuses) <= {413, 415, 422}
    assert capfd.readouterr() == ("", "")


def test_no_refusal_keeps_the_image_in_memory():
    for data in (encode(Image.new("RGB", (900, 900))), encode(framed(), "TIFF")[:-9000], jpeg_cut_within()):
        with pytest.raises(ServiceError) as refusal:
            decode(data, SMALL)
        error, seen = refusal.value, []
        while error is not None:
            step = error.__traceback__
            while step is not None:
                seen += [value for value in step.tb_frame.f_locals.values() if isinstance(value, Image.Image)]
                step = step.tb_next
            error = error.__context__
        assert seen == []


def jpeg_cut_within():
    data = encode(CELL, "JPEG", quality=95)
    return data[: int(len(data) * 0.9)]


def framed():
    """A cell in the middle of a large picture, as a photo has it."""
    image = Image.new("RGB", (900, 900))
    image.paste(CELL.resize((500, 500)), (200, 200))
    return image


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_is_accepted_if_only_background_is_missing_at_its_end(mode):
    data = encode(framed().convert(mode), "JPEG", quality=95)
    whole = decode(data, SMALL)
    for cut in (data[:-2], data[:-1], data[:-200], data[:-200] + bytes(5000)):
        picture = decode(cut, SMALL)
        assert codes(picture) == ["truncated"]
        assert np.abs(picture.astype(int) - whole).max() <= 2
    for share in (0.5, 0.8):
        with pytest.raises(Unusable, match="truncated"):
            decode(data[: int(len(data) * share)], SMALL)


def test_a_truncated_progressive_jpeg_is_accepted_if_its_detail_is_complete():
    data = encode(framed(), "JPEG", quality=95, progressive=True)
    whole = decode(data, SMALL)
    picture = decode(data[: int(len(data) * 0.97)], SMALL)
    assert codes(picture) == ["truncated"]
    assert np.abs(picture.astype(int) - whole).mean() < 2
    with pytest.raises(Unusable, match="before its colours or its detail"):
        decode(data[: len(data) // 3], SMALL)


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"subsampling": 0}])
def test_a_truncated_jpeg_is_detected_even_if_it_has_an_end_marker(options):
    whole = encode(CELL.resize((400, 400)), "JPEG", quality=90, **options)
    for share in (0.3, 0.5, 0.7):
        with pytest.raises(Unusable, match="truncated"):
            decode(whole[: int(share * len(whole))] + b"\xff\xd9", SIZE)
    picture = decode(whole[: int(0.999 * len(whole))] + b"\xff\xd9", SIZE)
    assert codes(picture) == ["truncated"]
    assert np.abs(picture.astype(int) - decode(whole, SIZE)).max() < 16


def test_a_complete_jpeg_may_end_in_the_grey_of_missing_blocks():
    image = Image.new("RGB", (200, 400), (128, 128, 128))
    image.paste(CELL.resize((200, 150)))
    for options in ({}, {"restart_marker_rows": 1}, {"progressive": True}):
        assert codes(decode(encode(image, "JPEG", **options), SIZE)) == []


def test_a_png_whose_checksum_is_wrong_is_refused():
    data = bytearray(encode(CELL))
    data[len(data) // 2] ^= 1
    with pytest.raises(Unusable, match="the checksum of its IDAT"):
        decode(bytes(data), SIZE)


def test_a_damaged_image_is_distinguished_from_an_unsupported_kind():
    head = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 32, 3, 1024, 0, 0, 0, 0)
    masks = struct.pack("<III", 0x3FF00000, 0xFFC00, 0x3FF)
    data = b"BM" + struct.pack("<IHHI", 66 + 1024, 0, 0, 66) + head + masks + bytes(1024)
    with pytest.raises(Unusable, match=r"^Unsupported BMP bitfields layout: save the BMP image as PNG"):
        decode(data, SIZE)
    with pytest.raises(Unusable, match="JPEG-LS"):
        decode(b"\xff\xd8\xff\xf7\0\x0b\x08\0\x10\0\x10\1\1\x11\0\xff\xda\0\x08\1\1\0\0\0\0\xff\xd9", SIZE)


@pytest.mark.parametrize("bits", [8, 16])
def test_premultiplied_colours_are_not_blended_again(bits):
    colours = COLOURS.astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
    for alpha in (0, 2**bits - 1):
        samples = np.dstack([colours, np.full(SIZE, alpha, colours.dtype)])
        assert differ(tiffs.page(samples, 2, extra=(1,)), COLOURS) == 0


def test_an_answer_has_warnings_only_if_there_are_any(load):
    client = load("malaria")
    sent = [
        {"b64": base64.b64encode(data).decode()} for data in (INFECTED.read_bytes(), png16(deep(COLOURS, 12)))
    ]
    plain, warned = client.post("/classify", json={"instances": sent}).get_json()["predictions"]
    assert "warnings" not in plain
    assert [each["code"] for each in warned["warnings"]] == ["assumed_depth"]
    assert warned["probabilities"] == plain["probabilities"]


# Names


def test_heic_is_refused_with_advice():
    data = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + bytes(100)
    with pytest.raises(UnsupportedType, match=r"this is HEIC.*send it as JPEG.*pillow-heif"):
        decode(data, SMALL)


@pytest.mark.parametrize(
    "data",
    [
        b"not an image",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.7",
        bytes(5000),
        b"%!PS-Adobe-3.0 EPSF-3.0",
    ],
)
def test_what_is_not_an_image_is_refused_with_the_supported_formats(data):
    with pytest.raises(UnsupportedType, match="expected a PNG, JPEG, WEBP, BMP, GIF, TIFF, AVIF or JPEG2000"):
        decode(data, SMALL)


@pytest.mark.parametrize(("marker", "words"), [(0xC3, "lossless"), (0xC9, "arithmetic"), (0xC5, "hierarch")])
def test_rare_kinds_of_jpeg_are_named(marker, words):
    data = encode(CELL, "JPEG").replace(b"\xff\xc0", bytes([0xFF, marker]), 1)
    with pytest.raises(Unusable, match=words):
        decode(data, SMALL)


def test_a_cmyk_jpeg_is_accepted_if_it_declares_its_inversion():
    data = encode(CELL.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode(data, SIZE).astype(int) - COLOURS).mean() < 2
    with pytest.raises(Unusable, match="whether it is inverted"):
        decode(data.replace(b"Adobe", b"Eboda", 1), SIZE)


# Work


MEASURE = """
import json, sys, time
from pathlib import Path
from shared.errors import ServiceError
from shared.runtimes.pixels import decode

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000

decode(Path("models/malaria/examples/normal.png").read_bytes(), (100, 100))
for path in sorted(Path(sys.argv[1]).iterdir()):
    data = path.read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    memory, cpu = peak(), time.process_time()
    try:
        decode(data, (100, 100))
        code = ""
    except ServiceError as error:
        code = error.code
    print(json.dumps([path.name, time.process_time() - cpu, peak() - memory, code]))
"""
"""Decodes every file of a folder: its name, seconds of CPU, MB of memory, and the code of the refusal."""


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """What it costs to decode each hostile file, and a normal photo of 12 megapixels."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak of memory is read from /proc")
    folder = tmp_path_factory.mktemp("bombs")
    for name, make in BOMBS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of the hostile EXIF that it writes
            (folder / name).write_bytes(make())
    rng = np.random.default_rng(0)
    photo = np.asarray(CELL.resize((4000, 3000))) + rng.integers(0, 6, (3000, 4000, 1), np.uint8)
    (folder / "photo").write_bytes(encode(Image.fromarray(photo), "PNG", compress_level=1))
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", MEASURE, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == "", "nothing is written to the log"
    return {name: (cpu, memory, code) for name, cpu, memory, code in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("name", BOMBS)
def test_no_hostile_file_costs_much_more_than_a_photo(costs, name):
    cpu, memory, _ = costs[name]
    photo_cpu, photo_memory, code = costs["photo"]
    assert code == ""
    assert cpu < 3 * photo_cpu
    assert memory < 3 * photo_memory


def test_too_much_work_is_refused_with_the_number():
    for name, words in (
        ("jpeg_of_a_last_scan_4000_times", r"at most 60 million steps .* takes about 1,5\d\d million"),
        ("tiff_of_one_huge_tile", r"at most 200 MB of memory .* takes 1,073 MB"),
        ("tiff_of_a_million_strips", r"at most 10,000 strips.* 1,200,000"),
        ("png_of_many_chunks", "at most 10,000 chunks"),
    ):
        with pytest.raises(TooMuchWork, match=words) as refusal:
            decode(BOMBS[name](), SMALL)
        assert (refusal.value.status, refusal.value.code) == (413, "too_much_work")


def test_the_images_of_one_request_share_a_budget(load):
    client = load("malaria")
    sent = [{"b64": base64.b64encode(data).decode()} for data in (*bombs.batch(), INFECTED.read_bytes())]
    answers = client.post("/classify", json={"instances": sent[-32:]}).get_json()["predictions"]
    assert [answer.get("code") for answer in answers[:4]] == ["uniform_image"] * 3 + ["too_much_work"]
    assert "send it in another request" in answers[4]["message"]
    assert answers[-1]["classification"] == "Infected"


def test_each_request_has_a_budget_of_its_own():
    data = next(bombs.batch())
    with budget.one_request():
        for _ in range(3):
            with pytest.raises(UniformImage):
                decode(data, SMALL)
        with pytest.raises(TooMuchWork):
            decode(data, SMALL)
    with budget.one_request(), pytest.raises(UniformImage):
        decode(data, SMALL)
