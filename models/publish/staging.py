"""Examine a file as it will run: the function's folder as it is deployed, in an environment of its own."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dev.environments import environment

from . import Refused, files
from .candidate import Wish

ROOT = Path(__file__).resolve().parents[2]
EXAMINER = Path(__file__).with_name("inside.py")
NEEDED = {
    "tflite": ("ai-edge-litert",),
    "keras": ("tensorflow-cpu",),
    "h5": ("tensorflow-cpu",),
    "joblib": ("scikit-learn", "joblib"),
}
"""The packages that a format needs."""
ALSO = {"tensorflow-cpu": ("tensorflow-cpu", "tensorflow")}
"""Packages that will do as well."""
OLDEST = {(3, 14): "1.7.2", (3, 13): "1.5.2", (3, 12): "1.3.1", (3, 11): "1.1.3"}
"""The first scikit-learn of which PyPI has wheels for a Python, and for those after it."""
SECONDS = 600
"""How long an examination may take: TensorFlow and a large network, with a thousand examples."""
SWITCH = "PUBLISH_PYTHON"
"""For tests: a Python that has the function's packages already, instead of an environment built for them."""


@contextmanager
def staged(wish: Wish, pin: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a copy of the function as it would be deployed with this pin, and a store with the file."""
    (ROOT / "build").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=ROOT / "build", prefix="publish-") as temporary:
        folder = Path(temporary, wish.folder.name)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(wish.folder, folder, ignore=ignored)
        shutil.copytree(ROOT / "shared", folder / "shared", ignore=ignored)
        for module in wish.modules:
            shutil.copyfile(module, folder / module.name)
        (folder / "model.json").write_text(json.dumps(pin))
        place = Path(temporary, "store", pin["file"])
        place.parent.mkdir(parents=True)
        place.symlink_to(wish.file.resolve())
        yield folder


def complete_requirements(folder: Path, form: str, content: bytes) -> list[str]:
    """Add what the format needs to the requirements of the function in `folder`; returns the lines added.

    A package gets the version that wrote the file, if the file says it; otherwise the one that is installed
    here. The scikit-learn of a function follows the file: no other reads it.

    Raises:
        Refused: the packages do not fit together.
    """
    written = files.versions(form, content)
    _check_age(written.get("scikit-learn", ""))
    source = folder / "requirements.in"
    target = source if source.exists() else folder / "requirements.txt"
    text = target.read_text() if target.exists() else ""
    added = []
    for package in NEEDED.get(form, ()):
        line = f"{package}=={written.get(package) or _version(package)}"
        found = [
            re.search(rf"^{name}\b(?!-).*$", text, re.MULTILINE) for name in ALSO.get(package, (package,))
        ]
        asked = next(filter(None, found), None)
        if asked is None:
            text = f"{text.rstrip()}\n{line}\n".lstrip()
            added.append(line)
            if package == "tensorflow-cpu":
                keras = f"keras=={_keras(written.get('keras', ''))}"
                text += f"{keras}\n"
                added.append(keras)
        elif package in written and source.exists() and asked[0].partition(" ")[0] != line:
            text = text.replace(asked[0], line)
            added.append(f"{line}, instead of {asked[0]}")
    if added:
        target.write_text(text)
    if source.exists() and not _locked(folder):
        _lock(folder)
    return added


def _locked(folder: Path) -> bool:
    """Whether the lock has all that `requirements.in` asks for, at the versions that it pins."""
    lock = folder / "requirements.txt"
    asked = re.findall(
        r"^[A-Za-z0-9][\w.-]*(?:==[\w.]+)?", (folder / "requirements.in").read_text(), re.MULTILINE
    )
    present = lock.read_text() if lock.exists() else ""
    return all(re.search(rf"^{re.escape(line)}(?![\w.-])", present, re.MULTILINE) for line in asked)


def _check_age(sklearn: str) -> None:
    """Refuse a scikit-learn that was never made for this Python; raises `Refused`."""
    oldest = next(first for python, first in OLDEST.items() if sys.version_info >= python)
    if sklearn and _parts(sklearn) < _parts(oldest):
        raise Refused(
            f"the file was written with scikit-learn {sklearn}; the oldest that can be installed with Python "
            f"{sys.version_info[0]}.{sys.version_info[1]} is {oldest}: train it again with a current one, "
            "and dump that"
        )


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _keras(written: str) -> str:
    """The Keras that wrote the file, unless this TensorFlow wants a newer one: Keras reads older files."""
    here = _version("keras")
    needs = " ".join(importlib.metadata.requires("tensorflow-cpu") or [])
    oldest = re.search(r"keras>=([\d.]+)", needs)
    return written if written and oldest and _parts(written) >= _parts(oldest[1]) else here


def _lock(folder: Path) -> None:
    from dev.lock import LockError, lock

    try:
        lock(folder)
    except LockError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise Refused(f"the packages it needs do not fit together: {' '.join(lines)[:600]}") from error


def python_of(folder: Path) -> Path:
    """Return the Python of the environment with the function's packages, which is built once.

    Raises:
        Refused: they cannot be installed.
    """
    if SWITCH in os.environ:
        return Path(os.environ[SWITCH])
    try:
        with redirect_stdout(sys.stderr):  # a dry run prints the pin, and nothing else
            return environment(folder)
    except Exception as error:
        raise Refused(f"the function's packages cannot be installed: {error}") from error


def examine(folder: Path, python: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """Have the staged function examined in a process of its own; see `inside` for the job and the report.

    Raises:
        Refused: it does not start, cannot load the file, or takes too long.
    """
    asked, answer = folder.parent / "job.json", folder.parent / "report.json"
    asked.write_text(json.dumps(job))
    answer.unlink(missing_ok=True)
    shutil.copyfile(EXAMINER, folder / "examination.py")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "WARM_UP")}
    own = {
        "MODEL_STORE": str(folder.parent / "store"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(python), "-c", "import examination; examination.main()", str(asked), str(answer)]
    try:
        done = subprocess.run(  # noqa: S603 (our own command)
            command,
            cwd=folder,
            env={**kept, **own},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"it took more than {SECONDS} seconds to load it and to answer with it") from None
    finally:
        (folder / "examination.py").unlink()
    if not answer.exists():
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise Refused(f"the function does not start with it (status {done.returncode}): {lines[-1][:300]}")
    report = json.loads(answer.read_text())
    if "error" in report:
        raise Refused(report["error"])
    return dict(report)
