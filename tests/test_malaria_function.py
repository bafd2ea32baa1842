"""Images of every kind that people send, through the function."""

import io
import struct
import subprocess
import sys
import threading
import zlib

import cells
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from functions.malaria import classifier

INFECTED = ROOT / "models" / "malaria" / "examples" / "infected.png"
NORMAL = ROOT / "models" / "malaria" / "examples" / "normal.png"


@pytest.fixture
def client(load):
    return load("malaria")


def post(client, data):
    return client.post("/classify", data={"malaria_cell_image": (io.BytesIO(data), "cell")})


def probability(response):
    assert response.status_code == 200, response.text
    return response.get_json()["probabilities"]["Infected"]


def converted(mode, kind="PNG", **options):
    image = Image.open(INFECTED)
    if mode == "I;16":
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        return cells.encode(Image.fromarray(grey), kind, **options)
    return cells.encode(image.convert(mode), kind, **options)


def bomb(width, height):
    """A valid PNG header of these dimensions over a few kilobytes of zeros."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_both_drawn_examples_get_their_label(client):
    for path, label in ((INFECTED, "Infected"), (NORMAL, "Normal")):
        assert post(client, path.read_bytes()).get_json()["classification"] == label


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_gives_about_the_same_answer(client, kind):
    expected = probability(post(client, INFECTED.read_bytes()))
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    assert probability(post(client, converted("RGB", kind, **options))) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "1", "I;16"])
def test_every_pixel_mode_of_a_png_is_accepted(client, mode):
    assert 0 <= probability(post(client, converted(mode))) <= 1


def test_a_cmyk_jpeg_is_accepted(client):
    expected = probability(post(client, INFECTED.read_bytes()))
    found = probability(post(client, converted("CMYK", "JPEG", quality=95)))
    assert found == pytest.approx(expected, abs=0.1)


def test_sixteen_bits_are_scaled_not_clipped():
    wide = classifier.decode(converted("I;16"), (100, 100))
    narrow = classifier.decode(converted("L"), (100, 100))
    assert np.abs(wide.astype(int) - narrow).max() <= 1


def test_transparency_becomes_the_black_of_a_segmented_background():
    image = Image.new("RGBA", (50, 50), (255, 255, 255, 0))
    assert classifier.decode(cells.encode(image), (100, 100)).max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_rotated_photo_is_turned_upright(orientation):
    upright = Image.new("RGB", (60, 40), "red")
    upright.paste("blue", (0, 0, 60, 20))
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
    pixels = classifier.decode(cells.encode(stored, "PNG", exif=exif.tobytes()), (40, 60))
    assert (pixels[5:15, :, 2] > 200).all()
    assert (pixels[25:35, :, 0] > 200).all()


def refused(response, status, words):
    assert response.status_code == status, response.text
    assert words in response.get_json()["detail"]


def test_an_empty_file_is_refused(client):
    refused(post(client, b""), 422, "the file is empty")


@pytest.mark.parametrize(
    "data",
    [
        b"not an image",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.7",
        b"\x00" * 5000,
        b"%!PS-Adobe-3.0 EPSF-3.0",
    ],
)
def test_what_is_no_image_is_refused_with_the_formats_we_read(client, data):
    refused(post(client, data), 415, "expected a PNG, JPEG, WEBP, BMP, GIF or TIFF image")


def test_a_truncated_image_is_refused_wherever_it_was_cut(client):
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
        data = converted("RGB", kind)
        for share in (0.5, 0.9):
            response = post(client, data[: int(len(data) * share)])
            assert response.status_code in (415, 422), (kind, share, response.text)


def test_a_decompression_bomb_is_refused(client):
    data = bomb(50_000, 50_000)
    assert len(data) < 10_000
    refused(post(client, data), 413, "this image has 50000 x 50000")


def test_a_decompression_bomb_takes_no_memory(tmp_path):
    (tmp_path / "bomb.png").write_bytes(bomb(50_000, 50_000))
    script = f"""
