"""Malaria cells as a cloud function: a photo of one red blood cell in, `Infected` or `Normal` out."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.errors import ServiceError
from shared.store import fetch
from shared.store.lazy import Once, warm_up
from shared.timing import span
from shared.web import endpoint, readers

FOLDER = Path(__file__).parent
PIN = fetch.read_pin(FOLDER / "model.json")
fetch.prefetch(PIN)  # the download goes on beside the imports that follow

from .classifier import Classifier, Diagnosis, Pixels  # noqa: E402

classifier = Once(lambda: fetch.load(PIN, Classifier))
warm_up(classifier)


def classify(images: Sequence[bytes], explain: bool) -> list[dict[str, Any] | ServiceError]:
    """What the answer to each image says, or why there is none."""
    model = classifier()
    with span("decode"):
        decoded = [_decoded(model, data) for data in images]
    with span("predict"):
        good = [pixels for pixels in decoded if not isinstance(pixels, ServiceError)]
        found = iter(model.predict(good) if good else ())
        return [
            pixels if isinstance(pixels, ServiceError) else _answer(next(found), model, explain)
            for pixels in decoded
        ]


def _decoded(model: Classifier, data: bytes) -> Pixels | ServiceError:
    try:
        return model.decode(data)
    except ServiceError as error:
        return error


def _answer(diagnosis: Diagnosis, model: Classifier, explain: bool) -> dict[str, Any]:
    probabilities = {label: round(value, 6) for label, value in diagnosis.probabilities.items()}
    answer = {"classification": diagnosis.label, "probabilities": probabilities}
    return answer | ({"explanation": _explanation(diagnosis, model)} if explain else {})


def _explanation(diagnosis: Diagnosis, model: Classifier) -> dict[str, Any] | None:
    """Where the network looked: a picture to lay over the cell, and the numbers it is made of."""
    if diagnosis.attention is None:
        return None
    with span("explain"):
        picture = base64.b64encode(diagnosis.heatmap(model.size)).decode()
        return {"heatmap": f"data:image/png;base64,{picture}", "grid": diagnosis.attention.tolist()}


predict = endpoint.serve(
    endpoint.Service(
        name="malaria",
        pin=PIN,
        path="/classify",
        reader=readers.Images("malaria_cell_image", "image", alias="b64"),
        classify=classify,
        ready=lambda: classifier.ready,
        key="classification",
        folder=FOLDER,
    )
)
