"""Test a staged function in its own environment: load the model, and predict.

This file is copied beside `main.py` and run there, so it imports only what the function has.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MAX_EXAMPLES, MAX_EXAMPLES_OTHERWISE = 2000, 200
"""The most examples to predict for, with the pin's settings and with each alternative."""
BATCH = 32
RANGES = ((0, 1), (0, 255), (-1, 1))
UNNAMED = {"images": ("image", "file", "path"), "texts": ("text",)}


def main() -> None:
    """Read the job, run the test, write the report."""
    job, answer = map(Path, sys.argv[1:])
    # As in functions-framework, installed packages come before the function's own folder.
    sys.path[:] = [*filter(None, sys.path), str(Path.cwd())]
    Path(answer).write_text(json.dumps(report(Path.cwd(), json.loads(job.read_text()))))


def report(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Examine the function in `folder`.

    The job has `classes`, a file, if the report is to have its classes only. Otherwise it has `examples` (a
    path, or None), `example` (an instance as in `example.json`, or None) and `file` (its image, or None). The
    report has `error`, a message for the user, if the file cannot be served.
    """
    try:
        if "classes" in job:
            return _classes(job["classes"])
        service, classifier = _load(folder)
        found = {"kind": _kind(service), "labels": list(classifier.labels), **_facts(classifier)}
        found["probes"], found["scores"] = _probe(classifier)
        found["example"] = _example(classifier, found["kind"], job)
        pin = json.loads((folder / "model.json").read_text())
        examples = _examples(Path(job["examples"]), found["kind"], service) if job["examples"] else []
        if "columns" in found:
            found["row"] = _row(classifier, examples)
        if examples:
            found["examples"] = _answers(classifier, _spread(examples, MAX_EXAMPLES))
            found["total"] = len(examples)
        few = _spread(examples, MAX_EXAMPLES_OTHERWISE)
        found["few"] = _answers(classifier, few) if few else None
        if found["kind"] == "images" and "size" in found:
            found["otherwise"] = {}
            for words, settings in _settings(found):
                changed = {**pin, "input": {**pin.get("input", {}), **settings}}
                (folder / "model.json").write_text(json.dumps(changed))
                _, other = _load(folder)
                found["otherwise"][words] = {
                    "probes": _probe(other)[0],
                    "examples": _answers(other, few) if few else None,
                }
            (folder / "model.json").write_text(json.dumps(pin))
    except SystemExit as error:
        return {"error": str(error)}
    except Exception as error:
        from shared.errors import ServiceError

        if isinstance(error, ServiceError | Unreadable):
            return {"error": str(error)}
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
        return {"error": f"it loads, but cannot answer ({type(error).__name__}: {reason})"}
    return found


class Unreadable(Exception):
    """The examples cannot be read; the message says what was expected."""


def _classes(file: str) -> dict[str, Any]:
    from shared.runtimes import sklearn

    model = sklearn.Model(Path(file).read_bytes(), Path(file).name)
    return {"classes": list(model.classes), "named": model.named, "threshold": model.threshold}


def _load(folder: Path) -> tuple[Any, Any]:
    """Load the function as the platform does; return its service and its classifier."""
    import functions_framework

    for name in [name for name in sys.modules if name == "main" or name.startswith("main.")]:
        del sys.modules[name]
    create: Callable[..., Any] = functions_framework.create_app
    create("predict", str(folder / "main.py"))
    service = sys.modules["main"].predict.service
    return service, service.classifier()


def _kind(service: Any) -> str:
    names = [each.__name__.lower() for each in type(service.reader).__mro__]
    return next((name for name in names if name in ("images", "texts", "rows")), names[0])


def _facts(classifier: Any) -> dict[str, Any]:
    """Return what the classifier knows about its model, for the pin and for the checks."""
    found: dict[str, Any] = {}
    network = getattr(classifier, "network", None)
    if network is not None:
        about = network.about()
        found |= {
            "size": list(classifier.size),
            "channels": classifier.channels,
            "range": list(classifier.range),
            "said": network.range is not None,
            "ending": about.ending,
            "scaling": about.scaling,
        }
    if hasattr(classifier, "columns"):
        found["columns"] = list(classifier.columns)
    return found


def _inputs(classifier: Any) -> list[Any]:
    """Return inputs that the model must answer; images are black, white, grey, colours and noise."""
    sample = classifier.sample()
    if isinstance(sample, str):
        return [sample, "0", "Good. Bad.", "a " * 500]
    if isinstance(sample, np.ndarray) and sample.ndim == 1:
        return [
            each for each in (sample, sample + 1, sample - 1, sample + 1000) if _accepts(classifier, each)
        ]
    if not isinstance(sample, np.ndarray) or sample.ndim != 3:
        return [sample]
    random = np.random.default_rng(0)
    levels: list[Any] = [0, 255, 128, (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    flat = [np.broadcast_to(np.array(level, sample.dtype), sample.shape) for level in levels]
    ramp = np.linspace(0, 255, sample.shape[1])[None, :, None]
    noise = [random.integers(0, high, sample.shape) for high in (256, 128)]
    return [np.ascontiguousarray(each, dtype=sample.dtype) for each in (*flat, ramp + 0 * sample, *noise)]


def _accepts(classifier: Any, row: Any) -> bool:
    """Whether the model accepts a row. It may know only some values, or take logarithms of positive ones."""
    try:
        classifier.predict([row])
    except Exception:
        return False
    return True


def _probe(classifier: Any) -> tuple[list[list[float]], list[list[float]]]:
    """Return the probabilities for the probes, and a network's scores for them."""
    scores: list[list[float]] = []
    network = getattr(classifier, "network", None)
    if network is not None:
        run = network.run

        def recorded(batch: Any) -> Any:
            outputs = run(batch)
            scores.extend(outputs.scores.astype(float).tolist())
            return outputs

        network.run = recorded
    try:
        outputs = classifier.predict(_inputs(classifier))
    finally:
        if network is not None:
            del network.run
    return [_probabilities(classifier, each) for each in outputs], scores


def _probabilities(classifier: Any, output: Any) -> list[float]:
    exact = getattr(output, "probabilities", None)
    if exact is not None:
        return [float(each) for each in exact]
    answer = classifier.encode(output, False)
    return [float(answer["probabilities"][label]) for label in classifier.labels]


def _example(classifier: Any, kind: str, job: dict[str, Any]) -> dict[str, Any]:
    """Return the label of the function's own example, or the error."""
    raw = Path(job["file"]).read_bytes() if job["file"] else job["example"]
    if raw is None:
        return {"error": "there is none"}
    [answer] = _classified(classifier, [raw if kind != "images" or job["file"] else b""])
    return {"error": str(answer)} if isinstance(answer, Exception) else {"label": answer["label"]}


def _row(classifier: Any, examples: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a row for the function's example, and its label: one of the examples, or the model's sample."""
    rows = [{name: row.get(name) for name in classifier.columns} for _, row in examples[:100]]
    sample = classifier.sample().tolist()
    rows.append(dict(zip(classifier.columns, map(_short, sample), strict=True)))
    for row, answer in zip(rows, _classified(classifier, rows), strict=True):
        if isinstance(answer, dict):
            return {"input": row, "label": answer["label"]}
    raise Unreadable(f"a row such as {json.dumps(rows[-1])[:200]} is not answered: {answer}")


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _classified(classifier: Any, raws: Sequence[Any]) -> list[Any]:
    from shared.classifier import classify

    answers: list[Any] = []
    for start in range(0, len(raws), BATCH):
        answers += classify(classifier, raws[start : start + BATCH], False)
    return answers


def _settings(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the other settings that a network may have been trained with, as options and as fields."""
    mine = tuple(found["range"]), found["channels"]
    channels = ("RGB", "BGR") if found["channels"] != "grey" else ("grey",)
    for black, white in RANGES if not found["said"] else [mine[0]]:
        for order in channels:
            if ((black, white), order) != mine:
                parts = [f"range=[{black},{white}]"] if (black, white) != mine[0] else []
                parts += [f"channels={order}"] if order != mine[1] else []
                yield " ".join(parts), {"range": [black, white], "channels": order}


def _spread(examples: list[tuple[str, Any]], most: int) -> list[tuple[str, Any]]:
    """Return about `most` examples, with each label in proportion, and at least one of each."""
    step = max(1, -(-len(examples) // most))
    names = sorted({label for label, _ in examples})
    return [each for name in names for each in [one for one in examples if one[0] == name][::step]]


def _answers(classifier: Any, examples: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the true label, the answered one and the second label's probability, for each example."""
    from shared.errors import ServiceError

    raws = [each() if callable(each) else each for _, each in examples]
    rows, unusable = [], []
    for (truth, _), answer in zip(examples, _classified(classifier, raws), strict=True):
        if isinstance(answer, ServiceError):
            unusable.append(str(answer)[:300])
        else:
            rows.append((truth, answer["label"], answer["probabilities"][classifier.labels[1]]))
    truths, labels, seconds = (list(each) for each in zip(*rows, strict=True)) if rows else ([], [], [])
    return {"truths": truths, "labels": labels, "seconds": seconds, "unusable": unusable}


def _examples(path: Path, kind: str, service: Any) -> list[tuple[str, Any]]:
    """Read the examples: (label, the raw input as a reader returns it, or a call that reads it).

    Raises:
        Unreadable: there are none, or they do not have a form that this kind of function takes.
    """
    if path.is_dir():
        examples = list(_from_folders(path, kind))
        if not examples:
            raise Unreadable(f"{path}: expected one folder for each label, with files in it")
        return examples
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, header = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{path}: expected a folder, or a CSV in UTF-8: {error}") from None
    named = [name for name in header if name.strip().casefold() == "label"]
    if len(named) != 1 or not rows:
        raise Unreadable(f"{path}: expected rows, and a column 'label'; the columns are {', '.join(header)}")
    others = [name for name in header if name != named[0]]
    if kind == "rows":
        return [(row[named[0]], {name: _number(row[name]) for name in others}) for row in rows]
    fields = (*getattr(service.reader, "fields", ()), *UNNAMED.get(kind, ()))
    chosen = [name for name in others if name in fields] or (others if len(others) == 1 else [])
    if len(chosen) != 1:
        raise Unreadable(f"{path}: expected one column {' or '.join(fields)}; there are {', '.join(others)}")
    if kind == "images":
        return [(row[named[0]], _content(path.parent / row[chosen[0]])) for row in rows]
    return [(row[named[0]], row[chosen[0]]) for row in rows]


def _from_folders(path: Path, kind: str) -> Iterator[tuple[str, Any]]:
    if kind == "rows":
        raise Unreadable(f"{path}: expected a CSV with a column 'label' and those of the table")
    for folder in sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")):
        for file in sorted(each for each in folder.iterdir() if each.is_file() and each.name[0] != "."):
            if kind == "images":
                yield folder.name, _content(file)
            else:
                yield folder.name, file.read_text(encoding="utf-8-sig", errors="replace")


def _content(file: Path) -> Callable[[], bytes]:
    return lambda: file.read_bytes() if file.is_file() else b""


def _number(text: str | None) -> Any:
    try:
        return float(text) if text else None
    except ValueError:
        return text
