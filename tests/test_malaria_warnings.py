"""The malaria function finds the cell in a picture, and warns if its answer is unreliable."""

import base64
import io
import json
import re

import cells
import numpy as np
import pytest
from classifiers import SETTINGS, answer
from conftest import ROOT
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from functions.malaria import cell, doubts, heatmap, photo
from functions.malaria.classifier import Classifier
from shared.pin import Pin
from shared.runtimes import images
from shared.runtimes.networks import Outputs
from shared.runtimes.pixels import WHOLE, Box
from shared.store import fetch

PIN = Pin.read(ROOT / "functions" / "malaria" / "model.json")
SLIDE = (230, 215, 220)


@pytest.fixture(scope="module")
def served():
    return Classifier.load(fetch.fetch(PIN, SETTINGS), PIN)


def codes(answer):
    return [warned["code"] for warned in answer.get("warnings", ())]


def on(colour, picture):
    """A drawn cell on a background of a colour instead of black."""
    shape = picture.convert("L").point(lambda level: 255 * (level > 12))
    return Image.composite(picture, Image.new("RGB", picture.size, colour), shape)


def beside(*pictures):
    whole = Image.new("RGB", (sum(each.width for each in pictures), max(each.height for each in pictures)))
    for index, each in enumerate(pictures):
        whole.paste(each, (index * each.width, 0))
    return whole


def field():
    rng = np.random.default_rng(0)
    whole = Image.new("RGB", (800, 600), SLIDE)
    for seed in range(30):
        one = cells.draw(seed % 9 == 0, seed).resize((90, 90))
        shape = one.convert("L").point(lambda level: 255 * (level > 12))
        whole.paste(one, (int(rng.integers(-30, 760)), int(rng.integers(-30, 560))), shape)
    return whole


