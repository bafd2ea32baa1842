"""A work budget for each request: the decoding cost of all its inputs, checked before the work is done."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from .errors import TooMuchWork

MAX_WORK = 60_000_000
"""The most work for one input, 0.6 s. A unit is about 10 ns of one core: a pixel of an uncompressed image."""

MAX_REQUEST = 2 * MAX_WORK
"""The most work for all inputs of one request."""

PER_INPUT = 500_000
"""Estimated work of predicting for one input with a small network. Only `MAX_INSTANCES` limits its sum."""


@dataclass
class _Account:
    """What a request has spent: within its limit, and besides."""

    spent: int = 0
    inputs: int = 0


_account: ContextVar[_Account | None] = ContextVar("work of this request", default=None)


@contextlib.contextmanager
def one_request() -> Iterator[None]:
    """Hold everything that is spent within to `MAX_REQUEST`, together."""
    token = _account.set(_Account())
    try:
        yield
    finally:
        _account.reset(token)


def expect(inputs: int) -> None:
    """Add inputs that are about to be predicted for."""
    if account := _account.get():
        account.inputs += inputs


def total() -> int:
    """Return the work that this request causes as far as is known; 0 outside a request."""
    account = _account.get()
    return account.spent + PER_INPUT * account.inputs if account else 0


def spend(work: int, name: str) -> None:
    """Spend work that is about to be done, in the unit of `MAX_WORK`, on an input called `name`.

    Raises:
        TooMuchWork: it is over the limit of one input, or of what is left to the request.
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
        raise TooMuchWork(
            f"expected at most {MAX_REQUEST // 1_000_000} million steps of work in one request; with "
            f"this {name} it would be {(account.spent + work) // 1_000_000:,} million: "
            "send it in another request"
        )
    account.spent += work
