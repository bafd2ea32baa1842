"""Evaluate a model on labelled examples: its accuracy, and which options would be better."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import Refused
from .labels import spelled
from .messages import has_input, option

CLEARLY = 0.05
"""The least gain in accuracy worth mentioning; it must also be two examples or more."""
SHOWN = 12
"""The most labels for which the confusion matrix is printed."""


@dataclass
class Score:
    """The result on the examples.

    Attributes:
        labels: in the order of the model's outputs.
        counts: the confusion matrix, true labels (rows) by answered ones (columns).
        seconds: with two labels, (whether the second one is true, its probability) for each example.
    """

    labels: Sequence[str]
    counts: Any
    seconds: list[tuple[bool, float]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.counts) / self.total)

    @property
    def balanced(self) -> float:
        """The balanced accuracy: the mean recall of the labels that occur."""
        rows = self.counts.sum(axis=1)
        return float(np.mean(np.diag(self.counts)[rows > 0] / rows[rows > 0]))

    @property
    def chance(self) -> float:
        """The accuracy of guessing, plus one standard error."""
        share = 1 / max(2, int((self.counts.sum(axis=1) > 0).sum()))
        return share + math.sqrt(share * (1 - share) / self.total)

    def table(self) -> str:
        """Return the confusion matrix as a text table."""
        width = max(len(label) for label in self.labels)
        head = " ".join(f"{label:>{max(len(label), 5)}}" for label in self.labels)
        lines = [f"  {'answered':>{width}}  {head}"]
        for label, row in zip(self.labels, self.counts.tolist(), strict=True):
            cells = " ".join(f"{n:>{max(len(name), 5)}}" for n, name in zip(row, self.labels, strict=True))
            lines.append(f"  {label:>{width}}  {cells}")
        return "\n".join(lines)


def score(answers: Mapping[str, Any], labels: Sequence[str]) -> Score:
    """Compare the answers with the true labels.

    Raises:
        Refused: the examples have unknown labels or only one, or most cannot be answered.
    """
    unusable = answers["unusable"]
    if len(unusable) > len(answers["truths"]):
        raise Refused(f"{len(unusable)} of the examples cannot be answered, such as: {unusable[0]}")
    truths = sorted(set(answers["truths"]))
    known = {truth: label for truth in truths if (label := spelled(truth, labels))}
    if len(known) < len(truths):
        raise Refused(
            f"the examples are labelled {', '.join(truths[:20])}; the labels are {', '.join(labels)}: name "
            "the examples' labels so, or give --labels as the examples have them, in the order of the outputs"
        )
    if len(set(known.values())) < 2:
        raise Refused(f"the examples are all {truths[0]}: expected examples of two labels or more")
    place = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), int)
    seconds = []
    for truth, label, second in zip(answers["truths"], answers["labels"], answers["seconds"], strict=True):
        counts[place[known[truth]], place[label]] += 1
        seconds.append((known[truth] == labels[1], second))
    return Score(labels, counts, seconds if len(labels) == 2 else [])


def judge(report: Mapping[str, Any], pin: Mapping[str, Any]) -> list[str]:
    """Evaluate a model on the examples; return messages for the user.

    Raises:
        Refused: it is no better than chance, or clearly better with another option.
    """
    labels = report["labels"]
    full, few = score(report["examples"], labels), score(report["few"], labels)
    better, order = _better_settings(report, few), _better_order(full)
    remarks = [f"accuracy on {full.total} examples: {full.accuracy:.3f}"]
    if unusable := report["examples"]["unusable"]:
        remarks.append(f"{len(unusable)} examples were not answered, such as: {unusable[0]}")
    if report["total"] > full.total + len(unusable):
        remarks.append(f"they are a sample of all {report['total']} examples")
    if len(labels) <= SHOWN:
        remarks.append(full.table())
    shown = "\n".join(remarks)
    if full.balanced <= full.chance:
        pixels = ", and the pixels as in training (range, channels)" if report["kind"] == "images" else ""
        hint = " Clearly better: " + "; or ".join(filter(None, (better, order)))
        question = f" Are the labels in the order of the outputs{pixels}?"
        raise Refused(f"{shown}\nthis is no better than chance.{hint if better or order else question}")
    if better and not has_input(pin, "range", "channels"):
        keep = " ".join((option("range", report["range"]), f"channels={report['channels']}"))
        raise Refused(f"{shown}\nclearly better: {better}. Give that, or {keep} to publish it as it is")
    hints = filter(None, (better, order, _better_threshold(full, pin)))
    return [*remarks, *(f"clearly better: {each}" for each in hints)]


def _better_settings(report: Mapping[str, Any], few: Score) -> str:
    """Say which other range or channels are clearly better, with both accuracies; empty if none are."""
    best, options = few.accuracy, ""
    for name, result in report.get("otherwise", {}).items():
        if len(result["examples"]["truths"]) < few.total / 2:
            continue
        other = score(result["examples"], report["labels"])
        quoted = " ".join(f"'{part}'" for part in name.split())
        order, right = _best_order(other)
        for accuracy, candidate in ((other.accuracy, quoted), (right, f"{quoted} --labels {order}")):
            if accuracy > best + 1e-9 and _clearly(accuracy, few):
                best, options = accuracy, candidate
    return f"{options}: {best:.2f}, as given: {few.accuracy:.2f}" if options else ""


def _better_order(full: Score) -> str:
    """Say which other order of the labels is clearly better; empty if none is."""
    order, right = _best_order(full)
    return f"--labels {order}: {right:.2f}, as given: {full.accuracy:.2f}" if _clearly(right, full) else ""


def _best_order(result: Score) -> tuple[str, float]:
    """Return the label order in which each output stands for its majority label, and its accuracy."""
    majority = [int(column) for column in result.counts.argmax(axis=0)]
    if sorted(majority) != list(range(len(result.labels))):
        return "", 0.0
    right = sum(int(result.counts[truth, column]) for column, truth in enumerate(majority))
    return ",".join(result.labels[truth] for truth in majority), right / result.total


def _better_threshold(full: Score, pin: Mapping[str, Any]) -> str:
    """Say which threshold is clearly better; empty if none is."""
    if not full.seconds:
        return ""
    best, chosen = full.accuracy, None
    for threshold in np.linspace(0.02, 0.98, 49):
        right = sum((second >= threshold) == truth for truth, second in full.seconds) / full.total
        if right > best:
            best, chosen = right, round(float(threshold), 2)
    if chosen is None or not _clearly(best, full):
        return ""
    return f"threshold={chosen}: {best:.2f}, as given ({pin.get('threshold', 0.5)}): {full.accuracy:.2f}"


def _clearly(accuracy: float, now: Score) -> bool:
    """Whether an accuracy is better than the present one by more than a random difference."""
    gain = accuracy - now.accuracy
    error = math.sqrt(now.accuracy * (1 - now.accuracy) / now.total)
    return gain >= max(CLEARLY, error) and gain * now.total > 1.5
