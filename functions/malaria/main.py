"""Malaria cells as a cloud function: a photo of one red blood cell in, `Infected` or `Normal` out."""

from shared.start import fetch, start

fetch(__file__)  # the model is fetched while the modules below are imported

from shared.web.readers import Images

from . import heatmap
from .classifier import Classifier

predict = start(
    __file__,
    name="malaria",
    reads=Images("malaria_cell_image", "image"),
    model=Classifier,
    key="classification",
    path="/classify",
    explanation=heatmap.SCHEMA,
)
