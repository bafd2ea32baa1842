"""Movie reviews as a cloud function: a review in one of five languages in, `Positive` or `Negative` out."""

from pathlib import Path
from typing import Any

from flask import Request

from shared import artifacts, endpoint, inputs
from shared.once import Once, warm_up

PIN = artifacts.read_pin(Path(__file__).with_name("model.json"))
artifacts.prefetch(PIN)  # the download goes on beside the imports that follow

from .classifier import Classifier  # noqa: E402

FIELDS = ("movie_review", "text")

classifier = Once(lambda: artifacts.load(PIN, Classifier))
warm_up(classifier)


def classify(request: Request) -> dict[str, Any]:
    """What the answer to one review says."""
    review = inputs.text(request, FIELDS)
    [sentiment] = classifier().predict([review])
    probabilities = {label: round(value, 6) for label, value in sentiment.probabilities.items()}
    return {"review_sentiment": sentiment.label, "probabilities": probabilities}


predict = endpoint.serve(
    {"name": "review", "version": PIN["version"]}, "/predict", classify, lambda: classifier.ready
)
