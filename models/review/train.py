"""Train the review model on IMDB and NollySenti, measure it by cross-validation, and export it for serving.

    python -m models.review.train [--imdb PATH] [--nollysenti PATH] [--out build/review]

Each fit is kept in `--out`, so a run that was stopped goes on with the next one. The result: `review.npz`
(served), `review.joblib` (the same as a scikit-learn pipeline), `metrics.json` and plots, out of fold.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import joblib
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, vstack
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from functions.review.ngrams import Ngrams
from models import report
from models.review import data, evaluate, translation
from models.review.vectoriser import NgramVectoriser, pipeline, quantised
from shared.runtimes.outputs import logistic

SEED = 20261122
DEALS = 5
"""How often the folds are dealt anew: a language of 510 reviews moves by a point or two with the deal."""
FOLDS = 5
TOLERANCE = 1e-5
"""Where a regression stops. At scikit-learn's 1e-4 it is far from done: it cost 0.4 points of accuracy."""
ITERATIONS = 300
SMOOTHING = 20.0
"""A log-count ratio counts half where its n-gram is in so many reviews."""
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
LABELS = ("Negative", "Positive")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What was chosen, on other folds than those the figures come from (see the model card).

    `c` is the inverse of the L2 penalty. A NollySenti review weighs as much as `weight` of IMDB, its machine
    translation `translated` of that. Of a NollySenti review's label, `softening` is what a teacher says of
    it, who knows `taught` reviews of IMDB. An n-gram of fewer than `rare` reviews is left out; the idf, of
    reviews as they weigh, is raised to `damping`.

    Two opinions are added to what a regression of all reviews finds, each so large that its standard
    deviation, in log-odds, is `trust` over NollySenti or `expertise` over IMDB: what words are worth by their
    translations, less of it the more of IMDB's reviews have them (half of it at `settled`), and what a
    regression of IMDB's words alone finds, in which naive Bayes counts `bayes`.
    """

    ngrams: Ngrams = field(default_factory=Ngrams)
    c: float = 2.0
    weight: float = 20.0
    translated: float = 0.2
    softening: float = 0.4
    taught: int = 5000
    rare: int = 2
    damping: float = 0.75
    trust: float = 0.2
    settled: float = 30.0
    expertise: float = 0.7
    bayes: float = 5.0

    def weights(self, reviews: Sequence[data.Review]) -> Floats:
        """How much each review counts."""
        of = {"imdb": 1.0, **dict.fromkeys(data.LANGUAGES, self.weight)}
        return np.array([of.get(review.corpus, self.weight * self.translated) for review in reviews])


@dataclass(frozen=True)
class Fit:
    """Weights of all buckets, shape (ngrams.size,), and an intercept."""

    weights: Floats
    intercept: float

    def log_odds(self, features: csr_matrix) -> Floats:
        """Shape (rows,)."""
        return np.asarray(features @ self.weights + self.intercept, dtype=np.float64)

    def calibrated(self, slope: float, offset: float) -> "Fit":
        """The fit whose log-odds are `slope` times this one's, plus `offset`."""
        return Fit(self.weights * slope, self.intercept * slope + offset)

    def rounded(self, ngrams: Ngrams) -> "Fit":
        """The weights as they will be served."""
        linear = quantised(ngrams, self.weights, self.intercept)
        return Fit((linear.weights * linear.scales[:, None]).ravel(), self.intercept)


