"""From the report of an examination to a judgement: publish, with remarks, or refuse and say what to give."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import Refused
from .labels import matched

TOLERANCE = 1e-4
"""How far probabilities in float32 may be from what they should be; `shared.classifier.checked` has the same."""
STILL = 1e-6
"""A change of the probabilities that is none."""
NARROW = 0.5
"""Log-odds over which a network that sees black, white, colours and noise moves at least."""
WIDER = 10
"""How many times as far it moves with another range, if that is the one it was trained with."""
CLEARLY = 0.05
"""A gain in accuracy that is worth a remark, if it is of two examples or more."""
SHOWN = 12
"""Labels up to which a confusion matrix is printed."""


@dataclass
class Score:
    """How the model does on examples.

    Attributes:
        labels: in the order of the model's outputs.
        counts: examples of each label (rows) that were answered with each (columns).
        seconds: with two labels, (whether it is the second label, its probability) of each.
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
        """The mean over the labels that occur of the share answered rightly."""
        rows = self.counts.sum(axis=1)
        return float(np.mean(np.diag(self.counts)[rows > 0] / rows[rows > 0]))

    @property
    def chance(self) -> float:
        """What guessing may reach: its mean and one standard error."""
        share = 1 / max(2, int((self.counts.sum(axis=1) > 0).sum()))
        return share + math.sqrt(share * (1 - share) / self.total)

    def table(self) -> str:
        """The confusion matrix, for people."""
        width = max(len(label) for label in self.labels)
        head = " ".join(f"{label:>{max(len(label), 5)}}" for label in self.labels)
        lines = [f"  {'answered':>{width}}  {head}"]
        for label, row in zip(self.labels, self.counts.tolist(), strict=True):
            cells = " ".join(f"{n:>{max(len(name), 5)}}" for n, name in zip(row, self.labels, strict=True))
            lines.append(f"  {label:>{width}}  {cells}")
        return "\n".join(lines)


def score(answers: Mapping[str, Any], labels: Sequence[str]) -> Score:
    """Compare answers with the truth.

    Raises:
        Refused: the examples have other labels, one label only, or could not be read.
    """
    unusable = answers["unusable"]
    if len(unusable) > len(answers["truths"]):
        raise Refused(f"{len(unusable)} of the examples cannot be answered, such as: {unusable[0]}")
    truths = sorted(set(answers["truths"]))
    found = matched(truths, labels)
    if found is None:
        raise Refused(
            f"the examples are labelled {', '.join(truths[:20])}; the labels are {', '.join(labels)}: name "
            "the examples' labels so, or give --labels as the examples have them, in the order of the outputs"
        )
    if len(truths) < 2:
        raise Refused(f"the examples are all {truths[0]}: expected examples of two labels or more")
    place = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), int)
    seconds = []
    for truth, label, second in zip(answers["truths"], answers["labels"], answers["seconds"], strict=True):
        counts[place[found[truth]], place[label]] += 1
        seconds.append((found[truth] == labels[1], second))
    return Score(labels, counts, seconds if len(labels) == 2 else [])


def on_examples(report: Mapping[str, Any], pin: Mapping[str, Any]) -> list[str]:
    """Judge by the examples.

    Raises:
        Refused: it is no better than chance, or clearly better with another setting, which nobody chose.
    """
    labels = report["labels"]
    full, few = score(report["examples"], labels), score(report["few"], labels)
    better, order = _better_settings(report, few), _better_order(full)
    remarks = [f"accuracy on {full.total} examples: {full.accuracy:.3f}"]
    if unusable := report["examples"]["unusable"]:
        remarks.append(f"{len(unusable)} examples were not answered, such as: {unusable[0]}")
    if report["total"] > full.total + len(unusable):
        remarks.append(f"they are a part of the {report['total']} there are")
    if len(labels) <= SHOWN:
        remarks.append(full.table())
    shown = "\n".join(remarks)
    if full.balanced <= full.chance:
        pixels = ", and the pixels as in training (range, channels)" if report["kind"] == "images" else ""
        hint = " Clearly better: " + "; or ".join(filter(None, (better, order)))
        asked = f" Are the labels in the order of the outputs{pixels}?"
        raise Refused(f"{shown}\nthis is no better than chance.{hint if better or order else asked}")
    if better and not _given(pin, "range", "channels"):
        keep = " ".join((_setting("range", report["range"]), f"channels={report['channels']}"))
        raise Refused(f"{shown}\nclearly better: {better}. Give that, or {keep} to publish it as it is")
    hints = filter(None, (better, order, _better_threshold(full, pin)))
    return [*remarks, *(f"clearly better: {each}" for each in hints)]


