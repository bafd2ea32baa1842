"""BigQuery's remote functions: `calls` in, `replies` out, one for each row, in order.

BigQuery retries a 408, 429, 500, 503 or 504 up to twenty times. Any other status fails the query, and
BigQuery shows its `errorMessage`. So an error in a row is the reply for that row, and an error in the
statement is a 4xx that says how to correct it.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Request, Response

from ...errors import BadRequest, ServiceError, TimedOut, TooLarge, TooMuchTogether
from ...settings import Settings
from ...turns import turn
from ..access import Facts
from ..call import Call, Route
from ..readers import Images, ParsedRequest, Rows, json_body
from ..readers.reader import LARGE, body_of, in_place, yes_or_no
from ..readers.rows import value_of
from ..responses import respond_json
from ..service import Service

if TYPE_CHECKING:
    from ..body import Take
    from ..endpoint import Endpoint

MAX_MESSAGE = 1000
"""Bytes of an error message; BigQuery shows less than a kilobyte."""
MAX_ID = 200
SMALLER = "set max_batching_rows in the OPTIONS of the SQL function to"


class Null(ServiceError):
    """All arguments are NULL, so the reply is NULL, too."""


def route(endpoint: "Endpoint") -> Route:
    """The route of the path that BigQuery calls."""
    return Route({"POST": partial(answer, endpoint)}, problem)


def answer(endpoint: "Endpoint", call: Call) -> Response:
    """Reply to each call, in order."""
    service = endpoint.service

    def read(request: Request, _: Settings) -> ParsedRequest:
        return parse(request, service, call.facts)

    fetch = partial(_fetch, service.settings) if isinstance(service.reader, Images) else None
    _, results = endpoint.predict(call, read, fetch)
    for place, result in enumerate(results):
        if isinstance(result, TooMuchTogether) and len(results) > 1:
            raise TooLarge(
                f"these {len(results)} rows are too much work at once; {_fewer(max(1, place // 2))}"
            )
    replies = [None if isinstance(one, Null) else endpoint.instance(call, one) for one in results]
    return respond_json({"replies": replies}, headers={"Cache-Control": "no-store"})


def problem(error: ServiceError, identifier: str) -> Response:
    """Make the response of an error; its message, which BigQuery shows, says what to do."""
    message = f"{error.detail} ({identifier})" if identifier else error.detail
    if isinstance(error, TooLarge | TimedOut) and "max_batching_rows" not in message:
        message = f"{message[: MAX_MESSAGE // 2]}; {SMALLER} a smaller number"
    short = message.encode("utf-8", "replace")[:MAX_MESSAGE].decode("utf-8", "ignore")
    return respond_json({"errorMessage": short}, error.status, error.headers)


def parse(request: Request, service: Service, facts: Facts) -> ParsedRequest:
    """Read the inputs of `calls`; fields that BigQuery adds are ignored.

    Raises:
        BadRequest: there are no `calls`, or their arguments are not those of the function.
        TooLarge: there are more than `MAX_INSTANCES` of them.
    """
    body = body_of(request)
    with turn(large=len(body) > LARGE):
        return _parsed(json_body.loads(body), service, facts)


def _parsed(content: dict[str, Any], service: Service, facts: Facts) -> ParsedRequest:
    request_id, calls = content.get("requestId"), content.get("calls")
    facts.request_id = request_id[:MAX_ID] if isinstance(request_id, str) else ""
    if not isinstance(calls, list):
        raise BadRequest(
            "expected the field 'calls', a list of argument lists, as BigQuery's remote functions send it; "
            f"got {json_body.name_of(calls)}"
        )
    most = service.settings.max_instances
    if len(calls) > most:
        raise TooLarge(f"expected at most {most:,} rows in one request; got {len(calls):,}; {_fewer(most)}")
    explain = _explain(content.get("userDefinedContext"))
    items = [in_place(partial(_input, service), _arguments(each, service)) for each in calls]
    return service.reader.limited(ParsedRequest(items, True, explain))


def _fewer(rows: int) -> str:
    return f"{SMALLER} {rows:,}".replace(",", "")


def _explain(context: Any) -> bool:
    """Whether the context asks for explanations; raises `BadRequest` if it has anything else."""
    if isinstance(context, ServiceError):
        raise context
    if context is None:
        return False
    if not isinstance(context, dict) or set(context) - {"explain"}:
        raise BadRequest('expected no other user_defined_context than [("explain", "1")]')
    return yes_or_no(context.get("explain", "0"))


def _arguments(arguments: Any, service: Service) -> list[Any]:
    """Check the number of arguments, which is the same for all calls of a SQL function.

    Raises:
        BadRequest: the function takes another number of arguments.
    """
    if not isinstance(arguments, list):
        raise BadRequest(f"expected a list of arguments for each call; got {json_body.name_of(arguments)}")
    expected = f"one argument, {service.reader.what}"
    if isinstance(service.reader, Rows):
        columns = service.pin.input.columns
        if len(arguments) in (1, len(columns) or len(arguments)) and arguments:
            return arguments
        names = f" ({', '.join(columns)})"[:300] if columns else ""
        expected = (
            f"one argument, the row as JSON, or {len(columns) or 'all'} columns in the model's order{names}"
        )
    elif len(arguments) == 1:
        return arguments
    raise BadRequest(f"expected {expected}; the SQL function passes {len(arguments)}: create it again")


def _input(service: Service, arguments: list[Any]) -> Any:
    """Read one input; raises `ServiceError` if it is bad, or `Null`."""
    if all(each is None for each in arguments):
        raise Null("NULL")
    reader = service.reader
    if isinstance(reader, Rows):
        return reader.instance(_row(arguments))
    if isinstance(reader, Images):
        from .objects import signed_url

        if (url := signed_url(arguments[0], service.settings)) is not None:
            return url
    return reader.instance(arguments[0])


def _row(arguments: list[Any]) -> Any:
    """A row from one JSON argument, or from one argument for each column; some numbers are strings."""
    [first] = arguments[:1]
    if isinstance(first, str) and len(arguments) == 1:
        first = _json(first)
    if isinstance(first, dict):
        return {name: value_of(each) if isinstance(each, str) else each for name, each in first.items()}
    values = first if isinstance(first, list) and len(arguments) == 1 else arguments
    return [value_of(each) if isinstance(each, str) else each for each in values]


def _json(text: str) -> Any:
    try:
        return json_body.parse(text)
    except BadRequest as error:
        raise BadRequest(str(error).replace("the body is not", "the row is not", 1)) from None


def _fetch(settings: Settings, parsed: ParsedRequest, call: Call, take: "Take") -> ParsedRequest:
    """Fetch the objects of signed URLs."""
    from .objects import SignedUrl, fetch

    if not any(isinstance(item, SignedUrl) for item in parsed.items):
        return parsed
    return ParsedRequest(fetch(parsed.items, call, take, settings), parsed.many, parsed.explain)