def main() -> None:
    """Train, or go on training, and export."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--imdb", type=Path, default=data.IMDB, help="aclImdb_v1.tar.gz, or its folder")
    parser.add_argument("--nollysenti", type=Path, default=data.NOLLYSENTI, help="NollySenti's folder `data`")
    parser.add_argument("--out", type=Path, default=Path("build/review"), help="where the results go")
    arguments = parser.parse_args()
    for path, what in ((arguments.imdb, data.IMDB_IS), (arguments.nollysenti, data.NOLLYSENTI_IS)):
        if not path.exists():
            parser.error(f"{path}: not found; expected {what}")
    reviews = data.read(arguments.nollysenti, data.NOLLYSENTI_IS, ("train", "dev"))
    reviews += data.read(arguments.imdb, data.IMDB_IS, ("train",))
    arguments.out.mkdir(parents=True, exist_ok=True)

    study = Study(reviews, Recipe(), arguments.out)
    seeds = range(SEED, SEED + DEALS)
    log_odds = {seed: study.out_of_fold(seed) for seed in tqdm(seeds, desc="cross-validation", unit="deal")}
    report.write_json(arguments.out / "metrics.json", report.rounded(study.figures(log_odds, arguments.out)))
    study.learning_curve(SEED, arguments.out / "learning.png")
    study.export(SEED, platt(log_odds[SEED], study.positive, study.balance), arguments.out)


class Study:
    """The reviews, their features, and the fits made of them."""

    def __init__(self, reviews: list[data.Review], recipe: Recipe, out: Path) -> None:
        self.reviews, self.recipe, self.out = reviews, recipe, out
        self.positive = np.array([review.positive for review in reviews])
        self.corpus = np.array([review.corpus for review in reviews])
        self.samples = data.samples(reviews)
        self.weights = recipe.weights(reviews)
        self.imdb = self.corpus == "imdb"
        self.nollysenti = np.isin(self.corpus, data.LANGUAGES)
        self.balance = self.imdb / self.imdb.sum() + self.nollysenti / self.nollysenti.sum()
        self.taught = ~self.imdb
        imdb = np.flatnonzero(self.imdb)
        self.taught[np.random.default_rng(SEED).permutation(imdb)[: recipe.taught]] = True
        texts = [review.text for review in reviews]
        shown = tqdm(texts, desc="n-grams", unit="review")
        self.features = NgramVectoriser(recipe.ngrams, np.float32).transform(shown)
        self.words = translation.unmarked_words(texts, recipe.ngrams)
        english = {self.samples[row]: row for row in np.flatnonzero(self.corpus == "en")}
        self.original = np.array([english.get(sample, -1) for sample in self.samples])
        told = json.dumps([asdict(recipe), [(review.text, review.positive) for review in reviews]])
        self.digest = hashlib.sha256(told.encode()).hexdigest()[:12]

    def fit(self, name: str, rows: NDArray[np.int64], target: Floats | None = None) -> Fit:
        """The model of `rows`, read from the checkpoint `name` where an earlier run left one.

        `target`, shape (reviews,), is the probability to learn; the label, where there is none.
        """
        aim = self.positive if target is None else target
        return self.kept(name, lambda: fit(self.features[rows], aim[rows], self.weights[rows], self.recipe))

    def kept(self, name: str, make: Callable[[], Fit]) -> Fit:
        """What `make` makes, or what an earlier run has made and left in the checkpoint `name`."""
        path = self.out / f"{self.digest}-{name}.npz"
        if not path.exists():
            made = make()
            np.savez_compressed(path.with_suffix(".part.npz"), weights=made.weights, intercept=made.intercept)
            path.with_suffix(".part.npz").replace(path)
        with np.load(path) as saved:
            return Fit(saved["weights"], float(saved["intercept"]))

    def model(self, name: str, rows: NDArray[np.int64], target: Floats) -> Fit:
        """The fit `name` of `rows`, and the two opinions that the recipe adds to it."""
        made = self.fit(name, rows, target)
        imdb = rows[self.imdb[rows]]
        reviews, positive = self.features[imdb], self.positive[imdb]
        expert = self.kept(f"{name}-expert", lambda: expert_fit(reviews, positive, self.recipe)).weights
        translated = self.translated(rows, imdb)
        nollysenti = self.features[rows[self.nollysenti[rows]]]
        opinions = (
            self.recipe.trust / np.std(nollysenti @ translated) * translated
            + self.recipe.expertise / np.std(reviews @ expert) * expert
        )
        return Fit(made.weights + opinions, made.intercept)

    def translated(self, rows: NDArray[np.int64], imdb: NDArray[np.int64]) -> Floats:
        """What words are worth by their translations among `rows`, shape (ngrams.size,)."""
        foreign = rows[np.isin(self.original[rows], rows) & (self.corpus[rows] != "en")]
        english = translation.english_worth(self.words[imdb], self.positive[imdb])
        worth = translation.translated_worth(self.words, foreign, self.original[foreign], english)
        seen = translation.reviews_with(self.words, imdb)
        whole = np.zeros(self.features.shape[1])
        whole[: worth.size] = worth * self.recipe.settled / (self.recipe.settled + seen)
        return whole

    def folds(self, seed: int) -> NDArray[np.int64]:
        """The fold of each review, shape (reviews,), in the deal `seed`."""
        return data.deal(self.samples, FOLDS, seed)

    def out_of_fold(self, seed: int) -> Floats:
        """Log-odds of each review, shape (reviews,), by a rounded model of the deal's other folds."""
        folds, log_odds = self.folds(seed), np.zeros(len(self.reviews))
        for fold in tqdm(range(FOLDS), desc=f"deal {seed}", unit="fold", leave=False):
            target = self.targets(seed, fold)
            made = self.model(f"{seed}-fold{fold}", np.flatnonzero(folds != fold), target)
            log_odds[folds == fold] = made.rounded(self.recipe.ngrams).log_odds(self.features[folds == fold])
        return log_odds

    def targets(self, seed: int, held: int | None) -> Floats:
        """Softened labels, shape (reviews,), that know nothing of the fold `held` of the deal `seed`.

        Each review and its translations get one opinion: the mean log-odds of them all by teachers that saw
        neither them nor the held fold. So what English tells of a review reaches the languages with few
        (distillation, Hinton et al. 2015).
        """
        folds, log_odds = self.folds(seed), np.zeros(len(self.reviews))
        target = self.positive.astype(np.float64)
        for fold in set(range(FOLDS)) - {held}:
            out = sorted({fold, fold if held is None else held})
            rows = np.flatnonzero(self.taught & ~np.isin(folds, out))
            teacher = self.fit(f"{seed}-without{'-'.join(map(str, out))}", rows)
            log_odds[folds == fold] = teacher.log_odds(self.features[folds == fold])
        count = np.bincount(self.samples, self.nollysenti)
        opinion = np.bincount(self.samples, self.nollysenti * log_odds) / np.maximum(count, 1)
        soft = ~self.imdb & (folds != held)
        share = self.recipe.softening
        target[soft] = (1 - share) * target[soft] + share * logistic(opinion)[self.samples[soft]]
        return target

    def figures(self, log_odds: dict[int, Floats], plots: Path) -> dict[str, Any]:
        """Figures per corpus, means over the deals, and the plots of NollySenti in the first.

        Of `log_odds`, each deal's, those of a fold are calibrated on the other folds.
        """
        shown = np.flatnonzero(self.balance)
        reviews = [self.reviews[row] for row in shown]
        deals = []
        for seed, found in log_odds.items():
            probability, folds = np.zeros(len(found)), self.folds(seed)
            for fold in range(FOLDS):
                others = folds != fold
                slope, offset = platt(found[others], self.positive[others], self.balance[others])
                probability[~others] = logistic(slope * found[~others] + offset)
            deals.append(evaluate.figures(probability[shown], reviews))
            if len(deals) == 1:
                report.plots(probability[self.nollysenti], self.positive[self.nollysenti], LABELS, plots)
        return {
            "method": f"{FOLDS}-fold cross-validation, translations in one fold, mean of {len(deals)} deals",
            **report.mean(deals),
            "deals": [
                {
                    "seed": seed,
                    "nollysenti_mean_accuracy": deal["nollysenti_mean_accuracy"],
                    **{name: each["accuracy"] for name, each in deal["languages"].items()},
                    "imdb": deal["imdb"]["accuracy"],
                }
                for seed, deal in zip(log_odds, deals, strict=True)
            ],
        }

    def learning_curve(self, seed: int, path: Path) -> None:
        """Plot the accuracy on the deal's first fold of models of a share of the others' samples."""
        folds = self.folds(seed)
        place = np.random.default_rng(SEED).permutation(self.samples.max() + 1) / (self.samples.max() + 1)
        targets = self.targets(seed, 0)
        held = {"IMDB": self.imdb & (folds == 0), "NollySenti": self.nollysenti & (folds == 0)}
        curves: dict[str, list[float]] = {name: [] for name in held}
        for share in tqdm(SHARES, desc="learning curve", unit="fit"):
            rows = np.flatnonzero((folds != 0) & (place[self.samples] < share))
            part = "fold0" if share == 1 else f"share{share}"
            made = self.model(f"{seed}-{part}", rows, targets)
            for name, chosen in held.items():
                right = (made.log_odds(self.features[chosen]) > 0) == self.positive[chosen]
                curves[name].append(float(np.mean(right)))
        figure, axes = plt.subplots(figsize=(5, 3.8))
        for (name, accuracies), colour in zip(curves.items(), ("#7b2d8b", "#d1495b"), strict=True):
            axes.plot(SHARES, accuracies, "o-", color=colour, label=name)
        axes.set(xscale="log", xlabel="share of the training reviews", ylabel="accuracy, first fold")
        axes.set(title="Learning curve", xticks=SHARES, xticklabels=[f"{share:.0%}" for share in SHARES])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
        report.save(figure, path)

    def export(self, seed: int, calibration: tuple[float, float], out: Path) -> None:
        """Fit all reviews, fold the calibration in, and write `review.npz` and `review.joblib`."""
        target = self.targets(seed, None)
        made = self.model("all", np.arange(len(self.reviews)), target).calibrated(*calibration)
        linear = quantised(self.recipe.ngrams, made.weights, made.intercept)
        linear.save(out / "review.npz")
        joblib.dump(pipeline(linear), out / "review.joblib", compress=3)
        print(f"slope {calibration[0]:.3f}, offset {calibration[1]:+.3f}; wrote {out / 'review.npz'}")


