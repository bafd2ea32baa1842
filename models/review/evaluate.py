"""Measure the served review model on labelled reviews, through the classifier that the function uses.

    python -m models.review.evaluate [DATA ...] [--part test] [--plots DIR]

DATA is a folder or archive with the layout of IMDB or of NollySenti. Prints one JSON object.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from functions.review.classifier import Classifier
from functions.review.ngrams import clean
from models import report
from models.review import data
from shared.pin import Pin
from shared.runtimes import texts
from shared.runtimes.outputs import logistic
from shared.settings import Settings
from shared.store import fetch

PIN = Path(__file__).parents[2] / "functions" / "review" / "model.json"
LAYOUTS = "pos/*.txt and neg/*.txt, or LANG/*.tsv"


def main() -> None:
    """Print the figures of the pinned model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="*", default=[data.NOLLYSENTI, data.IMDB])
    parser.add_argument("--part", choices=("train", "dev", "test"), help="only the reviews of this part")
    parser.add_argument("--plots", type=Path, help="a folder for roc.png, confusion.png and reliability.png")
    arguments = parser.parse_args()

    pin = Pin.read(PIN)
    classifier = Classifier.load(fetch.fetch(pin, Settings.read()), pin)
    parts = (arguments.part,) if arguments.part else ()
    reviews = [review for path in arguments.data for review in data.read(path, LAYOUTS, parts)]
    originals = [
        review
        for review in reviews
        if not review.corpus.startswith(data.TRANSLATION) and clean(review.text)  # refused if empty
    ]
    if not originals:
        raise SystemExit("nothing to measure: the data has only machine translations")
    probability = np.array(
        [
            positive_probability(classifier, review.text)
            for review in tqdm(originals, desc="predicting", unit="review")
        ]
    )
    threshold = pin.decision_threshold
    result = {
        "model": pin.version,
        "data": [path.name for path in arguments.data],
        "part": arguments.part or "all",
        **figures(probability, originals, threshold),
    }
    print(json.dumps(report.rounded(result), indent=1))
    if arguments.plots:
        positive = np.array([review.positive for review in originals])
        report.plots(probability, positive, pin.labels, arguments.plots, threshold)


def positive_probability(classifier: Classifier | texts.Classifier, review: str) -> float:
    """Return the probability of the second label, without rounding."""
    if isinstance(classifier, Classifier):
        return float(logistic(np.array(classifier.predict([classifier.decode(review)])[0].log_odds)))
    return float(classifier.predict([review])[0][1])


def figures(
    probability: NDArray[np.float64], reviews: list[data.Review], threshold: float = 0.5
) -> dict[str, Any]:
    """The figures of each language, of all NollySenti and of IMDB, if there are reviews of them.

    `probability`, shape (reviews,), is that of a positive review. The bootstrap of the intervals draws a
    review together with its translations.
    """
    positive = np.array([review.positive for review in reviews])
    corpus = np.array([review.corpus for review in reviews])
    groups = data.samples(reviews)

    def of(*corpora: str) -> dict[str, Any]:
        chosen = np.isin(corpus, corpora)
        seen = probability[chosen], positive[chosen]
        return {
            "reviews": int(chosen.sum()),
            **report.metrics(*seen, threshold),
            "intervals_95": report.intervals(*seen, groups[chosen], threshold),
        }

    result: dict[str, Any] = {}
    languages = {name: of(name) for name in data.LANGUAGES if name in corpus}
    if languages:
        result["nollysenti_mean_accuracy"] = float(np.mean([each["accuracy"] for each in languages.values()]))
        result |= {"nollysenti": of(*languages), "languages": languages}
    if "imdb" in corpus:
        result["imdb"] = of("imdb")
    return result


if __name__ == "__main__":
    main()
