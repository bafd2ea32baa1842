"""Format values for messages: options as the user types them, and ranges."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def has_input(pin: Mapping[str, Any], *names: str) -> bool:
    """Whether the pin has one of these fields of `input`."""
    return any(name in pin.get("input", {}) for name in names)


def range_text(pair: Sequence[float]) -> str:
    """Return a range as text."""
    return f"{pair[0]:g} to {pair[1]:g}"


def option(name: str, pair: Sequence[float]) -> str:
    """Return an option as the user types it; whole numbers have no decimal point."""
    values = [int(each) if float(each).is_integer() else each for each in pair]
    return f"'{name}={json.dumps(values, separators=(',', ':'))}'"
