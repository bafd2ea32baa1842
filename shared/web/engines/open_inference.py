"""The Open Inference Protocol (V2) over REST, as Triton, KServe and MLServer speak it.

Its tensors have no place for an error, so one bad input fails the request, and the message says which.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Request, Response

from ...classifier import Answer
from ...errors import BadRequest, NotFound, ServiceError, TooLarge, Unusable
from ...settings import Settings
from ...turns import turn
from ..call import Call, Handler, Route
from ..readers import Images, ParsedRequest, Rows, json_body
from ..readers.forms import Part
from ..readers.reader import LARGE, body_of, in_place, yes_or_no
from ..responses import respond_json
from ..service import Service
from . import tensors
from .tensors import Tensor
from .v1 import problem, ready

if TYPE_CHECKING:
    from ..endpoint import Endpoint

HEADER = "Inference-Header-Content-Length"
_PATH = re.compile(
    r"/v2(?:/(health/(?:live|ready))|/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?)?"
)

Content = dict[str, Any]


def route(path: str, endpoint: "Endpoint") -> Route:
    """The route of a path at or below `/v2`."""
    service = endpoint.service
    match = _PATH.fullmatch(path)
    if not match:
        return Route({}, problem)
    health, name, version, leaf = match.groups()
    if name not in (None, service.name) or version not in (None, service.pin.version):
        missing = partial(_missing, service)
        return Route({"GET": missing, "POST": missing}, problem)
    if leaf == "infer":
        return Route({"POST": partial(infer, endpoint)}, problem)
    whole, model, is_ready = partial(_server, service), partial(_model, service), partial(ready, service)
    handlers: dict[str, Handler] = {
        "health/live": _live,
        "health/ready": partial(_ready, service),
        "ready": is_ready,
    }
    return Route({"GET": handlers.get(health or leaf or "", model if name else whole)}, problem)


def _missing(service: Service, call: Call) -> Response:
    raise NotFound(
        f"expected the model {service.name!r} and, if any, its version {service.pin.version!r}; "
        f"got {call.request.path[:100]}"
    )


def _live(_: Call) -> Response:
    return respond_json({"live": True})


def _ready(service: Service, _: Call) -> Response:
    service.classifier()  # loads the model, or raises
    return respond_json({"ready": True})


def _server(service: Service, _: Call) -> Response:
    content = {"name": service.name, "version": service.pin.version, "extensions": ["binary_tensor_data"]}
    return respond_json(content)


def _model(service: Service, _: Call) -> Response:
    return respond_json(metadata(service))


def metadata(service: Service) -> Content:
    """The model's inputs and outputs, in the form of the protocol."""
    reader, pin = service.reader, service.pin
    taken: Content = {"name": reader.fields[-1], "datatype": "BYTES", "shape": [-1]}
    if isinstance(reader, Rows):
        columns = pin.input.columns
        taken |= {"datatype": "FP64", "shape": [-1, len(columns) or -1]}
        taken |= {"parameters": {"columns": json.dumps(columns)}} if columns else {}
    return {
        "name": service.name,
        "versions": [pin.version],
        "platform": pin.format,
        "inputs": [taken],
        "outputs": [
            {name: value for name, value in _output(service, name, [], [-1]).items() if name != "data"}
            for name in _names(service)
        ],
    }


def _names(service: Service) -> list[str]:
    explained = ["explanation"] if service.explanation is not None else []
    return [service.key, "probabilities", "warnings", *explained]


def infer(endpoint: "Endpoint", call: Call) -> Response:
    """Classify the elements of the input tensor."""
    service, inference = endpoint.service, _Inference(endpoint.service)

    def read(request: Request, _: Settings) -> ParsedRequest:
        return inference.parse(request)

    _, results = endpoint.predict(call, read)
    answers = [_good(place, one) for place, one in zip(inference.places, results, strict=True)]
    content = {
        **({"id": inference.id} if inference.id is not None else {}),
        "model_name": service.name,
        "model_version": service.pin.version,
        "outputs": [_output(service, name, answers, [len(answers)]) for name in inference.outputs(answers)],
    }
    return respond_json(content, headers={"Cache-Control": "no-store"})


def _good(place: str, result: Answer | ServiceError) -> Answer:
    """Return an answer; raises the error of the input at this place."""
    if not isinstance(result, ServiceError):
        return result
    if result.status >= 500:
        raise result
    kind = type(result) if isinstance(result, TooLarge) else Unusable
    raise kind(f"{place}: {result}")


def _output(service: Service, name: str, answers: Sequence[Answer], shape: list[int]) -> Content:
    """One output tensor, with a row for each answer."""
    if name == service.key:
        return {"name": name, "datatype": "BYTES", "shape": shape, "data": [one["label"] for one in answers]}
    if name == "probabilities":
        labels = service.pin.labels
        return {
            "name": name,
            "datatype": "FP64",
            "shape": [*shape, len(labels)],
            "parameters": {"labels": json.dumps(labels)},
            "data": [one["probabilities"][label] for one in answers for label in labels],
        }
    empty = "[]" if name == "warnings" else "null"
    texts = [json.dumps(one[name]) if name in one else empty for one in answers]
    return {"name": name, "datatype": "BYTES", "shape": shape, "data": texts}


