"""A virtual environment for each contender, built once and kept until its requirements change."""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "bench"


def prepare(name: str, requirements: Path) -> Path:
    """Return the folder of the environment `name`; build it if `requirements` have changed.

    Raises:
        SystemExit: pip cannot install them; it has printed the reason.
    """
    folder = BUILD / "environments" / name
    complete = folder / "complete"
    expected = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if complete.exists() and complete.read_text() == expected:
        return folder
    print(f"setting up {name} (once)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    # Without pip, so that the environment has only the required packages.
    venv.create(folder, with_pip=False)
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    command += ["--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 (our own command)
        sys.exit(f"{name}: pip could not install {requirements.relative_to(ROOT)}; its last lines say why")
    complete.write_text(expected)
    return folder


def installed(folder: Path) -> int:
    """Return the size of the environment's site-packages, in bytes."""
    [packages] = folder.glob("lib/python*/site-packages")
    return sum(path.lstat().st_size for path in packages.rglob("*") if path.is_file())


def versions(folder: Path) -> dict[str, str]:
    """Return the version of each installed package."""
    found = (path.name.removesuffix(".dist-info").split("-") for path in folder.glob("lib/*/*/*.dist-info"))
    return {name.lower().replace("_", "-"): version for name, version in sorted(found)}
