"""The committed malaria model: its files are one network, and no patient is in two folds."""

import json
from dataclasses import replace

import cells
import numpy as np
import pytest
from classifiers import SETTINGS, load
from conftest import ROOT

from functions.malaria.classifier import Classifier
from models.malaria import data as dataset
from shared.pin import Pin
from shared.store import fetch

PIN = Pin.read(ROOT / "functions" / "malaria" / "model.json")
FIGURES = json.loads((ROOT / "models" / "malaria" / "cross_validation.json").read_text())


@pytest.fixture(scope="module")
def litert():
    return Classifier.load(fetch.fetch(PIN, SETTINGS), PIN)


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("keras")
    content = (ROOT / "models" / "malaria" / "malaria.keras").read_bytes()
    return Classifier.load(content, replace(PIN, format="keras"))


def agree(one, other, images, probability=1e-4, attention=1e-2):
    for left, right in zip(one.predict(images), other.predict(images), strict=True):
        np.testing.assert_allclose(left.probabilities, right.probabilities, atol=probability)
        np.testing.assert_allclose(left.map, right.map, atol=attention)


EIGHT_BITS = {"probability": 0.02, "attention": 1.0}
"""How far weights of 8 bits may move a probability, and a point of the map in log-odds."""


def test_both_files_agree_on_random_and_on_drawn_images(litert, keras):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (32, 100, 100, 3), np.uint8)
    drawn = [litert.decode(cells.encode(cells.draw(seed % 2 == 0, seed))) for seed in range(16)]
    agree(litert, keras, [*noise, *drawn], **EIGHT_BITS)
    twin = load(Classifier, ROOT / "models" / "malaria" / "malaria-float.tflite", PIN.labels)
    agree(twin, keras, [*noise, *drawn])


def test_both_files_agree_on_real_images(litert, keras, data):
    entries = dataset.files(data / "cell_images.zip")
    images = [litert.decode(image) for _, _, image in entries[::200]]
    agree(litert, keras, images, **EIGHT_BITS)
    labels = [[each.probabilities[1] >= 0.5 for each in one.predict(images)] for one in (litert, keras)]
    assert labels[0] == labels[1]
    codes = [
        [[each.code for each in said.warnings] for said in one.predict(images)] for one in (litert, keras)
    ]
    assert codes[0] == codes[1]


def test_a_flipped_cell_gets_the_same_answer(litert):
    for seed in range(4):
        image = litert.decode(cells.encode(cells.draw(seed % 2 == 0, seed)))
        upright, turned = litert.predict([image, image[::-1, ::-1]])
        assert upright.probabilities[1] == pytest.approx(turned.probabilities[1], abs=1e-3)
        np.testing.assert_allclose(upright.map, turned.map[::-1, ::-1], atol=1e-2)


def test_normalisation_reduces_the_difference_between_stains():
    keras = pytest.importorskip("keras")
    from models.malaria import network

    image = keras.Input((100, 100, 3))
    even = keras.Model(image, network.normalised(image))
    cell = np.zeros((1, 100, 100, 3), np.float32)
    cell[:, 5:95, 5:95] = (0.6, 0.4, 0.5)
    plain, dimmed = (np.asarray(even(cell * share)) for share in (1.0, 0.64))
    np.testing.assert_allclose(dimmed, plain * 0.64 ** (1 - network.EXPONENT), rtol=1e-4)
    assert plain[0, 0, 0].max() == 0
    assert np.asarray(even(cell * 0)).max() == 0
    assert np.asarray(even(np.ones_like(cell))).max() <= 1


