"""What a model file says of itself before anything loads it: its format, its labels, its writer's version."""

import bz2
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from . import Refused

FORMATS = {
    ".tflite": "tflite",
    ".keras": "keras",
    ".h5": "h5",
    ".hdf5": "h5",
    ".npz": "linear",
    ".joblib": "joblib",
    ".pkl": "joblib",
    ".pickle": "joblib",
}
CODE = {
    "joblib": "a pickle runs code of the file whenever it is loaded",
    "h5": "a Keras file of this kind may run code of the file when it is loaded",
    "keras": "a Keras file may run code of the file when it is loaded",
}
"""What is said of a format that can run code."""
_DECOMPRESS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"]\0": lzma.decompress,
    b"x": zlib.decompress,
}


def form(file: Path) -> str:
    """Return the format that the file's suffix names, in letters of any size.

    Raises:
        Refused: it names none.
    """
    try:
        return FORMATS[file.suffix.lower()]
    except KeyError:
        raise Refused(f"{file}: expected a file that ends in one of {', '.join(FORMATS)}") from None


def labels(form: str, content: bytes) -> tuple[str, ...]:
    """Return the labels in a LiteRT file's metadata, in the order of its outputs; none if there are none.

    They are the lines of the text file that the metadata packs along (TensorFlow Lite Metadata).
    """
    if form != "tflite":
        return ()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            texts = [name for name in packed.namelist() if name.endswith(".txt")]
            if len(texts) != 1:
                return ()
            lines = packed.read(texts[0]).decode("utf-8-sig").splitlines()
    except (zipfile.BadZipFile, UnicodeDecodeError, OSError):
        return ()
    lines = [line.strip() for line in lines if line.strip()]
    if all(re.match(rf"{place}[ :]+\S", line) for place, line in enumerate(lines)):
        lines = [re.sub(r"^\d+[ :]+", "", line) for line in lines]
    return tuple(lines)


def versions(form: str, content: bytes) -> dict[str, str]:
    """Return the versions of the packages that wrote the file, as far as it says them."""
    if form == "joblib":
        found = re.search(
            rb"_sklearn_version.{1,16}?(\d+\.\d+(?:\.\d+)?(?:rc\d+)?)", _plain(content), re.DOTALL
        )
        return {"scikit-learn": found[1].decode()} if found else {}
    if form == "keras":
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                return {"keras": str(json.loads(packed.read("metadata.json"))["keras_version"])}
        except (zipfile.BadZipFile, KeyError, ValueError):
            return {}
    if form == "h5":
        import h5py

        try:
            with h5py.File(io.BytesIO(content)) as file:
                return {"keras": str(file.attrs["keras_version"])}
        except (OSError, KeyError):
            return {}
    return {}


def _plain(content: bytes) -> bytes:
    """Undo the compression of `joblib.dump`, if the standard library knows it."""
    for start, decompress in _DECOMPRESS.items():
        if content.startswith(start):
            try:
                return decompress(content)
            except Exception:
                return content
    return content
