"""Test a file and publish it: first put it into the store, then pin it."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.pin import Pin

from . import Refused, accuracy, files, labels, probes, staging, stored
from .candidate import Options, check_modules, current_pin, draft

ROOT = Path(__file__).resolve().parents[2]
FOLDER = (
    "save the model as one .keras file with model.save, or convert the folder to LiteRT:\n"
    "  import pathlib, tensorflow as tf\n"
    '  lite = tf.lite.TFLiteConverter.from_saved_model("FOLDER").convert()\n'
    '  pathlib.Path("model.tflite").write_bytes(lite)'
)


@dataclass(frozen=True)
class Result:
    """A file that passed the test.

    Attributes:
        pin: its pin.
        content: its bytes.
        remarks: messages for the user.
        example: the new content of the function's `example.json`.
        folder: the tested copy of the function, with complete requirements.
    """

    pin: Pin
    content: bytes
    remarks: list[str]
    example: dict[str, Any]
    folder: Path


@contextmanager
def examined(options: Options) -> Iterator[Result]:
    """Test the file as it will run.

    Raises:
        Refused: it cannot be served, or an option is missing; the message says what to do.
        PinError: a setting is not valid; the message names it.
    """
    try:
        content = options.file.read_bytes()
    except IsADirectoryError:
        raise Refused(f"{options.file} is a folder, such as TensorFlow's SavedModel: {FOLDER}") from None
    except OSError as error:
        raise Refused(f"{options.file}: cannot be read: {error.strerror}") from None
    files.check(options.file, content)
    check_modules(options)
    pin = draft(options, content)
    with staging.staged(options, pin) as folder:
        added = staging.complete_requirements(folder, pin["format"], content)
        python: list[Path] = []

        def examine(job: Mapping[str, Any]) -> dict[str, Any]:
            if not python:
                python.append(staging.python_of(folder))
            try:
                return staging.examine(folder, python[0], job)
            except Refused as error:  # the message has the file's name in the store
                own = str(error).replace(pin["file"], options.file.name)
                raise Refused(own.replace(Path(pin["file"]).name, options.file.name)) from None

        named = files.labels(pin["format"], content)
        given = options.labels or "labels" in options.settings
        known = "labels" in pin and not given  # the file is pinned already
        if pin["format"] == "joblib" and not known:
            answer = examine({"classes": str(folder.parent / "store" / pin["file"])})
            named = tuple(answer["classes"]) if answer["named"] else ()
            if answer["threshold"] is not None:
                pin.setdefault("threshold", answer["threshold"])
        pin["labels"] = list(_labels(options, pin, named))
        kept = _kept(options, pin, named)
        Pin.parse(pin)
        (folder / "model.json").write_text(json.dumps(pin))
        example = _example(options.folder)
        job = {
            "examples": str(options.examples.resolve()) if options.examples else None,
            "example": example.get("input"),
            "file": str(folder / example["file"]) if "file" in example else None,
        }
        try:
            report = examine(job)
        except Refused as error:
            raise Refused(f"{error}\n({kept})" if kept else str(error)) from None
        remarks = [*filter(None, [kept]), *_remarks(options, pin, report, named, added)]
        yield Result(
            pin=Pin.parse(_completed(pin, report)),
            content=content,
            remarks=[*remarks, *_complete_example(example, report)],
            example=example,
            folder=folder,
        )


def publish(options: Options, result: Result, store: str) -> str:
    """Put the file into the store, then pin it; return a message for the user.

    Raises:
        ModelUnavailable: the store holds another file of that name, or cannot be written to.
    """
    stored.put(result.content, result.pin, store)
    for name in ("requirements.in", "requirements.txt"):
        if (result.folder / name).exists():
            _write(options.folder / name, (result.folder / name).read_text())
    for module in options.modules:
        if module.resolve() != (options.folder / module.name).resolve():
            shutil.copyfile(module, options.folder / module.name)
    if result.example and result.example != _example(options.folder):
        _write(options.folder / "example.json", json.dumps(result.example, indent=1) + "\n")
    name, pin = options.folder.name, result.pin
    now = current_pin(options.folder)
    if now.get("sha256") == pin.sha256 and Pin.parse(now) == pin:
        return f"{name}: {pin.file} is in {store}, and was pinned already, version {pin.version}"
    _write(options.folder / "model.json", json.dumps(pin.content(), indent=1) + "\n")
    done = f"{name}: {pin.file} is in {store} and pinned, version {pin.version}"
    if Path(store).resolve() == options.folder.parents[1] / "models":
        done += f"\ngit ignores it; to commit it: git add -f models/{pin.file}"
    return done


def _labels(options: Options, pin: Mapping[str, Any], named: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels in the order of the outputs; raises `Refused`."""
    now = current_pin(options.folder)
    if options.labels and "labels" in options.settings:
        raise Refused("the labels are given twice: expected --labels or labels=[...]")
    given = options.labels or options.settings.get("labels")
    same_file = now.get("sha256") == pin["sha256"]
    if same_file and given is None:
        return tuple(now["labels"])
    return labels.decide(
        given,
        now.get("labels"),
        named,
        counts="sha256" not in now or same_file or pin["format"] == "linear" or _made_by_new(options.folder),
        sure=pin["format"] != "tflite",
    )