def test_the_limits_reject_the_stated_share_of_cells():
    pytest.importorskip("keras")
    from models.malaria import limits

    rng = np.random.default_rng(0)
    infected = rng.integers(0, 2, 4000)
    logits = rng.normal(np.where(infected == 1, 1.5, -1.5), 1)
    points = rng.normal(infected[:, None] * 3.0, (1.0, 2.0, 0.5), (4000, 3))
    some = limits.Measured(logits, points, points, infected)
    found = limits.limits(some, limits.Held.of(some, some), 1.0)
    far = limits.distances(points, found.features)
    assert np.mean(far > found.unfamiliar) == pytest.approx(1 - limits.UNFAMILIAR, abs=1e-3)
    assert np.mean(far > found.alien) == pytest.approx(1 - limits.ALIEN, abs=1e-3)
    assert np.median(far) == pytest.approx(1.54, abs=0.1)  # of a chi distribution of three dimensions
    right = (logits > 0) == (infected == 1)
    kept = np.where(infected == 1, -logits, logits) <= found.undecided
    assert np.mean(kept) == pytest.approx(limits.COVERAGE, abs=1e-3)
    assert np.mean(right[np.abs(logits) > found.undecided]) > 0.97
    assert limits.undecided(np.array([5.0, -5.0] * 50), np.array([1, 0] * 50)) == 0


def test_the_mean_of_the_attention_is_the_logit(litert):
    for seed in range(4):
        [prediction] = litert.predict([litert.decode(cells.encode(cells.draw(seed % 2 == 0, seed)))])
        probability = prediction.probabilities[1]
        logit = np.log(probability / (1 - probability))
        assert prediction.map.mean() == pytest.approx(logit, abs=1e-3)


def test_the_attention_is_highest_on_the_drawn_parasite(litert):
    image = cells.draw(False, 3)
    cells.draw_ring(image, 40, 65)
    [prediction] = litert.predict([litert.decode(cells.encode(image))])
    rows, columns = prediction.map.shape
    row, column = np.unravel_index(prediction.map.argmax(), prediction.map.shape)
    assert abs((column + 0.5) / columns - 40 / 130) < 0.15
    assert abs((row + 0.5) / rows - 65 / 130) < 0.15


def test_the_committed_folds_are_what_the_data_gives(data):
    entries = dataset.files(data / "cell_images.zip")
    bare = dataset.Cells(
        np.zeros((len(entries), 1), np.uint8),
        np.array([infected for _, infected, _ in entries]),
        np.array([dataset.patient(name) for name, _, _ in entries]),
    )
    folds = dataset.folds(bare)
    assert folds == FIGURES["patients"]
    everybody = [name for fold in folds for name in fold]
    assert sorted(everybody) == sorted(np.unique(bare.patients))
    own, others = bare.of(folds[0]), bare.without(folds[0])
    assert not set(own.patients) & set(others.patients)
    assert len(own.infected) + len(others.infected) == len(entries)


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("C100P61ThinF_IMG_20150918_144104_cell_162.png", "C100P61"),
        ("C47P8thin_IMG_20150721_163430_cell_1.png", "C47P8"),
        ("C47P8thinOriginalOlympusCX21_IMG_20150721_163430_cell_1.png", "C47P8"),
        ("C5NThinF_IMG_20150609_121955_cell_1.png", "C5N"),
        ("C241NThinF_IMG_20151207_124115_cell_1.png", "C241N"),
    ],
)
def test_the_patient_is_read_from_the_file_name(name, patient):
    assert dataset.patient(name) == patient


def test_a_folder_and_an_archive_of_the_layout_give_the_same_entries(tmp_path):
    import shutil

    for folder, infected in (("Parasitized", True), ("Uninfected", False)):
        place = tmp_path / "cells" / "cell_images" / folder
        place.mkdir(parents=True)
        (place / "Thumbs.db").write_bytes(b"no image")
        for seed in range(3):
            cells.draw(infected, seed).save(place / f"C{seed}P{seed}ThinF_IMG_1_cell_{seed}.png")
    archive = shutil.make_archive(str(tmp_path / "cells"), "zip", tmp_path / "cells")
    from pathlib import Path

    entries = dataset.files(tmp_path / "cells")
    assert entries == dataset.files(Path(archive))
    assert [infected for _, infected, _ in entries] == [1, 1, 1, 0, 0, 0]
    read = dataset.decoded(entries)
    assert read.pixels.shape == (6, 100, 100, 3)
    assert list(read.patients) == ["C0P0", "C1P1", "C2P2"] * 2


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(SystemExit, match="expected images in folders named Uninfected and Parasitized"):
        dataset.files(tmp_path)
    with pytest.raises(SystemExit, match=r"download cell_images\.zip"):
        dataset.files(tmp_path / "nowhere")