def _better_settings(report: Mapping[str, Any], few: Score) -> str:
    """Say which other range or channels are clearly better, with both figures; empty if none are."""
    best, words = few.accuracy, ""
    for name, found in report.get("otherwise", {}).items():
        if len(found["examples"]["truths"]) < few.total / 2:
            continue
        other = score(found["examples"], report["labels"])
        quoted = " ".join(f"'{part}'" for part in name.split())
        order, right = _best_order(other)
        for accuracy, setting in ((other.accuracy, quoted), (right, f"{quoted} --labels {order}")):
            if accuracy > best + 1e-9 and _clearly(accuracy, few):
                best, words = accuracy, setting
    return f"{words}: {best:.2f}, as given: {few.accuracy:.2f}" if words else ""


def _better_order(full: Score) -> str:
    """Say which other order of the labels is clearly better; empty if none is."""
    order, right = _best_order(full)
    return f"--labels {order}: {right:.2f}, as given: {full.accuracy:.2f}" if _clearly(right, full) else ""


def _best_order(found: Score) -> tuple[str, float]:
    """The order in which each output stands for the label it is mostly right about, and its accuracy."""
    majority = [int(column) for column in found.counts.argmax(axis=0)]
    if sorted(majority) != list(range(len(found.labels))):
        return "", 0.0
    right = sum(int(found.counts[truth, column]) for column, truth in enumerate(majority))
    return ",".join(found.labels[truth] for truth in majority), right / found.total


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


def _clearly(accuracy: float, given: Score) -> bool:
    """Whether an accuracy is better than that of the settings given by more than luck with these examples."""
    gain = accuracy - given.accuracy
    error = math.sqrt(given.accuracy * (1 - given.accuracy) / given.total)
    return gain >= max(CLEARLY, error) and gain * given.total > 1.5


def on_probes(report: Mapping[str, Any], pin: Mapping[str, Any]) -> list[str]:
    """Judge by what the model says of inputs that have no right answer.

    Raises:
        Refused: its outputs are no probabilities or never move, or it is in doubt what white is to it.
    """
    probes = np.array(report["probes"], float)
    logits = pin.get("output") == "logits"
    if report["scores"]:
        _check_scores(np.array(report["scores"], float), report["ending"], logits)
    if not np.isfinite(probes).all():
        raise Refused("its probabilities are not all numbers (NaN)")
    _check_probabilities(probes, logits)
    if report["kind"] != "images" or "range" not in report:
        return []
    if "examples" not in report and not _given(pin, "range"):
        _check_range(report)
    if np.ptp(probes, axis=0).max() < STILL:
        raise Refused(
            "its outputs never move: black, white, colours and noise get the same answer. Is it trained, and "
            f"with pixels of {_between(report['range'])}? Otherwise give range=[black,white]"
        )
    order = "grey" if report["channels"] == "grey" else f"in the order {report['channels']}"
    return [
        f"it gets images of {report['size'][0]} x {report['size'][1]}, {order}, with pixels of {_between(report['range'])}"
    ]


