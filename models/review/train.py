"""Train the review model on IMDB and NollySenti, measure it by cross-validation, and export it for serving.

    python -m models.review.train [--imdb PATH] [--nollysenti PATH] [--out build/review]

Each fit is saved in `--out`, so an interrupted run resumes with the next fit. The results are `review.npz`
(to serve), `review.joblib` (the same as a scikit-learn pipeline), `metrics.json` and plots, out of fold.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, vstack
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from functions.review.linear import Limits, Linear, Scale
from functions.review.ngrams import Buckets, Ngrams, code_points
from models import report
from models.review import data, evaluate, lexicon, opinions, short, translation
from models.review import language as languages
from models.review.vectoriser import NgramVectoriser, pipeline, quantised
from shared.runtimes.outputs import logistic

SEED = 20261122
ASSIGNMENTS = 5
"""How many fold assignments: each moves the accuracy in a language with 510 reviews by a point or two."""
FOLDS = 5
TOLERANCE = 1e-5
"""The tolerance of a regression. Scikit-learn's 1e-4 stops too early, which cost 0.4 points of accuracy."""
ITERATIONS = 300
SMOOTHING = 20.0
"""A log-count ratio counts half if its n-gram is in so many reviews."""
SHARPNESS = 1.55
"""The regression's log-odds, times this, are about calibrated; the rest depends on the language."""
LIMITS = Limits()
ENOUGH = 50
"""The fewest reviews by which a language gets a calibration of its own."""
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
LABELS = ("Negative", "Positive")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """The settings, chosen on other folds than those of the figures (see the model card).

    Two terms are added to the weights of the regression over all reviews: the weights of words by their
    translations, and those of a second regression over the words of IMDB alone. Each is scaled to a given
    standard deviation in log-odds.

    Attributes:
        ngrams: the features.
        c: the inverse of the L2 penalty.
        weight: the weight of a NollySenti review; that of an IMDB review is 1.
        translated: the weight of its machine translation, relative to `weight`.
        softening: the share of a teacher's prediction in the label of a NollySenti review.
        taught: how many IMDB reviews a teacher learns.
        rare: n-grams in fewer reviews are left out.
        damping: the exponent of the weighted idf.
        trust: the standard deviation of the translated weights over NollySenti.
        settled: a translated weight counts half if so many IMDB reviews have the word, and less beyond.
        expertise: the standard deviation of the second regression over IMDB.
        bayes: how much the naive-Bayes log-count ratio scales a feature of the second regression.
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
        """The weight of each review."""
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

    def times(self, factor: float) -> "Fit":
        """A fit whose log-odds are multiplied by `factor`."""
        return Fit(self.weights * factor, self.intercept * factor)


def main() -> None:
    """Train, or resume an interrupted training, and export."""
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
    seeds = range(SEED, SEED + ASSIGNMENTS)
    predictions = {
        seed: study.out_of_fold(seed) for seed in tqdm(seeds, desc="cross-validation", unit="assignment")
    }
    report.write_json(
        arguments.out / "metrics.json", report.rounded(study.figures(predictions, arguments.out))
    )
    study.learning_curve(SEED, arguments.out / "learning.png")
    study.export(SEED, predictions[SEED], arguments.out)


class Study:
    """The reviews, their features, and the fits on them."""

    def __init__(self, reviews: list[data.Review], recipe: Recipe, out: Path) -> None:
        self.reviews, self.recipe, self.out = reviews, recipe, out
        self.positive = np.array([review.positive for review in reviews])
        self.corpus = np.array([review.corpus for review in reviews])
        self.samples = data.samples(reviews)
        self.weights = recipe.weights(reviews)
        self.imdb = self.corpus == "imdb"
        named = [review.corpus.removeprefix(data.TRANSLATED_INTO) for review in reviews]
        self.language = np.where(self.imdb, "en", named)
        self.nollysenti = np.isin(self.corpus, data.LANGUAGES)
        self.balance = self.imdb / self.imdb.sum() + self.nollysenti / self.nollysenti.sum()
        self.taught = ~self.imdb
        imdb = np.flatnonzero(self.imdb)
        self.taught[np.random.default_rng(SEED).permutation(imdb)[: recipe.taught]] = True
        texts = [review.text for review in reviews]
        shown = tqdm(texts, desc="n-grams", unit="review")
        self.features = NgramVectoriser(recipe.ngrams, np.float32).transform(shown)
        self.words = translation.unmarked_words(texts, recipe.ngrams)
        self.names = opinions.names(texts, recipe.ngrams)
        english = {self.samples[row]: row for row in np.flatnonzero(self.corpus == "en")}
        self.original = np.array([english.get(sample, -1) for sample in self.samples])
        learnt = hashlib.sha256(json.dumps(asdict(recipe)).encode())
        for array in (self.positive, self.samples, self.features.indptr, self.features.indices):
            learnt.update(np.ascontiguousarray(array).data)
        self.digest = learnt.hexdigest()[:12]

    def fit(self, name: str, rows: NDArray[np.int64], target: Floats | None = None) -> Fit:
        """Fit a model to `rows`, or read it from the checkpoint `name` of an earlier run.

        `target`, shape (reviews,), has the probabilities to learn; without it, the labels are learnt.
        """
        aim = self.positive if target is None else target
        return self.kept(name, lambda: fit(self.features[rows], aim[rows], self.weights[rows], self.recipe))

    def kept(self, name: str, make: Callable[[], Fit]) -> Fit:
        """Return the fit in the checkpoint `name`; if there is none, `make` it and save it."""
        path = self.out / f"{self.digest}-{name}.npz"
        if not path.exists():
            made = make()
            np.savez_compressed(path.with_suffix(".part.npz"), weights=made.weights, intercept=made.intercept)
            path.with_suffix(".part.npz").replace(path)
        with np.load(path) as saved:
            return Fit(saved["weights"], float(saved["intercept"]))

    def model(self, name: str, rows: NDArray[np.int64], target: Floats) -> Fit:
        """The fit `name` on `rows`, with the two terms that the recipe adds to it."""
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
        """The weights of words by their translations in `rows`, shape (ngrams.size,)."""
        foreign = rows[np.isin(self.original[rows], rows) & (self.corpus[rows] != "en")]
        english = translation.english_worth(self.words[imdb], self.positive[imdb])
        worth = translation.translated_worth(self.words, foreign, self.original[foreign], english)
        seen = translation.reviews_with(self.words, imdb)
        whole = np.zeros(self.features.shape[1])
        whole[: worth.size] = worth * self.recipe.settled / (self.recipe.settled + seen)
        return whole

    def folds(self, seed: int) -> NDArray[np.int64]:
        """The fold of each review, shape (reviews,), in the assignment `seed`."""
        return data.assigned(self.samples, FOLDS, seed)

    def out_of_fold(self, seed: int) -> "OutOfFold":
        """The predictions for each review by the model of the other folds, built as it would be served."""
        folds, predictions = self.folds(seed), OutOfFold.empty(len(self.reviews))
        for fold in tqdm(range(FOLDS), desc=f"assignment {seed}", unit="fold", leave=False):
            linear = self.linear(
                f"{seed}-fold{fold}", np.flatnonzero(folds != fold), self.targets(seed, fold)
            )
            for row in np.flatnonzero(folds == fold).tolist():
                predictions.note(row, *linear.weigh(code_points(self.reviews[row].text)), linear.intercept)
        return predictions

    def linear(self, name: str, rows: NDArray[np.int64], target: Floats) -> Linear:
        """The model `name` on `rows` as it would be served, but without calibration."""
        ngrams, said = self.recipe.ngrams, lexicon.read()
        made = self.model(name, rows, target).times(SHARPNESS)
        weights, scales = quantised(made.weights)
        texts = [self.reviews[row].text for row in rows]
        grams = self.opinions(rows, said)
        linear = Linear(
            ngrams,
            weights,
            scales,
            made.intercept,
            short.NOTHING,
            languages.fit(texts, self.language[rows], self.imdb[rows], said, grams, ngrams),
            dict.fromkeys(("", *data.LANGUAGES), (1.0, 0.0)),
            LIMITS,
        )
        own = [self.reviews[row].text for row in rows[self.nollysenti[rows]]]
        return replace(linear, short=short.fit(linear, said + self.common(rows), own))

    def opinions(self, rows: NDArray[np.int64], said: Sequence[lexicon.Example]) -> Buckets:
        """The buckets of word n-grams that praise or blame, in the lexicon or in the reviews of `rows`."""
        neutral = np.union1d(self.names, opinions.neutral(said, self.recipe.ngrams))
        found = [opinions.listed(said, self.recipe.ngrams)]
        for language in data.LANGUAGES:
            some = rows[self.language[rows] == language]
            found.append(opinions.weighty(self.words[some], self.positive[some], neutral))
        return np.concatenate(found)

    def common(self, rows: NDArray[np.int64]) -> list[lexicon.Example]:
        """The common words and pairs of the reviews of each language, not all of IMDB."""
        found = []
        for language in data.LANGUAGES:
            chosen = rows[self.language[rows] == language]
            chosen = np.concatenate(
                [chosen[~self.imdb[chosen]], chosen[self.imdb[chosen]][: languages.ENGLISH]]
            )
            texts = [self.reviews[row].text for row in chosen]
            found += short.common(texts, self.positive[chosen], language)
        return found

    def targets(self, seed: int, held: int | None) -> Floats:
        """Softened labels, shape (reviews,), without knowledge of the fold `held` of the assignment `seed`.

        A review and its translations share one prediction: the mean of their log-odds by teachers that saw
        neither these nor the held fold. This brings what the English text says to the languages with few
        reviews (distillation, Hinton et al. 2015).
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

    def figures(self, predictions: dict[int, "OutOfFold"], plots: Path) -> dict[str, Any]:
        """The figures by corpus, as means over the assignments; plot NollySenti in the first assignment.

        `predictions` has those of each assignment. Each fold is calibrated on the other folds.
        """
        shown = np.flatnonzero(self.balance)
        reviews = [self.reviews[row] for row in shown]
        assignments = []
        for seed, predicted in predictions.items():
            probability, folds = np.zeros(len(self.reviews)), self.folds(seed)
            for fold in range(FOLDS):
                others = folds != fold
                calibration = predicted.calibration(self.positive, self.balance * others)
                probability[~others] = predicted.probabilities(calibration)[~others]
            assignments.append(
                evaluate.figures(probability[shown], reviews)
                | {"languages_told": self.told(predicted), **self.warned(predicted, probability)}
            )
            if len(assignments) == 1:
                report.plots(probability[self.nollysenti], self.positive[self.nollysenti], LABELS, plots)
        return {
            "method": f"{FOLDS}-fold cross-validation, translations in one fold, "
            f"mean of {len(assignments)} fold assignments",
            **report.mean(assignments),
            "assignments": [
                {
                    "seed": seed,
                    "nollysenti_mean_accuracy": each["nollysenti_mean_accuracy"],
                    **{name: one["accuracy"] for name, one in each["languages"].items()},
                    "imdb": each["imdb"]["accuracy"],
                }
                for seed, each in zip(predictions, assignments, strict=True)
            ],
        }

    def told(self, predicted: "OutOfFold") -> dict[str, Any]:
        """For each corpus, the share of reviews whose language is named, and the share of right names."""
        shares: dict[str, dict[str, float]] = {}
        for corpus in (*data.LANGUAGES, "imdb"):
            rows = self.corpus == corpus
            named = rows & (predicted.language != "")
            right = named & (predicted.language == self.language)
            shares[corpus] = {
                "named": float(np.mean(named[rows])),
                "right": float(right.sum() / max(named.sum(), 1)),
            }
        return shares

    def warned(self, predicted: "OutOfFold", probability: Floats) -> dict[str, Any]:
        """The shares of reviews with six words or more that get a warning, and the accuracy of the others."""
        within = (probability > LIMITS.undecided[0]) & (probability < LIMITS.undecided[1])
        shares: dict[str, Any] = {}
        for corpus in (*data.LANGUAGES, "imdb"):
            rows = (self.corpus == corpus) & (predicted.words >= 6)
            sure = rows & predicted.known & ~within
            right = (probability[sure] > 0.5) == self.positive[sure]
            count = max(int(rows.sum()), 1)
            shares[corpus] = {
                "unknown_language": float((rows & ~predicted.known).sum() / count),
                "undecided": float((rows & predicted.known & within).sum() / count),
                "accuracy_of_the_rest": float(right.sum() / max(right.size, 1)),
            }
        return {"warnings": shares}

    def learning_curve(self, seed: int, path: Path) -> None:
        """Plot the accuracy on the first fold of models that learn a share of the other folds' samples."""
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

    def export(self, seed: int, predicted: "OutOfFold", out: Path) -> None:
        """Fit a model to all reviews, calibrate it, and write `review.npz` and `review.joblib`."""
        linear = self.linear("all", np.arange(len(self.reviews)), self.targets(seed, None))
        linear = replace(linear, calibration=predicted.calibration(self.positive, self.balance))
        linear.save(out / "review.npz")
        joblib.dump(pipeline(linear), out / "review.joblib", compress=3)
        print(f"calibration {linear.calibration}; wrote {out / 'review.npz'}")


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for each review by models that never saw it; each field has shape (reviews,).

    Attributes:
        log_odds: the log-odds before calibration.
        share: the share of the intercept in them.
        language: the language that is named, or "".
        words: the number of words.
        known: whether enough words are known.
    """

    log_odds: Floats
    share: Floats
    language: NDArray[np.str_]
    words: NDArray[np.int64]
    known: NDArray[np.bool_]

    @classmethod
    def empty(cls, count: int) -> "OutOfFold":
        """Allocate the arrays."""
        log_odds, share = np.zeros(count), np.zeros(count)
        language = np.zeros(count, dtype="<U8")
        return cls(log_odds, share, language, np.zeros(count, np.int64), np.zeros(count, np.bool_))

    def note(self, row: int, log_odds: float, scale: Scale, intercept: float) -> None:
        """Note the prediction of an uncalibrated model with this intercept for a review."""
        self.log_odds[row] = log_odds
        self.share[row] = scale.intercept / intercept if intercept else 1.0
        self.language[row] = scale.language or ""
        self.words[row], self.known[row] = scale.words, scale.known

    def calibration(self, positive: NDArray[np.int64], weights: Floats) -> dict[str, tuple[float, float]]:
        """Slope and offset for each language, and under "" for texts without a known language."""
        lines: dict[str, tuple[float, float]] = {}
        for language in ("", *data.LANGUAGES):
            rows = self.known & (weights > 0) & ((self.language == language) if language else True)
            if language and rows.sum() < ENOUGH:
                lines[language] = lines[""]
            else:
                lines[language] = platt(self.log_odds[rows], positive[rows], weights[rows])
        return lines

    def probabilities(self, calibration: dict[str, tuple[float, float]]) -> Floats:
        """The probability of a positive review."""
        slopes, offsets = np.array([calibration[language] for language in self.language]).T
        return logistic(slopes * self.log_odds + offsets * self.share)


def fit(features: csr_matrix, target: Floats | NDArray[np.int64], weights: Floats, recipe: Recipe) -> Fit:
    """Logistic regression on features times their inverse document frequency, folded into the weights.

    A review has the same weight in the idf as in the regression, so that a common word of a language with few
    reviews does not count as rare. The idf is applied after the normalisation of a text, so the model stays
    linear in `features`. A `target` between 0 and 1 is learnt as a positive review with this weight and a
    negative one with the rest.
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
    """Logistic regression on word n-grams, scaled by naive-Bayes log-count ratios.

    Features are scaled by their log-count ratio between the classes (Wang and Manning 2012); here by its
    absolute value, which counts less for n-grams in few reviews, and by the idf.
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
    """The columns that enough reviews have, and the damped inverse document frequency of each."""
    kept = np.flatnonzero(np.bincount(features.indices, minlength=features.shape[1]) >= recipe.rare)
    rarity = np.log(weights.sum() / total(features, weights)[kept])
    return kept, (np.maximum(rarity, 0) / 5) ** recipe.damping


def total(features: csr_matrix, values: NDArray[Any]) -> Floats:
    """The sum of `values`, one for each review, over the reviews that have each n-gram: shape (columns,)."""
    weights = np.repeat(values, np.diff(features.indptr))
    return np.bincount(features.indices, weights, features.shape[1]).astype(np.float64)


def platt(log_odds: Floats, positive: NDArray[np.int64], weights: Floats) -> tuple[float, float]:
    """Slope and offset that maximise the likelihood of the labels (Platt 1999), with weights."""
    model = LogisticRegression(C=np.inf)
    chosen = weights > 0
    model.fit(log_odds[chosen, None], positive[chosen], sample_weight=weights[chosen] * chosen.sum())
    return float(model.coef_[0, 0]), float(model.intercept_[0])


if __name__ == "__main__":
    main()
