"""Whole numbers from the environment; a value that makes no sense stops the start with a message."""

import os


def whole(name: str, default: int, low: int, high: int, unit: str = "a whole number") -> int:
    """The setting `name`, from `low` to `high`.

    Raises:
        ValueError: it is no such number; the message names the setting and what was expected.
    """
    value = os.environ.get(name, str(default))
    if not value.isdecimal() or not low <= int(value) <= high:
        raise ValueError(f"{name}: expected {unit} from {low} to {high}, got {value!r}")
    return int(value)
