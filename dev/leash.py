"""Run a command that is stopped when the process that started it ends, however that ends. On Linux only.

    python -m dev.leash PARENT COMMAND [ARGUMENT ...]

PARENT is the process ID of the one that starts this. Elsewhere the command just runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def stop_with(parent: int) -> None:
    """Let this process, and what it becomes by `exec`, get SIGTERM when its parent ends, even by SIGKILL.

    Exits if the parent has ended already.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    stop_with(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (our own command)
