"""Output: results on standard output, everything else on standard error."""

import shlex
import sys
from collections.abc import Iterable, Sequence


class DeployError(Exception):
    """A command cannot continue; one line for each reason."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = [*lines]
        super().__init__("; ".join(self.lines))


def info(line: str) -> None:
    """Print progress."""
    print(line, file=sys.stderr, flush=True)


def error(line: str) -> None:
    """Print an error, which says how to fix it, as one line."""
    info(f"error: {line}")


def print_command(arguments: Sequence[str]) -> None:
    """Print a command instead of running it."""
    print(shlex.join(arguments), flush=True)