def test_the_mean_of_figures_is_taken_number_by_number():
    from models import report

    one = {"cells": 10, "accuracy": 0.5, "intervals": {"accuracy": (0.4, 0.7)}, "method": "dealt"}
    other = {"cells": 10, "accuracy": 0.75, "intervals": {"accuracy": (0.5, 0.8)}, "method": "dealt"}
    mean = {"cells": 10, "accuracy": 0.625, "intervals": {"accuracy": [0.45, 0.75]}, "method": "dealt"}
    assert report.mean([one, other]) == mean


def test_the_pinned_file_is_as_good_on_its_own_patients_as_the_folds_were_on_others(
    data, capsys, monkeypatch
):
    from models.malaria import evaluate

    some = dataset.files(data / "cell_images.zip")[::10]
    monkeypatch.setattr(dataset, "files", lambda _: some)
    monkeypatch.setattr("sys.argv", ["evaluate", str(data / "cell_images.zip")])
    evaluate.main()
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["cells"]) == (PIN.version, len(some))
    low, _ = FIGURES["pooled"]["intervals_95"]["auroc"]
    assert found["auroc"] > low
    assert found["accuracy"] > FIGURES["pooled"]["accuracy"] - 0.01
    assert sum(found["warned"].get(code, 0) for code in ("not_a_cell", "several_cells", "unfamiliar")) < 0.02


@pytest.fixture(scope="module")
def drawn_patients(tmp_path_factory):
    """A folder of 24 patients of six drawn cells each, in the layout of the archive."""
    folder = tmp_path_factory.mktemp("cells")
    for patient in range(24):
        for name, infected in (("Parasitized", True), ("Uninfected", False)):
            place = folder / name
            place.mkdir(parents=True, exist_ok=True)
            for cell in range(3):
                image = cells.draw(infected, 10 * patient + cell)
                image.save(place / f"C{patient}P{patient}ThinF_IMG_1_cell_{cell}.png")
    return folder


def test_training_resumes_measures_unseen_patients_and_exports_what_the_function_loads(
    tmp_path, monkeypatch, drawn_patients
):
    pytest.importorskip("keras")
    from models import report
    from models.malaria import train

    out = tmp_path / "out"
    monkeypatch.setattr(dataset, "FOLDS", 2)
    monkeypatch.setattr(
        "sys.argv", ["train", "--data", str(drawn_patients), "--out", str(out), "--epochs", "2"]
    )
    write = report.write_json

    def stop_in_the_second_epoch(path, content):
        write(path, content)
        if path.name == "history.json" and len(content) == 2:
            raise KeyboardInterrupt  # after the history is written, before the checkpoint is

    with monkeypatch.context() as patch:
        patch.setattr(report, "write_json", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            train.main()
    first, _ = json.loads((out / "0" / "history.json").read_text())
    train.main()
    history = json.loads((out / "0" / "history.json").read_text())
    assert history[0] == first
    assert len(history) == 2
    assert (out / "0" / "training.png").stat().st_size > 1000

    again = load(Classifier, out / "malaria.keras", PIN.labels)
    drawn = [again.decode(cells.encode(cells.draw(True, 1)))]
    agree(load(Classifier, out / "malaria-float.tflite", PIN.labels), again, drawn)
    agree(load(Classifier, out / "malaria.tflite", PIN.labels), again, drawn, **EIGHT_BITS)

    found = json.loads((out / "cross_validation.json").read_text())
    one, other = map(set, found["patients"])
    assert not one & other
    assert (found["pooled"]["patients"], found["pooled"]["cells"]) == (len(one | other), 144) == (24, 144)
    parts = [fold["accuracy"] for fold in found["folds"]]
    assert found["mean"]["accuracy"] == pytest.approx(sum(parts) / 2, abs=1e-4)
    assert found["pooled"]["accuracy"] == pytest.approx(sum(parts) / 2, abs=1e-4)
