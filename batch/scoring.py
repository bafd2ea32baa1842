"""Score the values of a column with a function's own reader and classifier.

    from batch.scoring import score
    score("review", ["I loved it.", None, ""])

Any engine that can call Python can use this, without Beam; `batch/README.md` has the code for each.
"""

import importlib
import logging
import math
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from shared.classifier import classify
from shared.errors import BadRequest, ServiceError
from shared.web.readers import Rows
from shared.web.service import Service

from .errors import JobError

Score = dict[str, Any]
"""`label`, `probabilities`, `warnings`, `model` (the version) and `error`, which is None or has `code` and
`message`; for a bad value, label and probabilities are None."""

NULL = {"code": "null", "message": "expected a value; it is NULL"}
LONGEST = 1000
"""Characters of an error's message, which may quote the input."""


def score(name: str, values: Iterable[Any]) -> list[Score | None]:
    """Score each value with the model that the function `name` pins, in order.

    NULL gives None, also in the form of NaN or of the NULLs of pandas, Arrow and numpy. A bad value has its
    `error` in its place; no value raises an exception.

    Args:
        name: a folder of functions/.
        values: texts, images (their bytes, or base64), or rows of a table (mappings, or lists in the model's
            order), as the function reads them.

    Raises:
        JobError: there is no such function, or it is not valid.
        ModelUnavailable: the model cannot be loaded, which happens once in a process.
    """
    service = load(name)
    items = [_item(service, value) for value in values]
    given = [item for item in items if item is not None]
    answers = iter(classify(service.classifier(), given, explain=False))
    return [None if item is None else _score(next(answers), service.pin.version) for item in items]


def columns(name: str, values: Iterable[Any]) -> dict[str, list[Any]]:
    """Score values as `score` does, for engines of columns: `label`, `probabilities` and `error` for each.

    The error is a string with its code and message. All three are None for NULL.
    """
    scores = score(name, values)
    faults = [each["error"] if each else None for each in scores]
    return {
        "label": [each["label"] if each else None for each in scores],
        "probabilities": [each["probabilities"] if each else None for each in scores],
        "error": [f"{fault['code']}: {fault['message']}" if fault else None for fault in faults],
    }


@cache
def load(name: str) -> Service:
    """Import the function `name` and return its `Service`, whose `classifier()` loads the model.

    Raises:
        JobError: there is no such function, or its pin or a setting is not valid.
    """
    # The import configures logging and warnings. Here they belong to the engine, so restore them.
    handlers, level = logging.root.handlers[:], logging.root.level
    with warnings.catch_warnings():
        try:
            service = importlib.import_module(f"functions.{name}.main").predict.service
        except ModuleNotFoundError as error:
            if error.name not in (f"functions.{name}", f"functions.{name}.main"):
                raise JobError(f"functions/{name} needs a package that is not installed: {error}") from error
            raise JobError(
                f"functions/{name} is missing: expected the name of a folder of functions/"
            ) from None
        except SystemExit as error:
            raise JobError(str(error)) from None
        finally:
            logging.captureWarnings(False)
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
    if not isinstance(service, Service):
        raise JobError(f"functions/{name}/main.py: expected `predict = start(...)`")
    return service


def _item(service: Service, value: Any) -> Any:
    """The input that the reader makes of a value, or an error; None for NULL."""
    try:
        value = plain(value)
        return None if value is None else _read(service, value)
    except ServiceError as error:
        return error
    except Exception as error:  # a value whose own methods raise errors
        return BadRequest(f"expected {service.reader.what}; got {type(value).__name__}: {error!r}")


def _read(service: Service, value: Any) -> Any:
    reader = service.reader
    if isinstance(value, bytes) and not isinstance(reader, Rows):
        [item] = reader.raw(value, "", {}).items
        return item
    if isinstance(reader, Rows) and isinstance(value, dict):
        return reader.value(value)
    return reader.instance(value)


def plain(value: Any) -> Any:  # noqa: PLR0911 (a line for each library)
    """Convert a value to Python's own types: None for any kind of NULL, dicts for rows."""
    kind = type(value)
    if value is None or kind in (str, bytes, int, bool):
        return value
    if kind.__name__ in ("NAType", "NaTType"):  # of pandas
        return None
    if isinstance(value, float) or kind.__name__ == "Decimal":
        return None if math.isnan(value) else float(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    # Scalars of Arrow, rows of Spark, and what numpy and pandas have.
    for method in ("as_py", "asDict", "tolist"):
        if hasattr(value, method):
            return plain(getattr(value, method)())
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def _score(answer: Mapping[str, Any] | ServiceError, version: str) -> Score:
    if isinstance(answer, ServiceError):
        return failed(answer.code, str(answer), version)
    return {
        "label": answer["label"],
        "probabilities": answer["probabilities"],
        "warnings": answer.get("warnings", []),
        "model": version,
        "error": None,
    }


def failed(code: str, message: str, version: str) -> Score:
    """The score of a value that cannot be scored."""
    error = {"code": code, "message": message[:LONGEST]}
    return {"label": None, "probabilities": None, "warnings": [], "model": version, "error": error}