def nine():
    one = cells.draw(False, 1)
    whole = Image.new("RGB", (500, 500))
    for place in range(9):
        whole.paste(one, (55 + 130 * (place % 3), 55 + 130 * (place // 3)))
    return whole


def face():
    whole = Image.new("RGB", (200, 200), (255, 224, 189))
    pen = ImageDraw.Draw(whole)
    pen.ellipse((50, 60, 75, 85), fill=0)
    pen.ellipse((125, 60, 150, 85), fill=0)
    pen.arc((50, 80, 150, 160), 20, 160, fill=0, width=6)
    return whole


def page():
    whole = Image.new("RGB", (300, 200), (255, 255, 255))
    pen = ImageDraw.Draw(whole)
    for line in range(12):
        pen.text((4, 16 * line), "The quick brown fox jumps over the lazy dog, twice.", fill=0)
    return whole


def noise(high, shape=(130, 130, 3)):
    return Image.fromarray(np.random.default_rng(0).integers(0, high, shape, np.uint8), "RGB")


def speck(side):
    whole = Image.new("RGB", (130, 130))
    whole.paste((214, 150, 150), (60, 60, 60 + side, 60 + side))
    return whole


@pytest.mark.parametrize("infected", [True, False])
def test_a_drawn_cell_gets_no_warning(served, infected):
    for seed in range(6):
        found = answer(served, cells.encode(cells.draw(infected, seed)))
        assert "warnings" not in found
        assert found["probabilities"]["Infected" if infected else "Normal"] > 0.9


@pytest.mark.parametrize(
    ("picture", "code"),
    [
        (noise(256), "not_a_cell"),
        (noise(14), "not_a_cell"),
        (speck(1), "not_a_cell"),
        (speck(5), "not_a_cell"),
        (speck(70), "not_a_cell"),
        (page(), "several_cells"),
        (field(), "several_cells"),
        (beside(cells.draw(True, 1), cells.draw(False, 2)), "several_cells"),
        (nine(), "several_cells"),
        (cells.draw(True, 3).crop((0, 0, 90, 130)), "several_cells"),
        (face(), "several_cells"),
        (cells.draw(True, 3).convert("L"), "unfamiliar"),
        (cells.draw(True, 3).resize((20, 20)), "unfamiliar"),
        (cells.draw(True, 3).resize((8, 8)), "unfamiliar"),
    ],
    ids=[
        "noise",
        "dark-noise",
        "pixel",
        "speck",
        "square",
        "page",
        "field",
        "two",
        "nine",
        "a part",
        "face",
        "grey",
        "small",
        "tiny",
    ],
)
def test_what_is_not_one_cell_in_colour_gets_a_warning(served, picture, code):
    found = answer(served, cells.encode(picture))
    assert code in codes(found)
    assert len(set(codes(found))) == len(codes(found))


def disc(colour, ground=0):
    whole = Image.new("RGB", (130, 130), ground)
    ImageDraw.Draw(whole).ellipse((4, 4, 125, 125), fill=colour)
    return whole


def round_face():
    whole = disc((225, 172, 150))
    pen = ImageDraw.Draw(whole)
    for left in (38, 78):
        pen.ellipse((left, 42, left + 14, 56), fill=(60, 30, 20))
    pen.arc((36, 50, 94, 102), 20, 160, fill=(120, 30, 40), width=6)
    return whole


def grainy(picture):
    """A picture with the grain of a photo, so that it does not have patches of one colour."""
    pixels = np.asarray(picture) + np.random.default_rng(0).normal(0, 2, (*picture.size[::-1], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def enlarged(picture, side, how):
    return picture.resize((side, side)).resize(picture.size, how)


def compressed(picture):
    return Image.open(io.BytesIO(cells.encode(picture, "JPEG", quality=5)))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (disc((214, 150, 150)), doubts.DRAWN),
        (disc((214, 150, 150), (255, 255, 255)), doubts.DRAWN),
        (round_face(), doubts.DRAWN),
        (enlarged(grainy(cells.draw(True, 3)), 12, Image.Resampling.NEAREST), doubts.DRAWN),
        (compressed(grainy(cells.draw(True, 3))), doubts.DRAWN),
        (grainy(disc((235, 160, 60))), doubts.UNFAMILIAR),
        (grainy(disc((200, 60, 60))), doubts.UNFAMILIAR),
        (grainy(disc((225, 225, 225))), doubts.UNFAMILIAR),
        (cells.draw(True, 3).filter(ImageFilter.GaussianBlur(4)), doubts.BLURRED),
        (enlarged(cells.draw(True, 3), 12, Image.Resampling.BICUBIC), doubts.BLURRED),
    ],
)
def test_what_is_not_a_sharp_photo_of_a_stained_cell_gets_a_warning(picture, message):
    assert photo.warn(np.asarray(picture.convert("RGB").resize((100, 100)))) == [message]


@pytest.mark.parametrize("offset", [(-45, 60), (160, 60), (60, -45), (60, 160)])
def test_a_cell_that_the_edge_cuts_off_beside_margins_gets_a_warning(offset):
    for background in (0, SLIDE):
        whole = Image.new("RGB", (240, 240), background)
        one = cells.draw(True, 3)
        whole.paste(one, offset, one.convert("L").point(lambda level: 255 * (level > 12)))
        assert cell.find(whole)[1] == [doubts.SEVERAL_CELLS]


@pytest.mark.parametrize("angle", range(0, 360, 45))
def test_a_cell_is_found_if_the_light_falls_from_side_to_side(angle):
    whole = Image.new("RGB", (220, 220), SLIDE)
    whole.paste(on(SLIDE, cells.draw(True, 3)), (60, 40))
    down, across = np.mgrid[-0.5:0.5:220j, -0.5:0.5:220j]
    light = 0.85 + 0.3 * (np.cos(np.radians(angle)) * across + np.sin(np.radians(angle)) * down)
    box, warned = cell.find(
        Image.fromarray((np.asarray(whole) * light[..., None].clip(0, 1)).astype(np.uint8))
    )
    assert not warned
    assert np.allclose(box, (60 / 220, 40 / 220, 190 / 220, 170 / 220), atol=0.05)


def test_a_black_picture_is_refused(served):
    from shared.errors import UniformImage

    with pytest.raises(UniformImage):
        served.decode(cells.encode(Image.new("RGB", (130, 130))))


@pytest.mark.parametrize("infected", [True, False])
def test_margins_of_any_kind_change_nothing(served, infected):
    picture = cells.draw(infected, 3)
    alone = answer(served, cells.encode(picture))
    one_sided = Image.new("RGB", (310, 200))
    one_sided.paste(picture, (180, 70))
    clear = picture.convert("RGBA")
    clear.putalpha(picture.convert("L").point(lambda level: 255 * (level > 12)))
    framed = [ImageOps.expand(picture, round(130 * share)) for share in (0.1, 0.5, 2.0, 4.0)]
    framed += [ImageOps.expand(on(colour, picture), 60, colour) for colour in (SLIDE, (255,) * 3, (128,) * 3)]
    framed += [one_sided, ImageOps.expand(clear, 60, (255, 255, 255, 0))]
    for each in framed:
        found = answer(served, cells.encode(each))
        assert found["label"] == alone["label"]
        assert found["probabilities"]["Infected"] == pytest.approx(
            alone["probabilities"]["Infected"], abs=0.02
        )
        assert "warnings" not in found


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 92}), ("BMP", {}), ("WEBP", {"lossless": 1})]
)
def test_a_small_cell_in_a_large_picture_is_found_in_every_format(served, kind, options):
    large = Image.new("RGB", (1000, 1000), SLIDE)
    large.paste(on(SLIDE, cells.draw(True, 3)), (100, 600))
    picture = served.decode(cells.encode(large, kind, **options))
    assert np.allclose(picture.box, (0.1, 0.6, 0.23, 0.73), atol=0.03)
    [found] = served.predict([picture])
    assert found.probabilities[1] > 0.9
    assert not found.warnings


