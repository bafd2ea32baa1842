"""The pin: which model file one commit serves, in a function's `model.json`.

Functions, `models.publish`, `deploy` and the benchmarks read it with this code, so that all of them accept
the same pins.
"""

import copyreg
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NoReturn

FORMATS = ("tflite", "keras", "h5", "linear", "joblib")
CODE_FORMATS = ("keras", "h5", "joblib")
"""Formats whose files can run code when they are loaded."""
PACKAGES = {
    "tflite": ("ai-edge-litert",),
    "keras": ("tensorflow-cpu", "tensorflow"),
    "h5": ("tensorflow-cpu", "tensorflow"),
    "linear": ("numpy",),
    "joblib": ("scikit-learn",),
}
"""The package that runs a file of each format; any one of these will do."""
CHANNELS = ("RGB", "BGR", "grey")
OUTPUTS = ("probabilities", "logits")
MAX_SIDE = 4096
"""The largest width or height of a network's input: 16 million pixels are 200 MB in float32."""
LONGEST = 1000
"""The most characters of a text: a file name in Cloud Storage has at most 1,024 bytes."""
BRIGHTEST = 1e6
"""The largest value of a pixel: white is 65,535 in 16 bits."""

# A classifier that is sent to another process takes its pin along.
copyreg.pickle(MappingProxyType, lambda mapping: (_frozen, (dict(mapping),)))


def _frozen(content: dict[str, Any]) -> MappingProxyType[str, Any]:
    return MappingProxyType(content)


class PinError(ValueError):
    """A `model.json` that is not a valid pin. The message is one line, and names the field."""


class Unpublished(PinError):
    """A `model.json` that has labels, but no model file yet."""


@dataclass(frozen=True)
class Input:
    """The model's input, as far as its file does not describe it.

    Attributes:
        size: height and width in pixels; None if the file says it.
        channels: the order of an image's channels, or `grey` for one.
        range: the values of black and white; None for 0 and 1, or for 0 and 255 if the input is of integers.
        columns: the names of a table's columns, in the model's order.
        languages: the languages that a text model was trained on, as ISO 639 codes.
    """

    size: tuple[int, int] | None = None
    channels: str | None = None
    range: tuple[float, float] | None = None
    columns: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pin:
    """A valid pin.

    Attributes:
        file: the model file, relative to the store; its name carries the first 12 digits of its digest.
        sha256: the file's SHA-256, 64 hexadecimal digits.
        bytes: the file's size.
        format: one of `FORMATS`.
        version: the version that every answer names.
        labels: two or more, in the order of the model's outputs.
        threshold: with two labels, the second one is the answer from this probability on.
        output: whether the model's outputs are `probabilities` or `logits`.
        input: the model's input.
        modules: the user's own modules that a pickled model imports, file name to SHA-256.
        trained: the day of training, as YYYY-MM-DD.
        metrics: metrics by name, for the page and the status.
    """

    file: str
    sha256: str
    bytes: int
    format: str
    version: str
    labels: tuple[str, ...]
    threshold: float | None = None
    output: str = "probabilities"
    input: Input = Input()
    modules: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    trained: str | None = None
    metrics: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def suffix(self) -> str:
        """The file's suffix."""
        return PurePosixPath(self.file).suffix

    @property
    def decision_threshold(self) -> float:
        """The probability from which on the second of two labels is the answer."""
        return 0.5 if self.threshold is None else self.threshold

    @classmethod
    def read(cls, path: Path) -> "Pin":
        """Read a `model.json`.

        Raises:
            Unpublished: it has labels, but no file.
            PinError: it is not a valid pin; the message names the file and the field.
        """
        try:
            return cls.parse(load_json(path.read_bytes()))
        except OSError as error:
            raise PinError(f"{path}: cannot be read: {error.strerror}") from None
        except Unpublished:
            name = path.absolute().parent.name
            raise Unpublished(
                f"{path}: publish a model first: .venv/dev/bin/python -m models.publish {name} FILE"
            ) from None
        except PinError as error:
            raise PinError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, content: Any) -> "Pin":
        """Check the content of a `model.json`.

        Raises:
            Unpublished: it has labels, but no file.
            PinError: it is not a valid pin; the message names the field.
        """
        if not isinstance(content, dict):
            _refuse("a model.json", "a JSON object", content)
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(content) - known):
            raise PinError(
                f"unknown field {unknown[0]!r}; expected {', '.join(each.name for each in fields(cls))}"
            )
        checked = {name: _CHECKS[name](f"'{name}'", value) for name, value in content.items()}
        if "labels" in checked and not {"file", "sha256", "bytes", "format", "version"} & set(checked):
            raise Unpublished("publish a model first")
        for name in ("file", "sha256", "bytes", "format", "version", "labels"):
            if name not in checked:
                raise PinError(f"the field {name!r} is missing")
        pin = cls(**checked)
        if pin.threshold is not None and len(pin.labels) != 2:
            raise PinError(f"'threshold' belongs to two labels; there are {len(pin.labels)}")
        if pin.modules and pin.format != "joblib":
            raise PinError(f"'modules' belong to the format joblib; got {pin.format!r}")
        return pin

    def content(self) -> dict[str, Any]:
        """Return the content of `model.json`, without the fields that are not set."""
        found: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "input":
                value = {
                    part.name: _plain(getattr(value, part.name))
                    for part in fields(value)
                    if getattr(value, part.name) != part.default
                }
            if value not in (None, {}) and (each.name, value) != ("output", "probabilities"):
                found[each.name] = _plain(value)
        return found


