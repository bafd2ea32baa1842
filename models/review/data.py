"""The reviews: IMDB (Maas et al. 2011) and NollySenti (Shode et al. 2023), as published, and their folds.

IMDB has `{train,test}/{pos,neg}/*.txt` (`unsup` is left out), NollySenti has `LANG/{train,dev,test}.tsv` and
`mt_en_LANG/train.tsv`, English reviews machine-translated. Either may be a folder, or a tar or zip archive.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

SHARED = Path(__file__).parents[3] / "shared" / "data"
IMDB = SHARED / "aclImdb_train.tar.xz"
NOLLYSENTI = SHARED / "nollysenti"
IMDB_IS = "aclImdb_v1.tar.gz of the Large Movie Review Dataset: download it and give --imdb PATH"
NOLLYSENTI_IS = "the folder `data` of the NollySenti repository: download it and give --nollysenti PATH"
LANGUAGES = ("en", "pcm", "ha", "ig", "yo")
TRANSLATION = "mt_"
TRANSLATED_INTO = "mt_en_"
LABELS = {"negative": 0, "neg": 0, "positive": 1, "pos": 1}

TRANSLATED = ((0, 150), (400, 610), (850, 900))
"""The rows of en/train.tsv whose translations are the 410 rows of pcm, ha, ig and mt_en_*, in order.

This is not documented, and using the same row number is wrong for 260 of the 410. The rows were matched by
the names, digits and lengths that a translation shares with its source. yo/train.tsv has rows 0 to 899 of
en/train.tsv; the rows of all dev.tsv agree.
"""


@dataclass(frozen=True)
class Review:
    """One review: `corpus` is "imdb" or a folder of NollySenti.

    `source` identifies the original review; reviews with the same source are one sample.
    """

    text: str
    positive: int
    corpus: str
    source: str


def read(path: Path, what: str, parts: tuple[str, ...] = ()) -> list[Review]:
    """Read the labelled reviews of a folder or archive of either layout, sorted by name.

    If `parts` (train, dev, test) are named, only these are read. `what` describes the expected file in error
    messages.

    Raises:
        SystemExit: there is no such file, or it has no such reviews.
    """
    if not path.exists():
        raise SystemExit(f"{path}: not found; expected {what}")
    reviews: list[Review] = []
    for name, content in sorted(_files(path), key=lambda file: str(file[0])):
        part = name.stem if name.suffix == ".tsv" else name.parent.parent.name
        if parts and part not in parts:
            continue
        if name.suffix == ".tsv":
            reviews += _table(content.decode("utf-8-sig"), name.parent.name, part)
        else:
            folder = name.parent.name
            source = f"imdb/{part}/{folder}/{name.stem}"
            reviews.append(Review(content.decode("utf-8"), LABELS[folder], "imdb", source))
    if not reviews:
        raise SystemExit(f"{path}: no review of {' or '.join(parts) or 'any part'} in it; expected {what}")
    return reviews


def _files(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files with reviews in a folder, zip or tar archive, without machine-translated dev and test."""
    if path.is_dir():
        for file in path.rglob("*"):
            if _is_wanted(PurePosixPath(file.as_posix())) and file.is_file():
                yield PurePosixPath(file.as_posix()), file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped:
            for name in filter(_is_wanted, map(PurePosixPath, zipped.namelist())):
                yield name, zipped.read(str(name))
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tarred:
            for member in tarred:
                name = PurePosixPath(member.name)
                if _is_wanted(name) and (opened := tarred.extractfile(member)):
                    yield name, opened.read()
    else:
        raise SystemExit(f"{path}: expected a folder, or a zip or tar archive")


def _is_wanted(name: PurePosixPath) -> bool:
    if name.suffix == ".tsv":
        folder = name.parent.name
        return folder in LANGUAGES or (folder.startswith(TRANSLATION) and name.stem == "train")
    return name.suffix == ".txt" and name.parent.name in ("pos", "neg")


def _table(content: str, corpus: str, part: str) -> Iterator[Review]:
    """The rows of a published TSV: a header, then a review, a tab and its label. Quotes are as in CSV."""
    for row, line in enumerate(content.split("\n")[1:]):
        text, tab, label = line.strip("\r").rpartition("\t")
        if not tab:
            continue
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1].replace('""', '"')
        yield Review(text, LABELS[label.strip().lower()], corpus, f"{part}/{source_row(corpus, part, row)}")


def source_row(corpus: str, part: str, row: int) -> int:
    """The row of the English table that this row is a translation of."""
    if part != "train" or corpus in ("en", "yo"):
        return row
    rows = [source for first, last in TRANSLATED for source in range(first, last)]
    return rows[row] if row < len(rows) else -row


def samples(reviews: list[Review]) -> NDArray[np.int64]:
    """A sample number for each review, shape (reviews,), equal for its translations and duplicates."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for review in reviews:
        parent[root(review.source)] = root("text: " + " ".join(review.text.lower().split()))
    roots = [root(review.source) for review in reviews]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(roots))}
    return np.array([numbers[name] for name in roots])


def assigned(groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each review, shape (reviews,); all reviews of a group are in one fold."""
    return (np.random.default_rng(seed).permutation(groups.max() + 1) % folds)[groups]
