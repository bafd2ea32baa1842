"""Words that the judgements share: settings as the user types them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def given(pin: Mapping[str, Any], *names: str) -> bool:
    """Whether one of these fields of `input` was said, by the user or by the pin."""
    return any(name in pin.get("input", {}) for name in names)


def between(pair: Sequence[float]) -> str:
    """A range in words."""
    return f"{pair[0]:g} to {pair[1]:g}"


def setting(name: str, pair: Sequence[float]) -> str:
    """A setting as it is typed, whole numbers without a point."""
    values = [int(each) if float(each).is_integer() else each for each in pair]
    return f"'{name}={json.dumps(values, separators=(',', ':'))}'"
