"""Commands for this machine. They need no environment, only a Python that is new enough."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (an older one is what this is here for)
    sys.exit(
        "expected Python 3.11 or newer, this is {}.{}: name one, as in make serve PYTHON=python3.12".format(
            *sys.version_info
        )
    )
