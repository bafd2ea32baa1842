"""Five-fold cross-validation by patient: every cell is judged by a network that never saw its patient.

    python -m models.malaria.crossvalidate [--data cell_images.zip] [--epochs 12] [--out build/malaria-folds]

An interrupted run resumes after its last complete epoch. It writes `OUT/FOLD/`, as `train` does, and
`OUT/cross_validation.json`: each fold, the folds' mean and standard deviation, and all cells pooled.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from functions.malaria.classifier import Classifier
from models import report
from models.malaria import data, train
from models.malaria.evaluate import PIN, Answers
from shared.pin import Pin

FOLDS = 5


def main() -> None:
    """Train and measure the five folds, and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=data.SOURCE, help="as for train")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of each fold")
    parser.add_argument("--out", type=Path, default=Path("build/malaria-folds"), help="where the results go")
    arguments = parser.parse_args()

    entries = data.files(arguments.data)
    cells = data.decoded(entries)
    pin = replace(Pin.read(PIN), format="tflite")
    answers = []
    for fold in range(FOLDS):
        out = arguments.out / str(fold)
        train.run(cells, fold, train.Plan(arguments.epochs), out)
        held = set(data.split(cells, fold)["test"])
        classifier = Classifier.load((out / "malaria.tflite").read_bytes(), pin)
        own = [entry for entry in entries if data.patient(entry[0]) in held]
        answers.append(Answers.of(classifier, own))

    folds = [report.metrics(fold.probability, fold.infected) for fold in answers]
    pooled = Answers(
        *(
            np.concatenate([getattr(fold, name) for fold in answers])
            for name in ("probability", "infected", "patients", "warned")
        )
    )
    figures = {
        "method": f"{FOLDS}-fold cross-validation by patient, {arguments.epochs} epochs a fold",
        "mean": report.mean(folds),
        "standard_deviation": {
            name: float(np.std([fold[name] for fold in folds], ddof=1)) for name in folds[0]
        },
        "pooled": pooled.figures(),
        "folds": folds,
    }
    report.write_json(arguments.out / "cross_validation.json", report.rounded(figures))
    print(json.dumps(report.rounded(figures), indent=1))


if __name__ == "__main__":
    main()