def fit(features: csr_matrix, target: Floats | NDArray[np.int64], weights: Floats, recipe: Recipe) -> Fit:
    """Logistic regression on features times their inverse document frequency, folded into the weights.

    A review counts in the idf as it does in the regression, so that what is common in a language of few
    reviews is not taken for rare. The idf is outside the text's norm, so the model stays linear in
    `features`. A `target` between 0 and 1 is learnt as that share of a positive review and the rest of a
    negative one.
    """
    kept, idf = document_frequency(features, weights, recipe)
    scaled = (features[:, kept] @ diags(idf.astype(np.float32))).tocsr()
    split = np.flatnonzero((target > 0) & (target < 1))
    label = target >= 0.5
    certainty = np.where(label, target, 1 - target)
    model = LogisticRegression(C=recipe.c, max_iter=ITERATIONS, tol=TOLERANCE)
    model.fit(
        vstack([scaled, scaled[split]], format="csr"),
        np.concatenate([label, ~label[split]]),
        sample_weight=np.concatenate([weights * certainty, (weights * (1 - certainty))[split]]),
    )
    whole = np.zeros(features.shape[1])
    whole[kept] = model.coef_[0] * idf
    return Fit(whole, float(model.intercept_[0]))


def expert_fit(features: csr_matrix, positive: NDArray[np.int64], recipe: Recipe) -> Fit:
    """Logistic regression on word n-grams, those foremost that naive Bayes finds telling.

    As Wang and Manning (2012) do, features are scaled by their log-count ratio between the classes; here by
    its size, and less where reviews are few, on top of the idf.
    """
    words, alike = features[:, : features.shape[1] // 2], np.ones(len(positive))
    kept, idf = document_frequency(words, alike, recipe)
    count, liked = (total(words, values)[kept] for values in (alike, positive))
    ratio = np.abs(np.log((liked + 1) / (count - liked + 1))) * count / (count + SMOOTHING)
    scale = idf * (1 + recipe.bayes * ratio)
    model = LogisticRegression(C=recipe.c, max_iter=ITERATIONS, tol=TOLERANCE)
    model.fit(words[:, kept] @ diags(scale.astype(np.float32)), positive)
    whole = np.zeros(features.shape[1])
    whole[kept] = model.coef_[0] * scale
    return Fit(whole, float(model.intercept_[0]))


def document_frequency(
    features: csr_matrix, weights: Floats, recipe: Recipe
) -> tuple[NDArray[np.int64], Floats]:
    """Columns that are in enough reviews, and the inverse document frequency of each, damped."""
    kept = np.flatnonzero(np.bincount(features.indices, minlength=features.shape[1]) >= recipe.rare)
    rarity = np.log(weights.sum() / total(features, weights)[kept])
    return kept, (np.maximum(rarity, 0) / 5) ** recipe.damping


def total(features: csr_matrix, values: NDArray[Any]) -> Floats:
    """The sum of `values`, one for each review, over the reviews that have each n-gram: shape (columns,)."""
    weights = np.repeat(values, np.diff(features.indptr))
    return np.bincount(features.indices, weights, features.shape[1]).astype(np.float64)


def platt(log_odds: Floats, positive: NDArray[np.int64], weights: Floats) -> tuple[float, float]:
    """Slope and offset that make log-odds likeliest (Platt 1999), IMDB and NollySenti with equal say."""
    model = LogisticRegression(C=np.inf)
    chosen = weights > 0
    model.fit(log_odds[chosen, None], positive[chosen], sample_weight=weights[chosen] * chosen.sum())
    return float(model.coef_[0, 0]), float(model.intercept_[0])


if __name__ == "__main__":
    main()
