"""Decide which label each output stands for: from the file, the user or the pin, never by guessing."""

from collections.abc import Sequence

from . import Refused

SHOWN = 20
"""The most outputs that are printed with their labels."""
VARIANTS = {"neg": "negative", "pos": "positive"}


def decide(
    given: Sequence[str] | None,
    pinned: Sequence[str] | None,
    named: Sequence[str],
    counts: bool,
    sure: bool = True,
) -> tuple[str, ...]:
    """Return the labels in the order of the model's outputs.

    Args:
        given: the user's labels, in the order of the outputs.
        pinned: the labels in the pin.
        named: the names in the file, in the order of its outputs; empty if it has none.
        counts: whether the labels in the pin apply to this model.
        sure: whether the number of names in the file is certainly that of its outputs.

    Raises:
        Refused: the labels are not known, or two sources contradict each other.
    """
    if given is not None:
        return _agreed(tuple(given), named, sure)
    if named:
        return _spelled(named, pinned)
    if pinned and counts:
        return tuple(pinned)
    hint = f" The pinned model's are {', '.join(pinned)}." if pinned else ""
    raise Refused(
        "the file does not say which label each output stands for: give them in the order of the outputs, "
        f"--labels A,B (Keras numbers the folders of a data set by name: cat,dog).{hint}"
    )


def normalised(name: str) -> str:
    """Normalise the spelling of a label: case, and the short forms `pos` and `neg`."""
    folded = name.strip().casefold()
    return VARIANTS.get(folded, folded)


def spelled(name: str, labels: Sequence[str]) -> str | None:
    """Return the label that equals the name apart from spelling; None if there is none, or several."""
    if name in labels:
        return name
    equal = [label for label in labels if normalised(label) == normalised(name)]
    return equal[0] if len(equal) == 1 else None


def matched(names: Sequence[str], labels: Sequence[str]) -> dict[str, str] | None:
    """Map each name to the label that `spelled` returns; None if that is not one to one."""
    found = {name: spelled(name, labels) for name in names}
    if None in found.values() or len(set(found.values())) != len(names):
        return None
    return {name: str(label) for name, label in found.items()}


def mapping(labels: Sequence[str], named: Sequence[str], units: int | None) -> str:
    """Describe what each output stands for."""
    if units == 1:
        return f"its one output is the probability of {labels[1]}, the rest that of {labels[0]}"
    parts = []
    for place, label in enumerate(labels):
        name = f" ({named[place]})" if len(named) == len(labels) and named[place] != label else ""
        parts.append(f"output {place}{name} = {label}")
    return ", ".join(parts if len(parts) <= SHOWN else [*parts[: SHOWN - 1], "...", parts[-1]])


def _agreed(given: tuple[str, ...], named: Sequence[str], sure: bool) -> tuple[str, ...]:
    if named and len(named) != len(given) and not sure:
        return given
    if named and len(named) != len(given):
        raise Refused(f"--labels names {len(given)}; the file has {len(named)}: {', '.join(named)}")
    found = matched(given, named) if named else None
    if found and [found[label] for label in given] != list(named):
        raise Refused(
            f"--labels {','.join(given)}: the file has them in the order {', '.join(named)}: "
            "give them in this order, or not at all"
        )
    return given


def _spelled(named: Sequence[str], pinned: Sequence[str] | None) -> tuple[str, ...]:
    if pinned is None:
        return tuple(named)
    found = matched(named, pinned)
    if found is None or len(named) != len(pinned):
        raise Refused(
            f"the file's labels are {', '.join(named)}, in this order; the pin has {', '.join(pinned)}: give "
            f"--labels {','.join(named)} to answer with the file's, or others in the order of the file's"
        )
    return tuple(found[name] for name in named)
