"""The figures and plots of a binary classifier that both model cards report, computed in one way."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score, roc_curve

BINS = 15
RESAMPLES = 1000

Probabilities = NDArray[np.float64]
Truth = NDArray[np.int64]


def metrics(probability: Probabilities, positive: Truth, threshold: float = 0.5) -> dict[str, float]:
    """Return the accuracy, sensitivity, specificity, AUROC, ECE and Brier score.

    `probability`, shape (n,), is that of the positive class; `positive`, shape (n,), is 0 or 1. Figures that
    need both classes are left out if the samples have only one.
    """
    predicted = probability >= threshold
    truth = positive == 1
    figures = {"accuracy": float(np.mean(predicted == truth))}
    if truth.any():
        figures["sensitivity"] = float(np.mean(predicted[truth]))
    if not truth.all():
        figures["specificity"] = float(np.mean(~predicted[~truth]))
    if truth.any() and not truth.all():
        figures["auroc"] = float(roc_auc_score(positive, probability))
    figures["ece"] = expected_calibration_error(probability, positive)
    figures["brier"] = float(brier_score_loss(positive, probability, labels=[0, 1]))
    return figures


def expected_calibration_error(probability: Probabilities, positive: Truth) -> float:
    """Return the ECE over 15 equal bins of the positive class's probability (Guo et al. 2017)."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    return sum(
        abs(float(np.sum(probability[bins == index] - positive[bins == index]))) for index in range(BINS)
    ) / len(probability)


def intervals(
    probability: Probabilities, positive: Truth, groups: NDArray[Any], threshold: float = 0.5
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the figures, by a percentile bootstrap that resamples whole `groups`.

    Cells of one patient, or a text and its translations, are not independent samples.
    """
    _, group = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(group == index) for index in range(group.max() + 1)]
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {}
    for _ in range(RESAMPLES):
        rows = np.concatenate([members[index] for index in rng.integers(len(members), size=len(members))])
        for name, value in metrics(probability[rows], positive[rows], threshold).items():
            drawn.setdefault(name, []).append(value)
    return {name: tuple(np.quantile(values, (0.025, 0.975)).tolist()) for name, values in drawn.items()}


def rounded(content: Any) -> Any:
    """Return the content with every float rounded to four digits."""
    if isinstance(content, float):
        return round(content, 4)
    if isinstance(content, Mapping):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [rounded(value) for value in content]
    return content


def mean(contents: Sequence[Any]) -> Any:
    """Return the mean, number by number, of JSON contents of one shape."""
    first = contents[0]
    if isinstance(first, Mapping):
        return {key: mean([content[key] for content in contents]) for key in first}
    if isinstance(first, Sequence) and not isinstance(first, str):
        return [mean(each) for each in zip(*contents, strict=True)]
    return first if isinstance(first, int | str) else float(np.mean(contents))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


def plots(
    probability: Probabilities, positive: Truth, labels: Sequence[str], folder: Path, threshold: float = 0.5
) -> None:
    """Write `roc.png`, `confusion.png` and `reliability.png`; `labels` are (negative, positive)."""
    folder.mkdir(parents=True, exist_ok=True)
    _roc(probability, positive, labels, threshold, folder / "roc.png")
    _confusion(probability >= threshold, positive, labels, folder / "confusion.png")
    _reliability(probability, positive, labels, folder / "reliability.png")


def curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write the training curves of a network: loss and AUROC by epoch, training and validation."""
    epochs = range(1, len(history) + 1)
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.6), gridspec_kw={"wspace": 0.3})
    for axes, name in zip(panels, ("loss", "auroc"), strict=True):
        axes.plot(epochs, [epoch[name] for epoch in history], color="#b39bc8", label="training, augmented")
        axes.plot(epochs, [epoch[f"val_{name}"] for epoch in history], color="#7b2d8b", label="validation")
        axes.set(xlabel="epoch", ylabel=name.upper() if name == "auroc" else name)
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylim(0, 0.5)
    panels[1].set_ylim(0.94, 1.0)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure as a small PNG."""
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def _roc(
    probability: Probabilities, positive: Truth, labels: Sequence[str], threshold: float, path: Path
) -> None:
    false, true, _ = roc_curve(positive, probability)
    figure, axes = plt.subplots(figsize=(4.6, 4.6))
    axes.plot(
        false, true, color="#7b2d8b", linewidth=2, label=f"AUROC {roc_auc_score(positive, probability):.4f}"
    )
    at = metrics(probability, positive, threshold)
    axes.plot(
        1 - at["specificity"], at["sensitivity"], "o", color="#d1495b", label=f"threshold {threshold:g}"
    )
    axes.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    axes.set(
        xlabel="1 - specificity",
        ylabel="sensitivity",
        title=f"ROC: {labels[1]}",
        xlim=(-0.01, 1),
        ylim=(0, 1.01),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    if at["auroc"] > 0.97:
        inset = axes.inset_axes((0.38, 0.3, 0.58, 0.45), xlim=(0, 0.15), ylim=(0.85, 1))
        inset.plot(false, true, color="#7b2d8b", linewidth=2)
        inset.plot(1 - at["specificity"], at["sensitivity"], "o", color="#d1495b")
        inset.grid(alpha=0.3)
        axes.indicate_inset_zoom(inset)
    save(figure, path)


def _confusion(predicted: NDArray[np.bool_], positive: Truth, labels: Sequence[str], path: Path) -> None:
    counts = confusion_matrix(positive, predicted, labels=[0, 1])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(4.2, 3.8))
    axes.imshow(shares, cmap="Purples", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}\n{shares[row, column]:.1%}",
                ha="center",
                va="center",
                color="white" if shares[row, column] > 0.5 else "black",
            )
    axes.set(
        xticks=(0, 1),
        yticks=(0, 1),
        xticklabels=labels,
        yticklabels=labels,
        xlabel="predicted",
        ylabel="true",
    )
    axes.set_title("Confusion matrix")
    save(figure, path)


def _reliability(probability: Probabilities, positive: Truth, labels: Sequence[str], path: Path) -> None:
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    filled = [index for index in range(BINS) if np.any(bins == index)]
    mean = [probability[bins == index].mean() for index in filled]
    rate = [positive[bins == index].mean() for index in filled]
    figure, (axes, counts) = plt.subplots(
        2, 1, figsize=(4.6, 5.4), sharex=True, gridspec_kw={"height_ratios": (3, 1), "hspace": 0.08}
    )
    axes.plot([0, 1], [0, 1], ":", color="grey")
    error = expected_calibration_error(probability, positive)
    axes.plot(mean, rate, "o-", color="#7b2d8b", label=f"ECE {error:.4f}")
    axes.set(ylabel=f"share that is {labels[1]}", title="Reliability", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    counts.hist(probability, BINS, range=(0, 1), color="#b39bc8")
    counts.set(xlabel=f"predicted probability of {labels[1]}", ylabel="count", yscale="log")
    save(figure, path)
