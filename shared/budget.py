"""A work budget for each request: the decoding cost of all its inputs, checked before the work is done."""

from contextvars import ContextVar

from .errors import TooMuchTogether, TooMuchWork

MAX_WORK = 60_000_000
"""The most work for one input, 0.6 s. A unit is about 10 ns of one core: a pixel of an uncompressed image."""

MAX_REQUEST = 2 * MAX_WORK
"""The most work for all inputs of one request."""

PER_INPUT = 500_000
"""Estimated work of a prediction for one input, with a small network. Only `MAX_INSTANCES` limits its sum."""


class one_request:  # noqa: N801 (read as a verb, like contextlib.suppress)
    """Limit the work that is spent inside this context to `MAX_REQUEST` in all.

    Attributes:
        spent: the work so far that counts for the limit.
        inputs: the number of inputs to predict for, which does not count for it.
    """

    def __init__(self) -> None:
        self.spent = 0
        self.inputs = 0

    def __enter__(self) -> None:
        self._token = _account.set(self)

    def __exit__(self, *_: object) -> None:
        _account.reset(self._token)


_account: ContextVar[one_request | None] = ContextVar("work of this request", default=None)


def expect(inputs: int) -> None:
    """Count inputs that predictions will be made for."""
    if account := _account.get():
        account.inputs += inputs


def total() -> int:
    """Return the known work of this request; 0 outside a request."""
    account = _account.get()
    return account.spent + PER_INPUT * account.inputs if account else 0


def spend(work: int, name: str) -> None:
    """Spend work that is about to be done, in the unit of `MAX_WORK`, on an input called `name`.

    Raises:
        TooMuchWork: it exceeds the limit for one input.
        TooMuchTogether: it exceeds what is left of the limit for the request.
    """
    if work > MAX_WORK:
        raise TooMuchWork(
            f"expected at most {MAX_WORK // 1_000_000} million steps of work; "
            f"this {name} takes about {work // 1_000_000:,} million"
        )
    account = _account.get()
    if account is None:
        return
    if account.spent + work > MAX_REQUEST:
        raise TooMuchTogether(
            f"expected at most {MAX_REQUEST // 1_000_000} million steps of work in one request; with "
            f"this {name} it would be {(account.spent + work) // 1_000_000:,} million: "
            "send it in another request"
        )
    account.spent += work
