"""The malaria cell images of the U.S. National Library of Medicine: reading, patients, folds.

Source: Rajaraman et al. 2018, PeerJ 6:e4568. The published archive is `cell_images.zip` with
`cell_images/{Parasitized,Uninfected}/*.png`; a folder with that layout, or other image types, work too.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shared.runtimes.pixels import decode

CLASSES = {"Uninfected": 0, "Parasitized": 1}
SUFFIXES = {".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
SIZE = (100, 100)
FOLDS = 5
SOURCE = Path(__file__).parents[3] / "shared" / "data" / "cell_images.zip"


@dataclass(frozen=True)
class Cells:
    """Decoded cells: `pixels` (n, height, width, 3) uint8, `infected` (n,) int64, `patients` (n,) str."""

    pixels: NDArray[np.uint8]
    infected: NDArray[np.int64]
    patients: NDArray[np.str_]

    def of(self, patients: list[str]) -> "Cells":
        """The cells of these patients."""
        return self._at(np.isin(self.patients, patients))

    def without(self, patients: list[str]) -> "Cells":
        """The cells of all other patients."""
        return self._at(~np.isin(self.patients, patients))

    def sample(self, count: int) -> "Cells":
        """So many cells, or all if there are fewer, at random; the same ones each time."""
        return self._at(np.random.default_rng(0).permutation(len(self.pixels))[:count])

    def _at(self, rows: NDArray[Any]) -> "Cells":
        return Cells(self.pixels[rows], self.infected[rows], self.patients[rows])


def files(source: Path) -> list[tuple[str, int, bytes]]:
    """Every labelled image of a folder or zip archive: (file name, infected, encoded bytes), sorted by name.

    Raises:
        SystemExit: there is no such file, or it has no images in that layout.
    """
    if not source.exists():
        raise SystemExit(
            f"{source}: not found; download cell_images.zip from the NLM, or name another folder"
        )
    readers = {}
    for path, read in _entries(source):
        if path.suffix.lower() in SUFFIXES and path.parent.name in CLASSES:
            readers[path.parent.name, path.name] = read
    if not readers:
        raise SystemExit(f"{source}: expected images in folders named {' and '.join(CLASSES)}; found none")
    return [(name, CLASSES[folder], read()) for (folder, name), read in sorted(readers.items())]


def _entries(source: Path) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    if source.is_dir():
        for path in source.rglob("*"):
            if path.is_file():
                yield PurePosixPath(path.as_posix()), path.read_bytes
    else:
        archive = zipfile.ZipFile(source)
        for name in archive.namelist():
            yield PurePosixPath(name), partial(archive.read, name)


def patient(name: str) -> str:
    """The patient of a cell, from the file name.

    One patient has two spellings (`C47P8thin`, `C47P8thinOriginal`); both give `C47P8`.
    """
    return re.sub(r"(?i)_?thin.*$", "", name.split("_IMG", 1)[0])


def decoded(entries: list[tuple[str, int, bytes]]) -> Cells:
    """Decode all `files` in the same way as the function does."""
    pixels = np.empty((len(entries), *SIZE, 3), np.uint8)
    for row, (_, _, data) in enumerate(tqdm(entries, desc="decoding", unit="cell")):
        pixels[row] = decode(data, SIZE)
    return Cells(
        pixels,
        np.array([infected for _, infected, _ in entries]),
        np.array([patient(name) for name, _, _ in entries]),
    )


def assign(cells: Cells, parts: int, seed: int) -> list[list[str]]:
    """Assign each patient to one of `parts` lists with similar numbers of infected cells and of cells.

    Patients are sorted by their number of infected cells, which differs by a factor of hundreds. Then each
    group of `parts` neighbours is assigned at random, one to each list.
    """

    def burden(name: str) -> tuple[int, int, str]:
        own = cells.infected[cells.patients == name]
        return int(own.sum()), len(own), name

    ordered = sorted((str(name) for name in np.unique(cells.patients)), key=burden, reverse=True)
    rng = np.random.default_rng(seed)
    assigned: list[list[str]] = [[] for _ in range(parts)]
    for start in range(0, len(ordered), parts):
        for part, name in zip(rng.permutation(parts), ordered[start : start + parts], strict=False):
            assigned[part].append(name)
    return [sorted(part) for part in assigned]


def folds(cells: Cells, seed: int = 0) -> list[list[str]]:
    """The patients of each of the five folds of the cross-validation."""
    return assign(cells, FOLDS, seed)