def _check_scores(scores: Any, ending: str, logits: bool) -> None:
    """Compare the outputs with what the pin says of them; raises `Refused`."""
    if not np.isfinite(scores).all():
        raise Refused("its outputs are not all numbers (NaN or infinite)")
    if scores.shape[1] == 1 and ending == "softmax":
        raise Refused(
            "it ends in a softmax of one unit, which is always 1: end it in a sigmoid, and train it"
        )
    summed = scores.shape[1] > 1 and (np.abs(scores.sum(axis=1) - 1) <= TOLERANCE).all()
    if logits:
        if ending in ("sigmoid", "softmax") or (summed and (scores >= 0).all()):
            raise Refused("its outputs are probabilities already, not logits: leave out output=logits")
        return
    low, high = scores.min(), scores.max()
    if ending == "none":
        raise Refused(
            f"its last layer has neither sigmoid nor softmax, so its outputs (here {low:.3g} to {high:.3g}) "
            "are logits: give output=logits"
        )
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise Refused(
            f"its outputs reach from {low:.3g} to {high:.3g}, which are no probabilities: if they are "
            "logits, give output=logits; otherwise end it in a sigmoid or a softmax"
        )
    if scores.shape[1] > 1 and not summed:
        worst = scores.sum(axis=1)[np.abs(scores.sum(axis=1) - 1).argmax()]
        raise Refused(
            f"its {scores.shape[1]} outputs sum to {worst:.3g}, not to 1: expected one softmax over all labels"
            + (
                ", not a sigmoid for each"
                if ending == "sigmoid"
                else "; if they are logits, give output=logits"
            )
        )


def _check_probabilities(probes: Any, logits: bool) -> None:
    wrong = (probes < 0) | (probes > 1) | (np.abs(probes.sum(axis=1, keepdims=True) - 1) > TOLERANCE)
    if wrong.any():
        row = [round(float(each), 4) for each in probes[wrong.any(axis=1).argmax()][:10]]
        end = "" if logits else "; does it end in a sigmoid or a softmax?"
        raise Refused(
            f"its answer to a sample is {row}: expected probabilities of all labels, summing to 1{end}"
        )


def _check_range(report: Mapping[str, Any]) -> None:
    """Ask what white is to the network if its layers or its answers speak against the range supposed."""
    white = _setting("range", (0, 255))
    mine = report["range"]
    keep = f"if it was trained with pixels of {_between(mine)}, say so: {_setting('range', mine)}"
    if report["said"]:
        if tuple(mine) not in ((0, 1), (0, 255), (-1, 1)):
            raise Refused(
                f"its quantised input holds values from {mine[0]:.4g} to {mine[1]:.4g}: give what black and "
                "white were in training, such as 'range=[0,1]'"
            )
        return
    if report["scaling"]:
        raise Refused(
            f"it scales its input itself ({report['scaling']}), so it was probably trained with pixels of 0 "
            f"to 255: give {white}; {keep}"
        )
    moved = _moved(report["probes"])
    for words, other in report.get("otherwise", {}).items():
        if (
            words == "range=[0,255]"
            and moved < NARROW
            and _moved(other["probes"]) > max(WIDER * moved, NARROW)
        ):
            raise Refused(
                f"with pixels of {_between(mine)} its answers to black, white, colours and noise hardly "
                f"differ, with pixels of 0 to 255 they do: give {white}; {keep}"
            )


def _moved(probes: Sequence[Sequence[float]]) -> float:
    """How far the log-odds of a label move, at most."""
    bounded = np.clip(np.array(probes, float), 1e-7, 1 - 1e-7)
    return float(np.ptp(np.log(bounded / (1 - bounded)), axis=0).max())


def _given(pin: Mapping[str, Any], *names: str) -> bool:
    return any(name in pin.get("input", {}) for name in names)


def _between(pair: Sequence[float]) -> str:
    return f"{pair[0]:g} to {pair[1]:g}"


def _setting(name: str, pair: Sequence[float]) -> str:
    """A setting as it is typed, whole numbers without a point."""
    values = [int(each) if float(each).is_integer() else each for each in pair]
    return f"'{name}={json.dumps(values, separators=(',', ':'))}'"
