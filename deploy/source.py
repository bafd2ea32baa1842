"""What is deployed: functions as HEAD has them, whatever lies uncommitted beside it."""

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
    """Something in the checkout cannot be deployed; one line that says how to mend it."""


@dataclass(frozen=True)
class Function:
    """One function of HEAD.

    Attributes:
        folder: its files, unpacked; `shared` lies beside `functions`.
        model: the pinned file, if it is in the checkout.
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
    """The first 12 digits of HEAD's commit.

    Raises:
        SourceError: there is none.
    """
    try:
        return git("rev-parse", "--verify", "--short=12", "HEAD").decode().strip()
    except SourceError as error:
        if "installed" in str(error):
            raise
        raise SourceError("this is no git checkout with a commit: clone the repository") from None


def uncommitted() -> list[str]:
    """The files that differ from HEAD or are not known to git."""
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
    """What to say of files that are not committed, for the deployment of these functions."""
    pins = [f"functions/{name}/model.json" for name in names if f"functions/{name}/model.json" in files]
    told = [
        f"{pin} is not committed, so that HEAD serves another model or none: commit {pin}" for pin in pins
    ]
    if others := [file for file in files if file not in pins]:
        shown = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
        told.append(
            f"the git tree is not clean: commit or stash {shown}; or deploy HEAD without them: --allow-dirty"
        )
    return told


def function(name: str, unpacked: Path, kept: Path, add_fault: Callable[[str], None]) -> Function | None:
    """Read one function of HEAD; what is wrong with it goes to `add_fault`, all of it.

    Args:
        name: the function's.
        unpacked: where HEAD is.
        kept: where the model is written if HEAD has the pinned file, and the working tree another.
        add_fault: called with a line for each fault.
    """
    folder = unpacked / "functions" / name
    if not re.fullmatch("[a-z][a-z0-9-]{1,25}[a-z0-9]", name):
        add_fault(
            f"functions/{name}: a deployed function's name has 3 to 27 small letters, digits and hyphens: "
            "rename the folder"
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
    """The package that the pinned format needs, if it is not required; else nothing."""
    lines = requirements.read_text() if requirements.is_file() else ""
    names = re.findall(r"^\s*([A-Za-z0-9][\w.-]*)", lines, re.MULTILINE)
    required = {re.sub("[-_.]+", "-", each).lower() for each in names}
    packages = PACKAGES[pin.format]
    return "" if required & set(packages) else packages[0]


def _model(name: str, pin: Pin, kept: Path) -> Path | None:
    """The pinned file of the working tree, or of HEAD; None if neither has one of that name.

    Raises:
        SourceError: there is one of that name, but with other content.
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
