"""The packages to install after Beam: those of the functions' lock files, so that a batch answers as they do.

    python -m batch.requirements [NAME ...]           # lines for `pip install --no-deps -r`
    python -m batch.requirements --check [NAME ...]   # check that this environment has them

Beam requires an older Pillow than the functions. It decodes some pixels differently by one level, which moves
probabilities by up to 0.003. Nothing in Beam uses Pillow, so the function's version replaces it.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BEAMS = frozenset({"protobuf"})
"""Packages that keep Beam's version: its generated code does not support protobuf 7, which no model needs."""

_ENTRY = re.compile(
    r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)(?: *; *([^\\\n]*?))? *\\?\n(?:[ \t]+\S[^\n]*\n)*", re.MULTILINE
)


class Entry(NamedTuple):
    """One package of a lock file: name, version, environment marker, and its lines with hashes."""

    package: str
    version: str
    marker: str
    lines: str


class Mismatch(Exception):
    """The packages are not those of the lock file, or two lock files differ; the message says what to do."""


def main() -> None:
    """Print the lines, or check this environment."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="functions; default: all that are here")
    parser.add_argument("--check", action="store_true", help="compare this environment with their locks")
    arguments = parser.parse_args()
    names = [name for each in arguments.names for name in each.split(",") if name] or functions()
    try:
        if arguments.check:
            for name in names:
                check(name)
        else:
            sys.stdout.write("".join(entry.lines for entry in merged(names)))
    except Mismatch as error:
        sys.exit(str(error))


def functions(root: Path = ROOT) -> list[str]:
    """Return the names of all functions in this repository."""
    return sorted(path.parent.name for path in root.glob("functions/*/requirements.txt"))


def entries(name: str, root: Path = ROOT) -> list[Entry]:
    """Return the entries of a function's lock file, without `BEAMS`.

    Raises:
        Mismatch: there is no such file.
    """
    path = root / "functions" / name / "requirements.txt"
    try:
        text = path.read_text()
    except OSError:
        have = ", ".join(functions(root)) or "none"
        raise Mismatch(f"{path} is missing: expected the name of a function, one of {have}") from None
    parsed = (Entry(each[1], each[2], each[3] or "", each[0]) for each in _ENTRY.finditer(f"{text}\n"))
    return [entry for entry in parsed if entry.package not in BEAMS]


def merged(names: Iterable[str], root: Path = ROOT) -> list[Entry]:
    """Return the entries of several lock files together.

    Raises:
        Mismatch: they have different versions of a package.
    """
    chosen: dict[tuple[str, str], Entry] = {}
    for name in names:
        for entry in entries(name, root):
            other = chosen.setdefault((entry.package, entry.marker), entry)
            if other.version != entry.version:
                raise Mismatch(
                    f"{entry.package}: one function is locked to {other.version}, functions/{name} to "
                    f"{entry.version}: install one function: make -B .venv/batch/installed ONLY={name}"
                )
    return list(chosen.values())


def check(name: str, root: Path = ROOT) -> None:
    """Check that this environment has the packages of a function's lock file.

    Raises:
        Mismatch: a package is missing or has another version, so answers could differ from the function's.
    """
    from packaging.markers import Marker

    for entry in entries(name, root):
        if entry.marker and not Marker(entry.marker).evaluate():
            continue
        try:
            present = metadata.version(entry.package)
        except metadata.PackageNotFoundError:
            present = "none"
        if present != entry.version:
            raise Mismatch(
                f"{entry.package}: functions/{name}/requirements.txt says {entry.version}; this environment "
                f"has {present}: run make -B .venv/batch/installed ONLY={name}, or rebuild the workers' image"
            )


if __name__ == "__main__":
    main()
