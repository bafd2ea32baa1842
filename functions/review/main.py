"""Movie reviews as a cloud function: a review in one of five languages in, `Positive` or `Negative` out."""

from shared.start import fetch, start

fetch(__file__)  # the model is fetched while the modules below are imported

from shared.web.readers import Texts

from .classifier import EXPLANATION, FIELDS, Classifier

predict = start(
    __file__,
    name="review",
    reads=Texts("movie_review", "text"),
    model=Classifier,
    key="review_sentiment",
    path="/predict",
    explanation=EXPLANATION,
    fields=FIELDS,
)
