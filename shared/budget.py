"""How much work one request may cause: a sum over all its inputs, held where they are decoded."""

from contextvars import ContextVar

from .errors import TooMuchTogether, TooMuchWork

MAX_WORK = 60_000_000
"""Work of one input. The unit is about 10 ns of one core: a pixel of an uncompressed image. 0.6 s in all."""

MAX_REQUEST = 2 * MAX_WORK
"""Work of all inputs of one request."""

PER_INPUT = 500_000
"""Work of an input besides its decoding: what a small network takes. It has no limit but `MAX_INSTANCES`."""


class one_request:  # noqa: N801 (read as a verb, like contextlib.suppress)
    """Hold everything that is spent within to `MAX_REQUEST`, together.

    Attributes:
        spent: the work within that limit.
        inputs: how many inputs are answered, besides.
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
    """Count so many inputs that are about to be answered."""
    if account := _account.get():
        account.inputs += inputs


def total() -> int:
    """The work that this request is known to cause; 0 outside of one."""
    account = _account.get()
    return account.spent + PER_INPUT * account.inputs if account else 0


def spend(work: int, name: str) -> None:
    """Count work that is about to be done, in units of `MAX_WORK`; `name` is what it is done for.

    Raises:
        TooMuchWork: it is over the limit of one input.
        TooMuchTogether: it is over what is left to the request.
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