def test_a_cell_without_margins_is_not_cropped():
    for seed in range(4):
        box = cells.draw(True, seed).getbbox()
        assert cell.find(cells.draw(True, seed).crop(box)) == (WHOLE, [])


def test_the_cost_of_looking_for_the_cell_is_bounded():
    assert cell._small(Image.new("RGB", (3500, 9)), (0, 0, 3500, 9)).shape == (3, 9, 63)
    assert max(cell._small(Image.new("RGB", (3499, 3501)), (0, 0, 3499, 3501)).shape) <= 64


FRAMES = {
    "white": (10, 10, 10, 10, 255),
    "wide white": (60, 60, 60, 60, 255),
    "hairline": (3, 3, 3, 3, 200),
    "left": (60, 0, 0, 0, 255),
    "bottom": (0, 0, 0, 45, 240),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("background", [0, SLIDE])
def test_a_frame_around_the_background_is_cropped(served, frame, background):
    left, top, right, bottom, level = frame
    if background == SLIDE:
        level -= 130
    for infected, seed in ((True, 0), (False, 1)):
        inner = on(SLIDE, cells.draw(infected, seed)) if background == SLIDE else cells.draw(infected, seed)
        size = inner.width + left + right, inner.height + top + bottom
        whole = Image.new("RGB", size, (level,) * 3)
        whole.paste(inner, (left, top))
        found = answer(served, cells.encode(whole))
        assert codes(found) == []
        assert found["probabilities"]["Infected" if infected else "Normal"] > 0.9


@pytest.mark.parametrize("kind", ["gradient", "solid", "text"])
def test_a_frame_alone_does_not_count_as_a_cell(served, kind):
    inner = (
        Image.linear_gradient("L").convert("RGB")
        if kind == "gradient"
        else Image.new("RGB", (90, 90), (90, 9, 9))
    )
    inner = page() if kind == "text" else inner
    for width in (4, 30):
        found = answer(served, cells.encode(ImageOps.expand(inner, width, (255, 255, 255))))
        assert {"not_a_cell", "several_cells"} & set(codes(found))


@pytest.mark.parametrize("step", [(1.0, 0.0), (0.0, 1.0), (0.92, 0.0)])
@pytest.mark.parametrize("infected", [True, False])
def test_two_cells_that_touch_are_several(served, infected, step):
    one, other = cells.draw(infected, 0), cells.draw(not infected, 1)
    one, other = (each.crop(each.getbbox()).resize((130, 130)) for each in (one, other))
    whole = Image.new("RGB", (130 + round(130 * step[0]), 130 + round(130 * step[1])))
    whole.paste(one)
    shape = other.convert("L").point(lambda level: 255 * (level > 12))
    whole.paste(other, (round(130 * step[0]), round(130 * step[1])), shape)
    assert "several_cells" in codes(answer(served, cells.encode(whole)))


def test_the_explanation_of_a_picture_with_margins_lies_on_the_cell(served):
    picture = Image.new("RGB", (400, 300))
    picture.paste(cells.draw(True, 3), (250, 20))
    found = answer(served, cells.encode(picture), explain=True)["explanation"]
    left, top, right, bottom = found["box"]
    assert (left, top, right, bottom) == pytest.approx((250 / 400, 20 / 300, 380 / 400, 150 / 300), abs=0.04)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["heatmap"].partition(",")[2]))))
    rows, columns = np.nonzero(drawn[..., 3])
    assert left * 100 - 1 <= columns.min() <= columns.max() <= right * 100
    assert top * 100 - 1 <= rows.min() <= rows.max() <= bottom * 100
    whole = answer(served, cells.encode(cells.draw(True, 3)), explain=True)["explanation"]
    assert "box" not in whole