def load_json(body: bytes) -> Any:
    """Parse strict JSON: each name once, no NaN.

    Raises:
        PinError: the bytes are not such JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise PinError("a field occurs twice")
        return found

    def refuse(name: str) -> NoReturn:
        raise PinError(f"{name} is not valid JSON: expected a finite number; or leave the field out")

    try:
        return json.loads(body, object_pairs_hook=unique, parse_constant=refuse)
    except PinError:
        raise
    except (ValueError, RecursionError) as error:
        raise PinError(f"not valid JSON: {error}") from None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def _refuse(name: str, expected: str, value: Any) -> NoReturn:
    raise PinError(f"{name}: expected {expected}, got {json.dumps(value)[:100]}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        _refuse(name, "a text", value)
    if len(value) > LONGEST:
        _refuse(name, f"a text of at most {LONGEST:,} characters", value)
    return value


def _number(name: str, value: Any) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        pass
    _refuse(name, "a number", value)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        _refuse(name, f"a whole number from {low} to {high}", value)
    return value


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in choices:
            _refuse(name, f"one of {', '.join(choices)}", value)
        return str(value)

    return check


def _file(name: str, value: Any) -> str:
    path = PurePosixPath(_text(name, value))
    if (
        not path.name
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in value
        or ":" in value
        or str(path) != value
    ):
        _refuse(name, "a path relative to the model store, without '..'", value)
    return str(path)


def _digest(name: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        _refuse(name, "64 hexadecimal digits in small letters", value)
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        _refuse(name, "a list of different texts", value)
    return tuple(_text(name, each) for each in value)


def _labels(name: str, value: Any) -> tuple[str, ...]:
    labels = _texts(name, value)
    if len(labels) < 2:
        _refuse(name, "two labels or more", value)
    return labels


def _threshold(name: str, value: Any) -> float:
    if not 0 <= _number(name, value) <= 1:
        _refuse(name, "a number from 0 to 1", value)
    return float(value)


def _day(name: str, value: Any) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        _refuse(name, "a day such as 2026-01-31", value)


def _modules(name: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        _refuse(name, "an object of file names and their SHA-256", value)
    for file, digest in value.items():
        if not re.fullmatch(r"[A-Za-z_]\w*\.py", file):
            _refuse(name, "file names such as helper.py", file)
        _digest(f"{name}, {file}", digest)
    return MappingProxyType(dict(value))


def _metrics(name: str, value: Any) -> Mapping[str, float | str]:
    if not isinstance(value, dict):
        _refuse(name, "an object of figures", value)
    for key, figure in value.items():
        if not isinstance(figure, str):
            _number(f"{name}, {key}", figure)
    return MappingProxyType(dict(value))


def _input(name: str, value: Any) -> Input:
    if not isinstance(value, dict):
        _refuse(name, "an object", value)
    known = {each.name for each in fields(Input)}
    if unknown := sorted(set(value) - known):
        raise PinError(f"{name}: unknown field {unknown[0]!r}; expected {', '.join(sorted(known))}")
    return Input(**{key: _INPUT_CHECKS[key](f"'input.{key}'", each) for key, each in value.items()})


def _size(name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        _refuse(name, "[height, width]", value)
    height, width = (_whole(name, side, 1, MAX_SIDE) for side in value)
    return height, width


def _range(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or _number(name, value[0]) == _number(name, value[1]):
        _refuse(name, "[black, white], two different numbers", value)
    black, white = (_number(name, each) for each in value)
    if max(abs(black), abs(white)) > BRIGHTEST:
        _refuse(name, f"numbers from {-BRIGHTEST:,.0f} to {BRIGHTEST:,.0f}", value)
    return black, white


_INPUT_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "size": _size,
    "channels": _one_of(*CHANNELS),
    "range": _range,
    "columns": _texts,
    "languages": _texts,
}
_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "file": _file,
    "sha256": _digest,
    "bytes": lambda name, value: _whole(name, value, 1, 1 << 40),
    "format": _one_of(*FORMATS),
    "version": _text,
    "labels": _labels,
    "threshold": _threshold,
    "output": _one_of(*OUTPUTS),
    "input": _input,
    "modules": _modules,
    "trained": _day,
    "metrics": _metrics,
}
