"""Commands for the developer's machine. They need only a Python that is new enough, no environment."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (this message is for older ones)
    sys.exit(
        "expected Python 3.11 or newer, this is {}.{}: name one, as in make serve PYTHON=python3.12".format(
            *sys.version_info
        )
    )
