"""Measure the served malaria model on labelled cells, through the classifier that the function uses.

    python -m models.malaria.evaluate [DATA] [--plots DIR]

DATA is a folder or zip archive with `Parasitized` and `Uninfected` images. Prints one JSON object. On cells
that the model was trained on, the figures are too good; `train` gives those of cells that it has not seen.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from functions.malaria.classifier import Classifier
from models import report
from models.malaria import data
from shared.pin import Pin
from shared.runtimes import images
from shared.settings import Settings
from shared.store import fetch

ROOT = Path(__file__).parents[2]
PIN = ROOT / "functions" / "malaria" / "model.json"


def main() -> None:
    """Print the figures of the pinned model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", default=data.SOURCE)
    parser.add_argument("--plots", type=Path, help="a folder for roc.png, confusion.png and reliability.png")
    arguments = parser.parse_args()

    pin = Pin.read(PIN)
    classifier = Classifier.load(fetch.fetch(pin, Settings.read()), pin)
    answers = Answers.of(classifier, data.files(arguments.data))
    threshold = pin.decision_threshold
    figures = {
        "model": pin.version,
        "data": arguments.data.name,
        "threshold": threshold,
        **answers.figures(threshold),
    }
    print(json.dumps(report.rounded(figures), indent=1))
    if arguments.plots:
        report.plots(answers.probability, answers.infected, pin.labels, arguments.plots, threshold)


@dataclass(frozen=True)
class Answers:
    """The predictions for labelled cells; each field has shape (n,).

    Attributes:
        probability: that of the second label.
        infected: the true label, 0 or 1.
        patients: the patient of each cell.
        warned: the codes of the warnings, with a space before and after each.
    """

    probability: NDArray[np.float64]
    infected: NDArray[np.int64]
    patients: NDArray[np.str_]
    warned: NDArray[np.str_]

    @classmethod
    def of(cls, classifier: images.Classifier, entries: Sequence[tuple[str, int, bytes]]) -> "Answers":
        """Classify all entries of `data.files`."""
        predictions = [
            classifier.predict([classifier.decode(image)])[0]
            for _, _, image in tqdm(entries, desc="predicting", unit="cell")
        ]
        probability = [each.probabilities[1] for each in predictions]
        warned = [" ".join(["", *(each.code for each in one.warnings), ""]) for one in predictions]
        infected = [infected for _, infected, _ in entries]
        patients = [data.patient(name) for name, _, _ in entries]
        return cls(np.array(probability), np.array(infected), np.array(patients), np.array(warned))

    @classmethod
    def joined(cls, parts: "Sequence[Answers]") -> "Answers":
        """The cells of all parts, one after the other."""
        names = ("probability", "infected", "patients", "warned")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def figures(self, threshold: float = 0.5) -> dict[str, Any]:
        """The counts, the figures, and their 95 % intervals from a bootstrap over patients."""
        return {
            "cells": len(self.infected),
            "infected": int(self.infected.sum()),
            "patients": len(np.unique(self.patients)),
            **report.metrics(self.probability, self.infected, threshold),
            **self._warnings(threshold),
            "intervals_95": report.intervals(self.probability, self.infected, self.patients, threshold),
        }

    def _warnings(self, threshold: float) -> dict[str, Any]:
        """The share of cells with each warning, and the accuracy of the cells that are not `undecided`."""
        codes = sorted({code for codes in self.warned for code in codes.split()})
        if not codes:
            return {}
        right = (self.probability >= threshold) == self.infected
        decided = np.char.find(self.warned, " undecided ") < 0
        return {
            "warned": {code: float(np.mean(np.char.find(self.warned, f" {code} ") >= 0)) for code in codes},
            "accuracy_if_decided": float(np.mean(right[decided])),
        }


def folded(folds: Sequence[Answers]) -> dict[str, Any]:
    """The figures of a cross-validation: the mean and standard deviation of the folds, all cells pooled."""
    each = [report.metrics(fold.probability, fold.infected) for fold in folds]
    return {
        "mean": report.mean(each),
        "standard_deviation": {name: float(np.std([one[name] for one in each], ddof=1)) for name in each[0]},
        "pooled": Answers.joined(folds).figures(),
        "folds": each,
    }


if __name__ == "__main__":
    main()
