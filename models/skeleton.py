"""The folders of a new function: `functions/NAME`, which is deployed, and `models/NAME`, about its model."""

import importlib.util
import json
import re
import shutil
import struct
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from dev.lock import LockError, lock
from shared.example import Example

ROOT = Path(__file__).resolve().parents[1]
FIRST_PORT = 8083
"""The ports below it belong to the functions that came first."""
SERVER = ("cryptography", "functions-framework", "google-cloud-storage", "numpy")
"""The packages that every function needs."""


@dataclass(frozen=True)
class Kind:
    """What functions of one kind of input have in common.

    Attributes:
        reader: the reader's class, of `shared.web.readers`.
        runtime: the module of `shared.runtimes` that runs the models.
        field: the field of forms and JSON objects that brings an input.
        packages: what the runtime needs, beside `SERVER`.
        input: one input, in words.
        model: what a model file may be called.
    """

    reader: str
    runtime: str
    field: str
    packages: tuple[str, ...]
    input: str
    model: str


KINDS = {
    "image": Kind("Images", "images", "image", ("ai-edge-litert", "pillow"), "an image", "model.keras"),
    "text": Kind("Texts", "texts", "text", ("joblib", "scikit-learn"), "a text", "model.joblib"),
    "rows": Kind("Rows", "rows", "row", ("joblib", "scikit-learn"), "a row of numbers", "model.joblib"),
}


@dataclass(frozen=True)
class Function:
    """A function to be made; every value has been checked."""

    name: str
    reads: str
    labels: tuple[str, ...]
    key: str
    path: str
    field: str
    port: int


MAIN = '''\
"""{name} as a cloud function: {input} in, one of {count} labels out."""

from shared.start import fetch, start

fetch(__file__)  # the model is fetched while the modules below are imported

from shared.runtimes import {runtime}
from shared.web.readers import {reader}

predict = start(
    __file__,
    name="{name}",
    reads={reader}("{field}"),
    model={runtime}.Classifier,
    key="{key}",
    path="{path}",
)
'''

CARD = """\
# Model card: {name}

Takes {input}, and answers one of {count} labels: {labels}.
Say here what it is for, and what it must not be used for.

## Data

Say where the training data come from, under which licence, how many examples there are of each label,
and how they are split: no person, patient or source may be in two parts.

## Training

Say which model it is, and with which command and versions it was trained.

## Figures

Give the figures on the test part: accuracy with an interval, one figure for each label, and the calibration.

## Limits

Say for which inputs the answers are wrong, and for whom.
"""


def next_port() -> int:
    """Return the port after those of all functions; raises `ValueError` if an example cannot be read."""
    folders = [path.parent for path in ROOT.glob("functions/*/example.json")]
    return max([FIRST_PORT - 1, *(Example.read(folder).port for folder in folders)]) + 1


def make(function: Function) -> list[Path]:
    """Write both folders, or neither; returns the paths of their files, relative to the repository.

    Raises:
        LockError: its packages cannot be locked.
    """
    places = [Path("functions", function.name), Path("models", function.name)]
    with tempfile.TemporaryDirectory() as temporary:
        folder, card = (Path(temporary) / place for place in places)
        folder.mkdir(parents=True)
        card.mkdir(parents=True)
        write_function(folder, function)
        (card / "README.md").write_text(CARD.format(**words(function)))
        for place in places:
            shutil.copytree(Path(temporary) / place, ROOT / place)
    return sorted(path.relative_to(ROOT) for place in places for path in (ROOT / place).iterdir())


def write_function(folder: Path, function: Function) -> None:
    """Write what is deployed."""
    example: dict[str, object] = {"port": function.port}
    if function.reads == "image":
        example["file"] = "example.png"
        (folder / "example.png").write_bytes(png())
    else:  # publishing a model completes a row: only the model knows its columns
        example["input"] = "A short text." if function.reads == "text" else {}
    (folder / "main.py").write_text(MAIN.format(**words(function)))
    (folder / "model.json").write_text(json.dumps({"labels": function.labels}, indent=1) + "\n")
    (folder / "example.json").write_text(json.dumps(example, indent=1) + "\n")
    (folder / "requirements.in").write_text(requirements(KINDS[function.reads]))
    write_lock(folder)


def words(function: Function) -> dict[str, object]:
    """Return the values of the templates' placeholders."""
    shown = ", ".join(f"`{label}`" for label in function.labels)
    return {**vars(KINDS[function.reads]), **vars(function), "count": len(function.labels), "labels": shown}


def requirements(kind: Kind) -> str:
    """Return the direct requirements, at the versions of the environment that trains and publishes."""
    locked = (ROOT / "dev" / "requirements.txt").read_text()
    versions = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", locked, re.MULTILINE))
    names = sorted((*SERVER, *kind.packages))
    return "".join(f"{name}=={versions[name]}\n" if name in versions else f"{name}\n" for name in names)


def write_lock(folder: Path) -> None:
    """Write the `requirements.txt` of a `requirements.in`: another function's, if it has the same one.

    Raises:
        LockError: uv is missing, or says why the packages cannot be locked.
    """
    wanted = (folder / "requirements.in").read_text()
    for other in sorted(ROOT.glob("functions/*/requirements.in")):
        if other.read_text() == wanted and other.with_suffix(".txt").exists():
            shutil.copyfile(other.with_suffix(".txt"), folder / "requirements.txt")
            return
    if importlib.util.find_spec("uv") is None:
        raise LockError(
            "uv, which locks the packages, is not installed in this Python: run "
            "'make setup', then '.venv/dev/bin/python -m models.new'"
        )
    lock(folder)


def png(side: int = 64) -> bytes:
    """Return an image of two gradients, `side` x `side` pixels, 8-bit RGB, as the bytes of a PNG file."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    steps = [255 * place // (side - 1) for place in range(side)]
    lines = b"".join(b"\0" + bytes(value for x in steps for value in (x, y, 128)) for y in steps)
    header = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
