"""The source: the functions of HEAD, without uncommitted changes."""

import hashlib
import io
import re
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.example import Example
from shared.pin import PACKAGES, Pin, PinError, Unpublished

from .config import ROOT


class SourceError(Exception):
    """Something in the checkout cannot be deployed; one line that says how to fix it."""


@dataclass(frozen=True)
class Function:
    """One function of HEAD.

    Attributes:
        folder: its files, unpacked; `shared` lies beside `functions`.
        model: the pinned file; None if the checkout does not have it.
    """

    name: str
    pin: Pin
    example: Example
    folder: Path
    model: Path | None


def git(*arguments: str) -> bytes:
    """Run git in the checkout.

    Raises:
        SourceError: it fails.
    """
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)  # noqa: S603, S607
    except OSError:
        raise SourceError("git is not installed: see https://git-scm.com/downloads") from None
    if done.returncode != 0:
        raise SourceError(f"git {arguments[0]}: {' '.join(done.stderr.decode(errors='replace').split())}")
    return done.stdout


def commit() -> str:
    """Return the first 12 digits of HEAD's commit.

    Raises:
        SourceError: there is none.
    """
    try:
        return git("rev-parse", "--verify", "--short=12", "HEAD").decode().strip()
    except SourceError as error:
        if "installed" in str(error):
            raise
        raise SourceError("this is not a git checkout with a commit: clone the repository") from None


def uncommitted() -> list[str]:
    """Return the files that differ from HEAD or are untracked."""
    listed = git("status", "--porcelain", "--untracked-files=all", "--no-renames", "-z").decode()
    return [line[3:] for line in listed.split("\0") if line]


def unpack(folder: Path, *paths: str) -> None:
    """Write folders of HEAD to a folder.

    Raises:
        SourceError: HEAD lacks one of them.
    """
    archive = git("archive", "--format=zip", "HEAD", *paths)
    zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)


def uncommitted_faults(names: tuple[str, ...], files: list[str]) -> list[str]:
    """Return a line for each problem that uncommitted files are for deploying these functions."""
    pins = [f"functions/{name}/model.json" for name in names if f"functions/{name}/model.json" in files]
    faults = [f"{pin} is not committed, so HEAD has another model or none: commit {pin}" for pin in pins]
    if others := [file for file in files if file not in pins]:
        shown = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
        faults.append(
            f"the git tree is not clean: commit or stash {shown}; or deploy HEAD without them: --allow-dirty"
        )
    return faults


def function(name: str, unpacked: Path, kept: Path, add_fault: Callable[[str], None]) -> Function | None:
    """Read one function of HEAD, and report everything that is wrong with it.

    Args:
        name: the function's.
        unpacked: the folder with the files of HEAD.
        kept: where to write the model if HEAD has the pinned file, but the working tree another.
        add_fault: called with a line for each fault.
    """
    folder = unpacked / "functions" / name
    if not re.fullmatch("[a-z][a-z0-9-]{1,25}[a-z0-9]", name):
        add_fault(
            f"functions/{name}: a deployed function's name has 3 to 27 lower-case letters, digits and "
            "hyphens: rename the folder"
        )
    try:
        pin = Pin.read(folder / "model.json")
        example = Example.read(folder)
    except Unpublished:
        add_fault(
            f"functions/{name}/model.json: publish a model first: "
            f".venv/dev/bin/python -m models.publish {name} FILE"
        )
        return None
    except (PinError, ValueError) as error:
        add_fault(str(error).replace(f"{unpacked}/", ""))
        return None
    if missing := _missing_package(pin, folder / "requirements.txt"):
        add_fault(
            f"functions/{name}/requirements.txt has no {missing}, which the format {pin.format} needs: "
            f"run '.venv/dev/bin/python -m models.publish {name} FILE', and commit what it changes"
        )
    try:
        return Function(name, pin, example, folder, _model(name, pin, kept))
    except SourceError as error:
        add_fault(str(error))
        return None


def _missing_package(pin: Pin, requirements: Path) -> str:
    """Return the package that the pinned format needs, if requirements.txt lacks it; else nothing."""
    lines = requirements.read_text() if requirements.is_file() else ""
    names = re.findall(r"^\s*([A-Za-z0-9][\w.-]*)", lines, re.MULTILINE)
    required = {re.sub("[-_.]+", "-", each).lower() for each in names}
    packages = PACKAGES[pin.format]
    return "" if required & set(packages) else packages[0]


def _model(name: str, pin: Pin, kept: Path) -> Path | None:
    """Return the pinned file from the working tree or from HEAD; None if neither has the file.

    Raises:
        SourceError: a file of that name has other content.
    """
    path = ROOT / "models" / pin.file
    if path.is_file() and _is_pinned(path.read_bytes(), pin):
        return path
    try:
        content = git("cat-file", "blob", f"HEAD:models/{pin.file}")
    except SourceError:
        content = b""
    if content and _is_pinned(content, pin):
        kept.mkdir(parents=True, exist_ok=True)
        (kept / Path(pin.file).name).write_bytes(content)
        return kept / Path(pin.file).name
    if content or path.is_file():
        raise SourceError(
            f"models/{pin.file} is not the pinned file (SHA-256 {pin.sha256[:12]}..., {pin.bytes:,} bytes): "
            f"publish it with '.venv/dev/bin/python -m models.publish {name} FILE', or check out the commit "
            "that has it"
        )
    return None


def _is_pinned(content: bytes, pin: Pin) -> bool:
    return len(content) == pin.bytes and hashlib.sha256(content).hexdigest() == pin.sha256
