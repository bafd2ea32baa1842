"""Inspect a model file without loading it: its format, its labels, the version that wrote it."""

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
"""The warning about each format that can run code."""
_STARTS = {"h5": rb"\x89HDF\r\n\x1a\n", "tflite": rb"....TFL3", "joblib": rb"\x80[\x02-\x05]"}
"""The first bytes of each format, as regular expressions."""
_DECOMPRESS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"]\0": lzma.decompress,
    b"x": zlib.decompress,
}


def check(file: Path, content: bytes) -> None:
    """Check that the content is a model of the format that the suffix names.

    Raises:
        Refused: it is not; the message says what the file seems to be, by its first bytes.
    """
    if not content:
        raise Refused(f"{file}: the file is empty")
    if content.startswith(b"version https://git-lfs"):
        raise Refused(
            f"{file} is a Git LFS pointer, not the file itself: run 'git lfs pull' in its repository"
        )
    if re.match(rb"\s*<(!doctype|html|\?xml)", content[:200], re.IGNORECASE):
        raise Refused(
            f"{file} is a web page, not a model: its server answered the download with an error or a sign-in "
            "page; download it again, and check its size"
        )
    expected, actual = form(file), _content_form(content)
    if actual in ("", expected):
        return
    if actual not in FORMATS.values():
        raise Refused(f"{file} is {actual}: expected a model of {', '.join(FORMATS)}")
    suffix = next(suffix for suffix, name in FORMATS.items() if name == actual)
    raise Refused(
        f"{file}: its content is that of a {suffix} file: rename it to {file.stem}{suffix}, and publish that"
    )


def _content_form(content: bytes) -> str:
    """Return the format by the first bytes, or a description of another kind of file; empty if unknown."""
    for name, start in _STARTS.items():
        if re.match(start, content, re.DOTALL):
            return name
    return _archive(content) if content.startswith(b"PK\x03\x04") else ""


def _archive(content: bytes) -> str:
    """Distinguish zip archives by their content."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            names = packed.namelist()
    except zipfile.BadZipFile:
        return "a part of a zip archive (was it copied or downloaded to its end?)"
    if {"config.json", "metadata.json"} <= set(names):
        return "keras"
    if names and all(name.endswith(".npy") for name in names):
        return "linear"
    return "a PyTorch file" if any(name.endswith("data.pkl") for name in names) else "a zip archive"


def form(file: Path) -> str:
    """Return the format of the file's suffix, which is case-insensitive.

    Raises:
        Refused: the suffix is unknown.
    """
    try:
        return FORMATS[file.suffix.lower()]
    except KeyError:
        raise Refused(f"{file}: expected a file that ends in one of {', '.join(FORMATS)}") from None


def labels(form: str, content: bytes) -> tuple[str, ...]:
    """Return the labels in a LiteRT file's metadata, in the order of its outputs; empty if fewer than two.

    They are the lines of the only text file in the metadata (TensorFlow Lite Metadata).
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
    for first in (0, 1):
        if all(re.match(rf"{place}[ :]+\S", line) for place, line in enumerate(lines, first)):
            lines = [re.sub(r"^\d+[ :]+", "", line) for line in lines]
    return tuple(lines) if len(set(lines)) == len(lines) > 1 else ()


def versions(form: str, content: bytes) -> dict[str, str]:
    """Return the versions of the packages that wrote the file; empty if the file does not name them."""
    if form == "joblib":
        match = re.search(
            rb"_sklearn_version.{1,16}?(\d+\.\d+(?:\.\d+)?(?:rc\d+)?)", _plain(content), re.DOTALL
        )
        return {"scikit-learn": match[1].decode()} if match else {}
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
    """Undo the compression of `joblib.dump`, if the standard library supports it."""
    for start, decompress in _DECOMPRESS.items():
        if content.startswith(start):
            try:
                return decompress(content)
            except Exception:
                return content
    return content