class _Inference:
    """One request: its inputs, and the outputs that it asks for."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._names: list[str] = []
        self._explain = False
        self.id: str | None = None
        self.places: list[str] = []

    def outputs(self, answers: Sequence[Answer]) -> list[str]:
        """The outputs that the request asks for; by default, those with content."""
        service = self._service
        warned = ["warnings"] if any(one.get("warnings") for one in answers) else []
        explained = ["explanation"] if self._explain else []
        return self._names or [service.key, "probabilities", *warned, *explained]

    def parse(self, request: Request) -> ParsedRequest:
        """Read a request; raises `BadRequest`, `TooLarge` or `UnsupportedType`."""
        body = body_of(request)
        with turn(large=len(body) > LARGE):
            return self._parsed(*tensors.split(body, request.headers.get(HEADER)))

    def _parsed(self, content: Content, binary: memoryview) -> ParsedRequest:
        identifier = content.get("id")
        if not isinstance(identifier, str | None):
            raise BadRequest(f"expected a string in the field 'id'; got {json_body.name_of(identifier)}")
        self.id = identifier
        self._names = self._requested(content.get("outputs"))
        parameters = content.get("parameters")
        explain = parameters.get("explain") if isinstance(parameters, dict) else None
        self._explain = "explanation" in self._names or (explain is not None and yes_or_no(explain))
        items = self._items(tensors.read(content.get("inputs"), binary))
        return self._service.reader.limited(ParsedRequest(items, True, self._explain))

    def _requested(self, outputs: Any) -> list[str]:
        """The names in `outputs`. A request for binary outputs is ignored: all outputs are JSON."""
        known = _names(self._service)
        if outputs is None:
            return []
        given = outputs if isinstance(outputs, list) else [outputs]
        names = [str(each.get("name")) if isinstance(each, dict) else "" for each in given]
        if any(name not in known for name in names):
            raise BadRequest(f"expected in 'outputs' a list of tensors named {', '.join(known)}")
        return list(dict.fromkeys(names))

    def _items(self, inputs: Sequence[Tensor]) -> list[Any]:
        """The inputs in the tensors, with an error in place of each bad one."""
        reader = self._service.reader
        if isinstance(reader, Rows):
            rows = self._rows(inputs)
            self.places = [f"row {number}" for number in range(len(rows))]
            return [in_place(reader.value, row) for row in rows]
        [tensor, *more] = inputs
        if more or tensor.name not in reader.fields or tensor.datatype != "BYTES":
            raise BadRequest(
                f"expected one tensor of BYTES with the name {reader.named}; got "
                + ", ".join(f"{each.name[:50]!r} of {each.datatype}" for each in inputs[:5])
            )
        if len(tensor.shape) == 2 and tensor.shape[1] != 1:
            raise BadRequest(f"{tensor.place}: expected a 'shape' of [n] or [n, 1]; got {list(tensor.shape)}")
        self._check_count(tensor.shape[0])
        self.places = [f"{tensor.place}.data[{number}]" for number in range(len(tensor.values))]
        return [in_place(self._value(tensor), value) for value in tensor.values]

    def _value(self, tensor: Tensor) -> Callable[[Any], Any]:
        """Return the function that reads an element: bytes like a file, a string like one in JSON."""
        reader = self._service.reader

        def read(value: Any) -> Any:
            if isinstance(value, str) and tensor.is_base64 and not isinstance(reader, Images):
                value = _from_base64(value)
            if not isinstance(value, bytes):
                return reader.value(value)
            [item] = reader.part(Part("", value, "", True)).items
            return item

        return read

    def _rows(self, inputs: Sequence[Tensor]) -> list[Any]:
        """Rows, from one tensor of values or from a tensor for each column."""
        fields = self._service.reader.fields
        if any(tensor.datatype == "BYTES" for tensor in inputs):
            raise BadRequest("expected tensors of numbers, such as FP64; got BYTES")
        [first, *more] = inputs
        self._check_count(first.shape[0])
        columns = [[_number(value) for value in tensor.values] for tensor in inputs]
        if not more and first.name in fields and len(first.shape) == 2:
            width = first.shape[1]
            return [columns[0][start * width : (start + 1) * width] for start in range(first.shape[0])]
        if any(tensor.shape not in ((first.shape[0],), (first.shape[0], 1)) for tensor in inputs):
            raise BadRequest(
                f"expected one tensor {fields[-1]!r} with the shape [rows, columns], or a tensor with the "
                "shape [rows] or [rows, 1] for each column, all with the same number of rows"
            )
        names = [tensor.name for tensor in inputs]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def _check_count(self, count: int) -> None:
        most = self._service.settings.max_instances
        if count > most:
            raise TooLarge(f"expected at most {most:,} inputs; got {count:,}")
        if not count:
            raise BadRequest("expected at least one input; the first dimension of the shape is 0")


def _number(value: Any) -> Any:
    """A value of a row: NaN becomes None (missing), and true becomes 1."""
    if isinstance(value, bool):
        return int(value)
    return None if value != value else value  # noqa: PLR0124 (NaN alone differs from itself)


def _from_base64(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise BadRequest("expected base64, as content_type says; this is not base64") from None
