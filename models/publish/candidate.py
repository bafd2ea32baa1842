"""Draft the pin of a file from the file and the user's options, not from the model that was pinned before."""

import datetime
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shared.pin import Input, Pin, PinError, load_json

from . import Refused, files

INPUT = tuple(each.name for each in fields(Input))
SETTABLE = ("labels", "threshold", "output", "input", "trained", "metrics")
TEXT_SETTINGS = ("output", "trained", "channels")
"""Settings with text values, which the user may type without JSON's quotation marks."""
_ANY: dict[str, Any] = {
    "file": "any/file",
    "sha256": "0" * 64,
    "bytes": 1,
    "format": "joblib",
    "version": "any",
    "labels": ["A", "B"],
}


@dataclass(frozen=True)
class Options:
    """The options of one call of `models.publish`.

    Attributes:
        folder: the function's folder.
        file: the model file.
        settings: for the pin; see `parse`.
        labels: in the order of the model's outputs; None without `--labels`.
        modules: the user's own modules that a pickle imports.
        examples: a folder with one folder for each label, or a CSV with a column `label`.
    """

    folder: Path
    file: Path
    settings: Mapping[str, Any]
    labels: tuple[str, ...] | None = None
    modules: tuple[Path, ...] = ()
    examples: Path | None = None


def parse(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse `key=value` pairs with values in JSON; a field of `input` may be written without `input.`.

    Raises:
        ValueError: a pair does not have this form.
        PinError: the field cannot be set, or cannot have this value.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.removeprefix("input.")
        if not equals:
            raise ValueError(f"got {pair!r}")
        if key not in SETTABLE and key not in INPUT:
            raise PinError(f"{key!r} cannot be set; expected one of {', '.join((*SETTABLE, *INPUT))}")
        try:
            value = json.loads(text)
        except ValueError:
            if key not in TEXT_SETTINGS:
                raise ValueError(f"got {pair!r}") from None
            value = text
        if key in INPUT:
            settings["input"] = {**settings.get("input", {}), key: value}
        elif key == "input" and isinstance(value, dict):
            settings["input"] = {**settings.get("input", {}), **value}
        else:
            settings[key] = value
    Pin.parse({**_ANY, **settings})
    return settings


def current_pin(folder: Path) -> dict[str, Any]:
    """Return the content of the function's `model.json`, or an empty object if there is none.

    Raises:
        PinError: it is not valid JSON.
    """
    path = folder / "model.json"
    try:
        content = load_json(path.read_bytes()) if path.exists() else {}
    except PinError as error:
        raise PinError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise PinError(f"{path}: expected a JSON object")
    return content


def draft(options: Options, content: bytes) -> dict[str, Any]:
    """Return the pin of the file, without labels if they are not known yet.

    The present content of `model.json` is kept if it pins this file. If it pins no file yet, its input,
    threshold and output are kept; if the file has the function's own format, its input.
    """
    now, digest = current_pin(options.folder), hashlib.sha256(content).hexdigest()
    form = files.form(options.file)
    # `linear` is a format of our own: the languages in `input` belong to the recipe that trains it.
    own = ("input",) if form == "linear" else ()
    if now.get("sha256") == digest:
        pin = dict(now)
    else:
        written = (
            datetime.datetime.fromtimestamp(options.file.stat().st_mtime, datetime.UTC).date().isoformat()
        )
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        name = options.folder.name
        pin = {
            "file": f"{name}/{name}-{digest[:12]}{options.file.suffix.lower()}",
            "sha256": digest,
            "bytes": len(content),
            "format": form,
            "version": f"{today}-{digest[:7]}",
            "trained": written,
        }
        kept = own if "sha256" in now else ("input", "threshold", "output")
        pin |= {key: now[key] for key in kept if key in now}
    settings = {key: value for key, value in options.settings.items() if key not in ("input", "labels")}
    given = options.settings.get("input", {})
    pin["input"] = {**pin.get("input", {}), **given}
    if options.modules:
        pin["modules"] = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in options.modules
        }
    return {**pin, **settings}


def check_modules(options: Options) -> None:
    """Check that the modules can be put beside `main.py` and imported from there.

    Raises:
        Refused: the name of a module is taken, or it is not a module.
    """
    pinned, form = current_pin(options.folder).get("modules", {}), files.form(options.file)
    for path in options.modules:
        if form != "joblib":
            raise Refused(f"--with {path}: only a pickled model needs modules; this is {form}")
        if path.suffix != ".py" or not path.stem.isidentifier() or not path.is_file():
            raise Refused(f"--with {path}: expected a file of Python code, such as helper.py")
        if path.stem in sys.stdlib_module_names or path.stem == "shared":
            raise Refused(
                f"--with {path}: Python or this project has a module of this name, which would be imported "
                "instead: rename it, and dump the model again"
            )
        place = options.folder / path.name
        if place.exists() and path.name not in pinned and place.read_bytes() != path.read_bytes():
            raise Refused(
                f"--with {path}: {place} is the function's own: rename the module, and dump the model again"
            )
