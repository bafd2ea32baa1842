"""Look for known vulnerabilities in the lock files of all functions.

    python -m dev.audit PATH_OF_PIP_AUDIT

Exits with 1 if there are any, and with 2 if a lock file was not audited because no database can be reached.
"""

import argparse
import subprocess
import sys

from .lock import functions


def main() -> int:
    """Audit each lock file, and print the result."""
    parser = argparse.ArgumentParser(prog="python -m dev.audit", description=__doc__.partition("\n")[0])
    parser.add_argument("program", help="the path of pip-audit")
    program = parser.parse_args().program
    status = 0
    for folder in functions():
        command = [program, "--require-hashes", "--disable-pip", "--progress-spinner=off"]
        done = subprocess.run(  # noqa: S603 (the environment's own command)
            [*command, "--requirement", str(folder / "requirements.txt")],
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        if "could not be audited" in output or (done.returncode and not done.stdout.strip()):
            print(f"{folder.name}: not audited: no database of vulnerabilities can be reached")
            status = 2
        else:
            print(f"{folder.name}: {output.strip()}")
            status = status or int(done.returncode != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
