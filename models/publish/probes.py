"""Check a model without examples: its layers, and its answers to black, white, colours and noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import Refused
from .messages import has_input, option, range_text

TOLERANCE = 1e-4
"""The tolerance for probabilities in float32, as in `shared.classifier.checked`."""
STILL = 1e-6
"""A smaller change of the probabilities counts as none."""
NARROW = 0.15
"""The least change of log-odds between black, white, colours and noise."""
WIDER = 10
"""With the range of its training, a network's answers change at least this many times as much."""


def judge(report: Mapping[str, Any], pin: Mapping[str, Any]) -> list[str]:
    """Check a model by its answers to inputs without a right answer; return messages for the user.

    Raises:
        Refused: its outputs are not probabilities or never change, or its range may be wrong.
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
    if "examples" not in report and not has_input(pin, "range"):
        _check_range(report)
    if np.ptp(probes, axis=0).max() < STILL:
        raise Refused(
            "its outputs never move: black, white, colours and noise get the same answer. Is it trained, and "
            f"with pixels of {range_text(report['range'])}? Otherwise give range=[black,white]"
        )
    order = "grey" if report["channels"] == "grey" else f"in the order {report['channels']}"
    height, width = report["size"]
    given = f"it gets images of {height} x {width}, {order}, with pixels of {range_text(report['range'])}"
    return [given if "examples" in report else f"{given}; only --examples can tell whether it was trained so"]


def _check_scores(scores: Any, ending: str, logits: bool) -> None:
    """Check that the outputs are what the pin says, probabilities or logits; raises `Refused`."""
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
        end = (
            ", not a sigmoid for each" if ending == "sigmoid" else "; if they are logits, give output=logits"
        )
        raise Refused(
            f"its {scores.shape[1]} outputs sum to {worst:.3g}, not to 1: expected one softmax over all "
            f"labels{end}"
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
    """Require the range if the network's layers or answers contradict the assumed one; raises `Refused`."""
    white = option("range", (0, 255))
    mine = report["range"]
    keep = f"if it was trained with pixels of {range_text(mine)}, say so: {option('range', mine)}"
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
    change = _largest_change(report["probes"])
    for options, other in report.get("otherwise", {}).items():
        if (
            options == "range=[0,255]"
            and change < NARROW
            and _largest_change(other["probes"]) > max(WIDER * change, NARROW)
        ):
            raise Refused(
                f"with pixels of {range_text(mine)} its answers to black, white, colours and noise hardly "
                f"differ, with pixels of 0 to 255 they do: give {white}; {keep}"
            )


def _largest_change(probes: Sequence[Sequence[float]]) -> float:
    """Return the largest change of the log-odds of a label."""
    bounded = np.clip(np.array(probes, float), 1e-7, 1 - 1e-7)
    return float(np.ptp(np.log(bounded / (1 - bounded)), axis=0).max())
