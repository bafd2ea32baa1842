"""A scikit-learn pipeline in a function: joblib.load with the module, as Google's samples do."""

from pathlib import Path

import functions_framework
from stopwatch import part

with part("imports"):
    import joblib
    import sklearn.feature_extraction.text
    import sklearn.linear_model
    import sklearn.pipeline  # noqa: F401 (what the file needs, so that loading it is timed without)

with part("load"):
    model = joblib.load(Path(__file__).resolve().parents[3] / "build" / "bench" / "review.joblib")


@functions_framework.http
def predict(request):
    """One review to its sentiment."""
    with part("first prediction"):
        [label] = model.predict([request.form["movie_review"]])
    return {"error": "0", "message": "Successful", "review_sentiment": label}
