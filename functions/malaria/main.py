"""Malaria cells as a cloud function: a photo of one red blood cell in, `Infected` or `Normal` out."""

from pathlib import Path
from typing import Any

from flask import Request

from shared import artifacts, endpoint, inputs
from shared.once import Once, warm_up

PIN = artifacts.read_pin(Path(__file__).with_name("model.json"))
artifacts.prefetch(PIN)  # the download goes on beside the imports that follow

from .classifier import Classifier  # noqa: E402

FIELDS = ("malaria_cell_image", "image")

classifier = Once(lambda: artifacts.load(PIN, Classifier))
warm_up(classifier)


def classify(request: Request) -> dict[str, Any]:
    """What the answer to one image says."""
    data = inputs.image(request, FIELDS)
    model = classifier()
    [diagnosis] = model.predict([model.decode(data)])
    probabilities = {label: round(value, 6) for label, value in diagnosis.probabilities.items()}
    return {"classification": diagnosis.label, "probabilities": probabilities}


predict = endpoint.serve(
    {"name": "malaria", "version": PIN["version"]}, "/classify", classify, lambda: classifier.ready
)
