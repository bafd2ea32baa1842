"""Train the malaria network on all patients, calibrate it by cross-validation, and export it for serving.

    python -m models.malaria.train [--data cell_images.zip] [--out build/malaria]

First, five networks are fitted, each without the patients of one fold. What they give for the cells of these
patients calibrates the network that is fitted to all patients. An interrupted run resumes after its last
complete epoch. The results, in `--out`, are `malaria.keras`, `malaria.tflite`, `malaria-float.tflite`,
`cross_validation.json` (with the patients of each fold), plots of the cross-validation, and `0/training.png`.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from functions.malaria.classifier import Classifier
from models import report
from models.malaria import data, evaluate, limits, network
from models.malaria.evaluate import Answers
from models.malaria.fitting import Fitted, measured
from shared.pin import Pin


def main() -> None:
    """Train, or resume an interrupted training, measure, and export."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", type=Path, default=data.SOURCE, help="NLM's cell_images.zip, or a folder of its layout"
    )
    parser.add_argument("--out", type=Path, default=Path("build/malaria"), help="where the results go")
    parser.add_argument(
        "--epochs", type=int, default=12, help="of each network; the learning rate is planned for them"
    )
    arguments = parser.parse_args()
    entries, out = data.files(arguments.data), arguments.out
    cells = data.decoded(entries)
    folds = data.folds(cells)
    fitted, held = [], []
    for fold, patients in enumerate(folds):
        others, own = cells.without(patients), cells.of(patients)
        fitted.append(Fitted.to(others, own, arguments.epochs, out / str(fold)))
        held.append(limits.Held.of(fitted[-1].train, measured(fitted[-1].viewed, own)))
    answers = cross_validated(entries, folds, fitted, held)
    report.write_json(
        out / "cross_validation.json",
        report.rounded({"epochs": arguments.epochs, **evaluate.folded(answers), "patients": folds}),
    )
    pooled = Answers.joined(answers)
    report.plots(pooled.probability, pooled.infected, Pin.read(evaluate.PIN).labels, out)

    whole = Fitted.to(cells, cells.of([]), arguments.epochs, out / "all")
    served = calibrated(whole, limits.Held.joined(held))
    served.save(out / "malaria.keras")
    (out / "malaria.tflite").write_bytes(convert(served))
    (out / "malaria-float.tflite").write_bytes(convert(served, quantise=False))
    print(f"wrote {out / 'malaria.tflite'}")


def cross_validated(
    entries: Sequence[tuple[str, int, bytes]],
    folds: Sequence[Sequence[str]],
    fitted: Sequence[Fitted],
    held: Sequence[limits.Held],
) -> list[Answers]:
    """What each fold's network answers for the cells of that fold, served as in the function.

    It is calibrated on the other folds, and answers from the 8-bit file through the function's own code.
    """
    pin = replace(Pin.read(evaluate.PIN), format="tflite")
    answers = []
    for fold, patients in enumerate(folds):
        others = limits.Held.joined([part for number, part in enumerate(held) if number != fold])
        classifier = Classifier.load(convert(calibrated(fitted[fold], others)), pin)
        own = [entry for entry in entries if data.patient(entry[0]) in patients]
        answers.append(Answers.of(classifier, own))
    return answers


def calibrated(fitted: Fitted, held: limits.Held) -> keras.Model:
    """Calibrate a network, with its limits, on held-out cells; return the network to serve."""
    divisor = temperature(held.logits, held.infected)
    known = limits.limits(fitted.train, held, divisor)
    print(
        f"temperature {divisor:.3f}, undecided within {known.undecided:.2f} log-odds, unfamiliar beyond "
        f"{known.unfamiliar:.1f} or {known.stained:.1f} by colour, no cell beyond {known.alien:.1f}"
    )
    return network.served(fitted.viewed, divisor, known)


def temperature(logits: NDArray[np.float64], infected: NDArray[np.int64]) -> float:
    """The temperature that gives these labels the highest likelihood (Guo et al. 2017)."""
    signed = np.where(infected == 1, logits, -logits)
    candidates = np.geomspace(0.2, 5.0, 2001)
    return float(min(candidates, key=lambda value: np.logaddexp(0.0, -signed / value).mean()))


def convert(network: keras.Model, quantise: bool = True) -> bytes:
    """Convert the network to a LiteRT file for one image, with 8-bit weights if `quantise`.

    Activations stay in float32 between the layers (dynamic-range quantisation).
    """
    call = tf.function(lambda image: network(image, training=False))
    graph = call.get_concrete_function(tf.TensorSpec((1, *data.SIZE, 3), tf.float32, name="image"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(graph)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if quantise else []
    return bytes(converter.convert())


if __name__ == "__main__":
    main()