def test_a_heatmap_in_a_box_of_less_than_a_pixel_is_drawn():
    box = Box(0.995, 0.0, 0.999, 0.004)
    assert heatmap.heatmap(np.full((13, 13), 40.0, np.float32), (100, 100), box).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, 0.9, 0.9), []),
        ((0.5, 0.9, 1.1), ["undecided"]),
        ((0.9, 1.1, 0.2), ["unfamiliar"]),
        ((0.9, 1.1, 1.2), ["unfamiliar", "undecided"]),
        ((1.1, 1.3, 1.2), ["not_a_cell"]),
    ],
)
def test_the_doubts_of_the_network_become_warnings(values, expected):
    warned = doubts.warn(np.array(values, np.float32))
    assert [each.code for each in warned] == expected
    assert all(each.message and not each.message.endswith(".") for each in warned)


def test_an_answer_close_to_the_middle_is_undecided_and_one_far_from_it_is_not(served):
    ring, plain = (np.asarray(cells.draw(infected, 3), np.float32) for infected in (True, False))
    found = [
        answer(served, cells.encode(Image.fromarray((part * ring + (1 - part) * plain).astype(np.uint8))))
        for part in np.linspace(0, 1, 11)
    ]
    middle = min(found, key=lambda each: abs(each["probabilities"]["Infected"] - 0.5))
    assert codes(middle) == ["undecided"]
    assert codes(found[0]) == codes(found[-1]) == []


def test_few_cells_of_unseen_patients_get_a_warning_without_a_reason():
    figures = json.loads((ROOT / "models" / "malaria" / "cross_validation.json").read_text())["pooled"]
    warned = figures["warned"]
    assert sum(part for code, part in warned.items() if code != "undecided") <= 0.01
    assert figures["accuracy_if_decided"] >= 0.975


class Doubtful:
    """A network with an output of doubts."""

    size, channels, range = (8, 8), 3, None

    def run(self, batch):
        count = len(batch)
        return Outputs(np.full((count, 1), 0.5, np.float32), None, np.ones((count, 1), np.float32))


def test_a_function_that_does_not_read_the_doubts_refuses_them():
    from shared.errors import ModelUnavailable

    with pytest.raises(ModelUnavailable, match="export it without"):
        images.Classifier(Doubtful(), PIN)


def test_the_drawn_examples_of_the_page_get_no_warning():
    page = (ROOT / "functions" / "malaria" / "page.html").read_text()
    drawn = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", page)
    assert drawn
    for each in drawn:
        picture = Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB")
        seen = picture.resize((100, 100), Image.Resampling.BILINEAR)
        assert photo.warn(np.asarray(seen)) == []
