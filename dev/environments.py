"""A virtual environment for each function, with exactly the packages of its `requirements.txt`."""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from shared.pin import PACKAGES

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".venv" / "functions"


class NotInstalled(Exception):
    """The packages of a function cannot be installed; the message says why, and what to do."""


def check(folder: Path, form: str) -> None:
    """Check that the function in `folder` requires a package that runs models of this format.

    Raises:
        NotInstalled: it requires none.
    """
    packages = PACKAGES.get(form)
    if packages and not set(packages) & required(folder):
        own = folder.relative_to(ROOT)
        raise NotInstalled(
            f"{own}/model.json pins the format {form!r}, which needs {packages[0]}: add it to "
            f"{own}/requirements.in, and run 'make lock ONLY={folder.name}'"
        )


def required(folder: Path) -> set[str]:
    """Return the names in the function's `requirements.txt`, normalised.

    Raises:
        NotInstalled: the file is missing.
    """
    path = folder / "requirements.txt"
    if not path.is_file():
        raise NotInstalled(f"{path} is missing: run 'make lock ONLY={folder.name}'")
    names = re.findall(r"^[A-Za-z0-9][A-Za-z0-9._-]*", path.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def environment(folder: Path) -> Path:
    """Return the Python of the function in `folder`; build its environment the first time.

    It is built again if its `requirements.txt` or the Python that runs this has changed.

    Raises:
        NotInstalled: pip cannot install the packages.
    """
    requirements, name = folder / "requirements.txt", folder.name
    place = PLACE / f"{name}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    python, complete = place / "bin" / "python", place / "complete"
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as lock:
        # Two processes that build it at the same time would delete each other's files.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (python.exists() and complete.is_file() and complete.read_text() == sys.version):
            print(f"{name}: installing its packages (once)", flush=True)
            build(place, requirements)
            complete.write_text(sys.version)
        for old in set(PLACE.glob(f"{name}-{'[0-9a-f]' * 12}")) - {place}:
            shutil.rmtree(old)
    return python


def build(place: Path, requirements: Path) -> None:
    """Make the environment; raises `NotInstalled`."""
    python = str(place / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    try:
        for command in ([sys.executable, "-m", "venv", "--clear", str(place)], pip):
            subprocess.run(command, check=True)  # noqa: S603 (our own commands)
    except subprocess.CalledProcessError:
        raise NotInstalled(
            f"{requirements.relative_to(ROOT)}: its packages cannot be installed; the lines above say why"
        ) from None