def _made_by_new(folder: Path) -> bool:
    """Whether `models.new` made the function, so that its labels may apply to another model.

    A function with its own `classifier.py` was written for one model; its labels apply to no other.
    """
    return not (folder / "classifier.py").exists()


def _kept(options: Options, pin: Mapping[str, Any], named: tuple[str, ...]) -> str:
    """Return the remark that the labels are those of the model pinned before; empty if they are not."""
    now = current_pin(options.folder)
    given = options.labels or "labels" in options.settings
    if given or named or now.get("sha256") in (None, pin["sha256"]) or pin["format"] == "linear":
        return ""
    return (
        f"the labels are those of the model that was pinned before, {', '.join(pin['labels'])}: "
        "give --labels if this model has others, or has them in another order"
    )


def _remarks(
    options: Options,
    pin: Mapping[str, Any],
    report: Mapping[str, Any],
    named: tuple[str, ...],
    added: list[str],
) -> list[str]:
    """Evaluate the report; return messages for the user.

    Raises:
        Refused: `probes.judge` or `accuracy.judge` raises it.
    """
    units = len(report["scores"][0]) if report["scores"] else None
    remarks = [labels.mapping(report["labels"], named, units)]
    if pin["format"] in files.CODE:
        remarks.append(f"{files.CODE[pin['format']]}: publish only files whose origin you trust")
    remarks += [f"it needs {line}: publishing puts that into the requirements" for line in added]
    old = current_pin(options.folder)
    if pin.get("threshold") not in (None, 0.5, old.get("threshold"), options.settings.get("threshold")):
        remarks.append(f"threshold {pin['threshold']:.6g}, by which the model itself decides")
    if "threshold" in old and "threshold" not in pin and old["threshold"] != 0.5:
        remarks.append(f"threshold 0.5; {old['threshold']} was chosen for another model")
    try:
        remarks += probes.judge(report, pin)
        if options.examples:
            remarks += accuracy.judge(report, pin)
    except Refused as error:
        raise Refused(f"{error}\n({remarks[0]})") from None
    return remarks


def _completed(pin: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pin with the fields of `input` that the test determined."""
    own: dict[str, Any] = {}
    if "size" in report:
        own = {"size": report["size"], "channels": report["channels"]}
        if report["range"] != [0, 1]:
            own["range"] = report["range"]
    if "columns" in report:
        own = {"columns": report["columns"]}
    return {**pin, "input": {**own, **pin.get("input", {})}}


def _example(folder: Path) -> dict[str, Any]:
    """Return the content of the function's `example.json`, or an empty object if there is none."""
    path = folder / "example.json"
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise Refused(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise Refused(f"{path}: expected a JSON object")
    return content


def _complete_example(example: dict[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Put the model's label into the function's example; return messages for the user."""
    answer, label = report["example"], example.get("label")
    if "label" in answer:
        if label is not None and label in report["labels"] and label != answer["label"]:
            return [f"example.json says that its input is {label}; the model answers {answer['label']}"]
        if example:
            example["label"] = answer["label"]
        return []
    if report["kind"] == "rows" and example:  # its columns are those of another model, or it has none yet
        example["input"], example["label"] = report["row"]["input"], report["row"]["label"]
        return [] if label is None else ["example.json gets a row of this model's columns"]
    return [f"change the example in example.json, which the model does not answer: {answer['error']}"]


def _write(path: Path, text: str) -> None:
    """Replace a file atomically, if its content changes."""
    if path.exists() and path.read_text() == text:
        return
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)
