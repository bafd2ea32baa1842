"""Movie reviews as a cloud function: a review in one of five languages in, `Positive` or `Negative` out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.errors import TooLarge
from shared.store import fetch
from shared.store.lazy import Once, warm_up
from shared.timing import span
from shared.web import endpoint, readers

FOLDER = Path(__file__).parent
PIN = fetch.read_pin(FOLDER / "model.json")
fetch.prefetch(PIN)  # the download goes on beside the imports that follow

from .classifier import Classifier  # noqa: E402

classifier = Once(lambda: fetch.load(PIN, Classifier))
warm_up(classifier)


def classify(reviews: Sequence[str], explain: bool) -> list[dict[str, Any]]:
    """What the answer to each review says."""
    if explain and sum(map(len, reviews)) > readers.MAX_CHARACTERS:
        raise TooLarge(
            f"expected at most {readers.MAX_CHARACTERS:,} characters in all where explain is asked for"
        )
    model = classifier()
    answers = []
    with span("predict"):
        for review, sentiment in zip(reviews, model.predict(reviews), strict=True):
            probabilities = {label: round(value, 6) for label, value in sentiment.probabilities.items()}
            answer: dict[str, Any] = {
                "review_sentiment": sentiment.label,
                "probabilities": probabilities,
            }
            if explain:
                answer["explanation"] = _explanation(model, review)
            answers.append(answer)
    return answers


def _explanation(model: Classifier, review: str) -> dict[str, Any] | None:
    with span("explain"):
        explanation = model.explain(review)
        return {**vars(explanation), "tokens": list(map(vars, explanation.tokens))} if explanation else None


predict = endpoint.serve(
    endpoint.Service(
        name="review",
        pin=PIN,
        path="/predict",
        reader=readers.Texts("movie_review", "text"),
        classify=classify,
        ready=lambda: classifier.ready,
        key="review_sentiment",
        folder=FOLDER,
    )
)
