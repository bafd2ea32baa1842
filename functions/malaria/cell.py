"""Where the cell lies in a picture, and what speaks against there being just one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.runtimes.pixels import MIN_SIDE, WHOLE, Box
from shared.runtimes.samples import Warned

from .doubts import GREY, NOT_A_CELL, SEVERAL_CELLS, SMALL

Pixels = NDArray[np.int16]
Colour = NDArray[np.int16]
Mask = NDArray[np.bool_]

SIDE = 64
"""Pixels a side at most on which all is measured: a speck of dust is averaged away."""
TOLERANCE = 24
"""Levels of 256 by which a background's pixels may differ from its colour."""
SPECK = 0.03
"""The part of a row or column that must differ from the background to belong to the cell."""
TIGHT = 0.88
"""A cell of this part of the picture's height and width fills it. Of the training cells, all do."""
ALIKE = 0.6
"""The part of the corners that must be of one colour: a cell is round, and stands on a background."""
FILLED = 0.36, 0.95
"""The part of its box that one cell fills."""
PIECES = 1.7
"""Into how many pieces the rows and columns of one cell fall on average: 1, but for dark and pale spots."""
CUT = 0.7
"""The part of one side of the picture that a whole cell touches at most."""
NECK = 0.5
"""What is thinner than this part of its box somewhere in its middle third is counted: it may be two cells."""
BLOB = 0.08
"""The part of its box that a second cell covers at least."""
SPOT = 0.01
"""The part of the picture that one of many things covers at least."""
SMALLEST = 40
"""Pixels a side that show a parasite; the smallest cells of the training have about 50."""
COLOUR = 2
"""Levels of 256 by which the channels of a grey picture differ at most."""


def find(image: Image.Image) -> tuple[Box, Sequence[Warned]]:
    """Find the cell in an upright RGB image that stands on a plain background, black or light.

    Returns the box to cut out, which is the whole image unless there are margins, and warnings. Its cost is
    bounded: all is measured on at most 64 x 64 pixels.
    """
    small = _small(image)
    background, alike = _background(small)
    cell = _differs(small, background)
    box = _box(cell)
    if box is None or alike < ALIKE:
        return WHOLE, [_what_instead(small, background)]
    rows, columns = box
    height, width = rows.stop - rows.start, columns.stop - columns.start
    across, down = width / cell.shape[1] * image.width, height / len(cell) * image.height
    if min(across, down) < MIN_SIDE:
        return WHOLE, [NOT_A_CELL]
    if not _is_one(cell[box]):
        return WHOLE, [_what_instead(small, background)]
    if _is_cut_off(cell):
        return WHOLE, [SEVERAL_CELLS]
    warned = _what_is_lost(small, min(across, down))
    if height >= TIGHT * len(cell) and width >= TIGHT * cell.shape[1]:
        return WHOLE, warned
    sides = [columns.start, rows.start, columns.stop, rows.stop]
    return Box(*(side / length for side, length in zip(sides, cell.shape[::-1] * 2, strict=True))), warned


def _small(image: Image.Image) -> Pixels:
    """The image on at most 64 x 64 pixels, each the mean of a block, shape (height, width, 3)."""
    factors = -(-image.width // SIDE), -(-image.height // SIDE)
    if factors != (1, 1):  # the last, narrower blocks are left out
        whole = image.width // factors[0] * factors[0], image.height // factors[1] * factors[1]
        image = image.reduce(factors, box=(0, 0, *whole))
    return np.asarray(image).astype(np.int16)


def _background(small: Pixels) -> tuple[Colour, float]:
    """The median colour of the four corners, and the part of them that is alike it."""
    high, wide = max(1, len(small) // 8), max(1, small.shape[1] // 8)
    ends = np.concatenate([small[:high], small[-high:]])
    corners = np.concatenate([ends[:, :wide], ends[:, -wide:]], axis=1).reshape(-1, 3)
    colour = np.sort(corners, axis=0)[len(corners) // 2]
    return colour, 1 - float(_differs(corners, colour).mean())


def _differs(pixels: Pixels, colour: Colour) -> Mask:
    """Which pixels, shape (..., 3), are not of a colour."""
    far = np.abs(pixels - colour) > TOLERANCE
    return np.asarray(far[..., 0] | far[..., 1] | far[..., 2])


def _box(cell: Mask) -> tuple[slice, slice] | None:
    """The rows and columns that the cell takes; None if there is none."""
    rows = np.flatnonzero(cell.mean(1) > SPECK)
    columns = np.flatnonzero(cell.mean(0) > SPECK)
    if not len(rows) or not len(columns):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _is_cut_off(cell: Mask) -> bool:
    """Whether the edge of the picture cuts off what stands in it."""
    return bool(max(side.mean() for side in (cell[0], cell[-1], cell[:, 0], cell[:, -1])) > CUT)


def _is_one(cell: Mask) -> bool:
    """Whether what stands in its box fills it as one cell does."""
    if not FILLED[0] <= cell.mean() <= FILLED[1] or _pieces(cell) > PIECES:
        return False
    high, wide = len(cell) // 3, cell.shape[1] // 3
    middle = cell.mean(1)[high:-high].min(), cell.mean(0)[wide:-wide].min()
    return min(middle) >= NECK or _blobs(cell, BLOB) < 2


def _pieces(cell: Mask) -> float:
    """Into how many pieces the rows and columns of a mask fall on average."""
    across = ((cell[:, 1:] > cell[:, :-1]).sum() + cell[:, 0].sum()) / len(cell)
    down = ((cell[1:] > cell[:-1]).sum() + cell[0].sum()) / cell.shape[1]
    return float(across + down) / 2


def _what_instead(small: Pixels, background: Colour) -> Warned:
    """Tell several cells on a background from anything else."""
    lightest = np.quantile(small.reshape(-1, 3), 0.95, axis=0).astype(np.int16)
    several = any(_blobs(_differs(small, colour), SPOT) > 1 for colour in (background, lightest))
    return SEVERAL_CELLS if several else NOT_A_CELL


def _what_is_lost(small: Pixels, side: float) -> list[Warned]:
    """Warn of a picture without colours, or of a cell of few pixels."""
    if (np.abs(small - small[..., :1]) <= COLOUR).all():
        return [GREY]
    return [SMALL] if side < SMALLEST else []


def _blobs(mask: Mask, least: float) -> int:
    """How many connected parts cover at least `least` of a mask, by union of the runs of its rows."""
    parents: list[int] = []
    sizes: list[int] = []

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    above: list[tuple[int, int, int]] = []
    for row in mask:
        edges = np.flatnonzero(np.diff(np.r_[0, row.view(np.int8), 0])).tolist()
        current = []
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            own = len(parents)
            parents.append(own)
            sizes.append(stop - start)
            for left, right, index in above:
                if left < stop and start < right and (other := root(index)) != (mine := root(own)):
                    parents[mine] = other
                    sizes[other] += sizes[mine]
            current.append((start, stop, own))
        above = current
    return sum(parents[index] == index and size >= least * mask.size for index, size in enumerate(sizes))
