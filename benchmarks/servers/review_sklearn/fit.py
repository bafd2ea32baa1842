"""A pipeline of the kind people serve, word and character n-grams and a logistic regression.

    python fit.py PATH

It is fitted on generated sentences: what it says is worth nothing, how long it takes does not depend on that.
"""

import random
import sys

import joblib
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

GOOD = ["brilliant", "warm", "funny", "moving", "sweet", "clever", "lovely", "great"]
BAD = ["dull", "cold", "tired", "weak", "boring", "clumsy", "awful", "cheap"]
REST = [
    "the",
    "film",
    "story",
    "scene",
    "actor",
    "sister",
    "music",
    "market",
    "road",
    "and",
    "of",
    "with",
    "was",
]


def main() -> None:
    """Generate, fit, write."""
    rng = random.Random(0)  # noqa: S311
    texts, labels = [], []
    for place in range(400):
        words = rng.choices(REST, k=20) + rng.choices(GOOD if place % 2 else BAD, k=5)
        texts.append(" ".join(rng.sample(words, len(words))))
        labels.append("Positive" if place % 2 else "Negative")
    vectoriser = make_union(
        HashingVectorizer(ngram_range=(1, 3), n_features=1 << 20),
        HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=1 << 20),
    )
    pipeline = make_pipeline(vectoriser, LogisticRegression())
    joblib.dump(pipeline.fit(texts, labels), sys.argv[1])


if __name__ == "__main__":
    main()
