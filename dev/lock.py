"""Write lock files: `requirements.in` names the direct packages, `requirements.txt` all, with hashes.

    python -m dev.lock            # every function, and the environment of training, publishing and tests
    python -m dev.lock NAME       # one function
    python -m dev.lock --check    # fail if a lock file does not match its requirements.in

A lock file is valid for Linux and macOS, x86-64 and arm64, Python 3.11 and later, if the packages have wheels
for them. A locked version changes only if requirements.in requires another, or the lock file is deleted.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEV = ROOT / "dev"
CONSTRAINTS = DEV / "constraints.txt"
PYTHON = "3.11"
"""The oldest Python that the lock files support."""


def main() -> None:
    """Write the lock files, or check them."""
    parser = argparse.ArgumentParser(prog="python -m dev.lock", description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", help="a function; default: all")
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    folders = [ROOT / "functions" / arguments.name] if arguments.name else [*functions(), DEV, ROOT / "batch"]
    try:
        if arguments.check:
            outdated = [folder for folder in folders if not current(folder)]
            if outdated:
                names = ", ".join(str(folder.relative_to(ROOT) / "requirements.txt") for folder in outdated)
                sys.exit(f"{names}: requirements.txt does not match requirements.in; run 'make lock'")
            return
        for folder in folders:
            lock(folder)
            print(f"locked {folder.relative_to(ROOT) / 'requirements.txt'}")
    except LockError as error:
        sys.exit(f"not locked: {error}")


class LockError(Exception):
    """The packages cannot be locked; the message says why."""


def functions(root: Path = ROOT) -> list[Path]:
    """Return the folders of all functions with a requirements.in."""
    return sorted(path.parent for path in root.glob("functions/*/requirements.in"))


def lock(folder: Path, output: Path | None = None) -> None:
    """Write the `requirements.txt` for the `requirements.in` in `folder`.

    Versions that are in `output` (default: the folder's own lock) already are kept if they still fit.

    Raises:
        LockError: the requirements conflict, or the package index cannot be reached.
    """
    output = output or folder / "requirements.txt"
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        str(folder / "requirements.in"),
        "--constraint",
        str(CONSTRAINTS),
    ]
    command += [
        "--universal",
        "--python-version",
        PYTHON,
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
    ]
    command += ["--quiet", "--no-config", "--output-file", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own command)
    if done.returncode:
        raise LockError(f"{folder.name}: {done.stderr.strip() or done.stdout.strip()}")


def current(folder: Path) -> bool:
    """Whether locking again would write the same versions. New wheels of old versions change only the hashes.

    Raises:
        LockError: `lock` raises it.
    """
    present = folder / "requirements.txt"
    if not present.exists():
        return False
    with tempfile.TemporaryDirectory() as temporary:
        again = Path(temporary, "requirements.txt")
        shutil.copyfile(present, again)
        lock(folder, again)
        return versions(again) == versions(present)


def versions(path: Path) -> list[str]:
    """Return the lines of a lock file that name a package and its version."""
    return re.findall(r"^[A-Za-z0-9][^\\\n]*", path.read_text(), re.MULTILINE)


if __name__ == "__main__":
    main()