import resource
from pathlib import Path
from functions.malaria.classifier import decode
from shared.errors import TooLarge

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

decode(Path("models/malaria/examples/normal.png").read_bytes(), (100, 100))
before = peak()
try:
    decode(Path({str(tmp_path / "bomb.png")!r}).read_bytes(), (100, 100))
except TooLarge:
    print(peak() - before)
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    kilobytes = int(run.stdout)
    assert kilobytes < 5_000


def test_an_animation_is_refused(client):
    frames = [cells.draw(True, seed) for seed in (1, 2, 3)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = cells.encode(frames[0], kind, save_all=True, append_images=frames[1:])
        refused(post(client, data), 415, "expected one still image")


def test_a_single_pixel_is_refused(client):
    refused(post(client, cells.encode(Image.new("RGB", (1, 1)))), 422, "expected at least 8 x 8 pixels")


def test_a_large_photo_is_shrunk_and_accepted(client):
    data = cells.encode(cells.draw(True, 3).resize((4000, 3000)), "JPEG")
    assert post(client, data).status_code == 200


def test_a_batch_answers_each_image_in_its_place_and_the_bad_ones_too(client):
    contents = [INFECTED.read_bytes(), b"<svg/>", NORMAL.read_bytes(), INFECTED.read_bytes()[:500], b""]
    files = {"image": [(io.BytesIO(data), f"{index}.png") for index, data in enumerate(contents)]}
    answer = client.post("/classify", data=files).get_json()
    assert [one.get("classification") for one in answer["predictions"]] == [
        "Infected",
        None,
        "Normal",
        None,
        None,
    ]
    assert [one.get("code") for one in answer["predictions"]] == [
        None,
        "unsupported_type",
        None,
        "unusable_input",
        "unusable_input",
    ]
    alone = post(client, INFECTED.read_bytes()).get_json()
    assert answer["predictions"][0]["probabilities"] == alone["probabilities"]


def test_eight_threads_get_each_the_answer_to_their_own_image(load):
    client = load("malaria")
    images = [cells.encode(cells.draw(seed % 2 == 0, seed)) for seed in range(8)]
    expected = [probability(post(client, image)) for image in images]
    assert len(set(expected)) == len(expected)
    wrong = []
    together = threading.Barrier(len(images))

    def ask(index):
        own = client.application.test_client()
        together.wait()
        for _ in range(25):
            got = probability(post(own, images[index]))
            if got != expected[index]:
                wrong.append((index, got))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_model_is_built_once_by_threads_that_arrive_together(load, monkeypatch):
    client = load("malaria")
    import main

    built = []
    original = main.Classifier.load

    def load_once(path, pin):
        built.append(path)
        return original(path, pin)

    monkeypatch.setattr(main.Classifier, "load", load_once)
    together = threading.Barrier(12)
    answers = []

    def ask():
        own = client.application.test_client()
        together.wait()
        answers.append(post(own, INFECTED.read_bytes()).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12
    assert len(built) == 1


def test_no_request_waits_for_a_lock_that_another_holds_while_it_decodes(load, monkeypatch):
    client = load("malaria")
    post(client, INFECTED.read_bytes())
    import main

    original = main.Classifier.decode
    together = threading.Barrier(4, timeout=30)

    def decode(self, data):
        together.wait()  # passes only when four requests decode at the same time
        return original(self, data)

    monkeypatch.setattr(main.Classifier, "decode", decode)
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(
                post(client.application.test_client(), INFECTED.read_bytes()).status_code
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 4


def test_frames_without_end_are_refused_without_being_counted(client, monkeypatch):
    frames = [Image.new("L", (8, 8), index % 256) for index in range(500)]
    stream = io.BytesIO()
    frames[0].save(stream, "TIFF", save_all=True, append_images=frames[1:])
    seeks = []
    original = TiffImageFile.seek
    monkeypatch.setattr(
        TiffImageFile, "seek", lambda self, frame: (seeks.append(frame), original(self, frame))
    )
    refused(post(client, stream.getvalue()), 415, "several frames")
    assert len(seeks) < 10
