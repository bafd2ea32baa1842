"""What people are told: results on standard output, the rest on standard error."""

import shlex
import sys
from collections.abc import Iterable, Sequence


class DeployError(Exception):
    """Something stands in the way, or went wrong; each fault is a line."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = [*lines]
        super().__init__("; ".join(self.lines))


def info(line: str) -> None:
    """Tell how it goes."""
    print(line, file=sys.stderr, flush=True)


def error(line: str) -> None:
    """Tell a fault, and how to mend it, in one line."""
    info(f"error: {line}")


def print_command(arguments: Sequence[str]) -> None:
    """Print a command that a dry run leaves out."""
    print(shlex.join(arguments), flush=True)
