"""Test a file as it will run: in a copy of the function as it is deployed, in its own environment."""

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
from shared.pin import PACKAGES

from . import Refused, files
from .candidate import Options

ROOT = Path(__file__).resolve().parents[2]
EXAMINER = Path(__file__).with_name("inside.py")
BESIDE = {"joblib": ("joblib",)}
"""The packages that a format needs in addition to one of its `PACKAGES`."""
OLDEST = {(3, 14): "1.7.2", (3, 13): "1.5.2", (3, 12): "1.3.1", (3, 11): "1.1.3"}
"""The oldest scikit-learn with wheels on PyPI, by Python version; the first row that applies counts."""
SECONDS = 600
"""Timeout of a test, in seconds: enough for TensorFlow, a large network and a thousand examples."""
SWITCH = "PUBLISH_PYTHON"
"""The variable with which tests name a Python that has all packages, so that no environment is built."""


@contextmanager
def staged(options: Options, pin: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a copy of the function as it would be deployed with this pin, next to a store with the file."""
    (ROOT / "build").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=ROOT / "build", prefix="publish-") as temporary:
        folder = Path(temporary, options.folder.name)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(options.folder, folder, ignore=ignored)
        shutil.copytree(ROOT / "shared", folder / "shared", ignore=ignored)
        for module in options.modules:
            shutil.copyfile(module, folder / module.name)
        (folder / "model.json").write_text(json.dumps(pin))
        place = Path(temporary, "store", pin["file"])
        place.parent.mkdir(parents=True)
        place.symlink_to(options.file.resolve())
        yield folder


def complete_requirements(folder: Path, form: str, content: bytes) -> list[str]:
    """Add the packages of the format to the requirements in `folder`; return the added lines.

    A package gets the version that wrote the file, if the file names it; otherwise the installed one. The
    scikit-learn of a function must be the one that wrote the file, because another may be unable to read it.

    Raises:
        Refused: the packages conflict.
    """
    written = files.versions(form, content)
    _check_age(written.get("scikit-learn", ""))
    source = folder / "requirements.in"
    target = source if source.exists() else folder / "requirements.txt"
    text = target.read_text() if target.exists() else ""
    added = []
    needed = PACKAGES[form] if form != "linear" else ()
    for package in (*needed[:1], *BESIDE.get(form, ())):
        line = f"{package}=={written.get(package) or _version(package)}"
        matches = [
            re.search(rf"^{name}\b(?!-).*$", text, re.MULTILINE)
            for name in (needed if package in needed else (package,))
        ]
        line_now = next(filter(None, matches), None)
        if line_now is None:
            text = f"{text.rstrip()}\n{line}\n".lstrip()
            added.append(line)
            if package == "tensorflow-cpu":
                keras = f"keras=={_keras(written.get('keras', ''))}"
                text += f"{keras}\n"
                added.append(keras)
        elif package in written and source.exists() and line_now[0].partition(" ")[0] != line:
            text = text.replace(line_now[0], line)
            added.append(f"{line}, instead of {line_now[0]}")
    if added:
        target.write_text(text)
    if source.exists() and (added or not _locked(folder)):
        _lock(folder)
    return added


def _locked(folder: Path) -> bool:
    """Whether the lock file matches the requirements, which the user may have edited."""
    lock = folder / "requirements.txt"
    if not lock.exists():
        return False
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE))
    versions = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in locked.items()}
    required = re.findall(
        r"^([\w.-]+)(?:\[[^]]*\])?(?:==([^\s;#]+))?",
        (folder / "requirements.in").read_text(),
        re.MULTILINE,
    )
    for name, version in required:
        locked_version = versions.get(re.sub(r"[-_.]+", "-", name).lower())
        if locked_version is None or version not in ("", locked_version):
            return False
    return True


def _check_age(sklearn: str) -> None:
    """Refuse a scikit-learn that cannot be installed with this Python; raises `Refused`."""
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
    """Return the Keras that wrote the file, or a newer one if TensorFlow requires that."""
    installed = _version("keras")
    needs = " ".join(importlib.metadata.requires("tensorflow-cpu") or [])
    oldest = re.search(r"keras>=([\d.]+)", needs)
    return written if written and oldest and _parts(written) >= _parts(oldest[1]) else installed


def _lock(folder: Path) -> None:
    from dev.lock import LockError, lock

    try:
        lock(folder)
    except LockError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise Refused(f"the packages it needs do not fit together: {' '.join(lines)[:600]}") from error


def python_of(folder: Path) -> Path:
    """Return the Python of the environment with the function's packages; build it if it does not exist.

    Raises:
        Refused: the packages cannot be installed.
    """
    if SWITCH in os.environ:
        return Path(os.environ[SWITCH])
    try:
        with redirect_stdout(sys.stderr):  # a dry run prints only the pin to standard output
            return environment(folder)
    except Exception as error:
        raise Refused(f"the function's packages cannot be installed: {error}") from error


def examine(folder: Path, python: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """Test the staged function in its own process; `inside` documents the job and the report.

    Raises:
        Refused: the function does not start, cannot load the file, or takes too long.
    """
    job_file, report_file = folder.parent / "job.json", folder.parent / "report.json"
    job_file.write_text(json.dumps(job))
    report_file.unlink(missing_ok=True)
    shutil.copyfile(EXAMINER, folder / "examination.py")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "WARM_UP")}
    own = {
        "MODEL_STORE": str(folder.parent / "store"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(python), "-c", "import examination; examination.main()", str(job_file), str(report_file)]
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
    if not report_file.exists():
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise Refused(f"the function does not start with it (status {done.returncode}): {lines[-1][:300]}")
    report = json.loads(report_file.read_text())
    if "error" in report:
        raise Refused(report["error"])
    return dict(report)
