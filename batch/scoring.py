"""A function's own reader and classifier, asked for the values of a column.

    from batch.scoring import score
    score("review", ["I loved it.", None, ""])

Any engine that can call Python can use it; `batch/README.md` has twelve lines for each. It needs no Beam.
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
"""`label`, `probabilities`, `warnings`, `model` (its version) and `error`, which is None or has `code` and
`message`; of a bad value, label and probabilities are None."""

NULL = {"code": "null", "message": "expected a value; it is NULL"}
LONGEST = 1000
"""Characters of an error's message: one may quote what came."""


def score(name: str, values: Iterable[Any]) -> list[Score | None]:
    """Score each value with the model that the function `name` pins, in order.

    NULL, as None, NaN or what pandas, Arrow and numpy have for it, gives None. Whatever is wrong with a value
    is said in its place, under `error`; no value raises.

    Args:
        name: a folder of functions/.
        values: texts, images (their bytes, or base64), or rows of a table (mappings, or lists in the model's
            order), as the function reads them.

    Raises:
        JobError: there is no such function, or it is not valid.
        ModelUnavailable: the model cannot be had. It is loaded once in a process.
    """
    service = load(name)
    items = [_item(service, value) for value in values]
    given = [item for item in items if item is not None]
    answers = iter(classify(service.classifier(), given, explain=False))
    return [None if item is None else _score(next(answers), service.pin.version) for item in items]


def columns(name: str, values: Iterable[Any]) -> dict[str, list[Any]]:
    """Score values as `score` does, for engines of columns: `label`, `probabilities` and `error` for each.

    The error is a text, of its code and message. All three are None for NULL.
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
    """Import the function `name` and return what it is made of; its model is loaded by `classifier()`.

    Raises:
        JobError: there is no such function, or its pin or a setting is not valid.
    """
    # The function takes over logging and warnings, as it does in a server. Here they are the engine's.
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
    """What the reader makes of a value, or what is wrong with it; None for NULL."""
    try:
        value = plain(value)
        return None if value is None else _read(service, value)
    except ServiceError as error:
        return error
    except Exception as error:  # of a type whose very methods fail
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
    """Return a value in Python's own types: None for any kind of NULL, dicts for rows."""
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
