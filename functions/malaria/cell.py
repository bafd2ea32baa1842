"""Find the cell in a picture, and warn if the picture does not show exactly one."""

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
Part = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels of the image."""

SIDE = 64
"""The most pixels a side of the small copy that is measured, in which specks of dust disappear."""
TOLERANCE = 24
"""Levels (of 256) by which a pixel of the background may differ from the background's colour."""
SPECK = 0.03
"""A row or column belongs to the cell if more than this share of it differs from the background."""
TIGHT = 0.88
"""A cell with this share of the picture's height and width fills it, as all training cells do."""
ALIKE = 0.6
"""The share of the corners that must have one colour: a cell is round, so the corners show the background."""
FILLED = 0.36, 0.95
"""The share of its box that one cell fills: at least, at most."""
PIECES = 1.7
"""The most pieces into which a row or column of one cell is split on average: 1, plus spots."""
CUT = 0.7
"""The largest share of one side of the picture that a whole cell touches; otherwise, the edge cuts it off."""
NECK = 0.5
"""If a cell is thinner than this share of its box in its middle third, it may be two cells."""
WAIST = 0.52
"""Two cells touch if the narrowest place is below this share of the narrower of the wide places beside it.

One in a thousand training cells is below it; all pairs that touch side by side are.
"""
FRAMES = 3
"""How many frames, one within the other, are removed."""
BLOB = 0.08
"""The smallest share of the box that a second cell covers."""
SPOT = 0.01
"""The smallest share of the picture that one of several objects covers."""
SMALLEST = 40
"""Pixels a side in which a parasite can be seen; the smallest training cells have about 50."""
COLOUR = 2
"""The most levels (of 256) by which the channels of a grey picture differ."""


def find(image: Image.Image) -> tuple[Box, Sequence[Warned]]:
    """Find the cell in an upright RGB image that stands on a plain background, black or light.

    If there is none, look for it once more within the frames of one colour that the picture may have. Returns
    the box to crop to, which is the whole image unless there are margins, and warnings. The cost is bounded,
    because only a copy of at most 64 x 64 pixels is measured.
    """
    small = _small(image, (0, 0, *image.size))
    found = _find(image, (0, 0, *image.size), small)
    if not isinstance(found, Warned):
        return found
    for edge in (0, 1):  # a line of the frame may be left, narrower than a pixel of `small`
        if inner := _inside(image, small, edge):
            again = _find(image, inner, _small(image, inner))
            if not isinstance(again, Warned):
                return again
    return WHOLE, [found]


def _find(image: Image.Image, part: Part, small: Pixels) -> tuple[Box, list[Warned]] | Warned:
    """Find the cell in a part of an image, which is `small` on few pixels; returns what is there instead."""
    background, alike = _background(small)
    cell = _differs(small, background)
    box = _box(cell)
    if box is None or alike < ALIKE:
        return _other_than_one(small, background)
    rows, columns = box
    height, width = rows.stop - rows.start, columns.stop - columns.start
    step = (part[2] - part[0]) / cell.shape[1], (part[3] - part[1]) / len(cell)
    if min(width * step[0], height * step[1]) < MIN_SIDE:
        return NOT_A_CELL
    if not _is_one(cell[box]):
        return _other_than_one(small, background)
    if _is_cut_off(cell) or min(_waist(cell[box]), _waist(cell[box].T)) < WAIST:
        return SEVERAL_CELLS
    warned = _too_poor(small, min(width * step[0], height * step[1]))
    if height >= TIGHT * len(cell) and width >= TIGHT * cell.shape[1]:
        return _part_of(image, part), warned
    left, top = part[0] + columns.start * step[0], part[1] + rows.start * step[1]
    return _part_of(image, (left, top, left + width * step[0], top + height * step[1])), warned


def _part_of(image: Image.Image, part: tuple[float, float, float, float]) -> Box:
    return Box(*(side / length for side, length in zip(part, image.size * 2, strict=True)))


def _small(image: Image.Image, part: Part) -> Pixels:
    """A part of the image on at most 64 x 64 pixels, each the mean of a block, shape (height, width, 3)."""
    left, top, right, bottom = part
    factors = -(-(right - left) // SIDE), -(-(bottom - top) // SIDE)
    # The last, narrower blocks are left out.
    whole = right - (right - left) % factors[0], bottom - (bottom - top) % factors[1]
    return np.asarray(image.reduce(factors, box=(left, top, *whole))).astype(np.int16)


def _inside(image: Image.Image, small: Pixels, edge: int) -> Part | None:
    """The part within the frames: less the rows and columns at each edge that are of one colour each.

    `edge` lines more are cut off at each side. None if nothing is left, or there is no frame.
    """
    inner = [0, 0, small.shape[1], len(small)]
    for _ in range(FRAMES):  # the frame at one edge crosses the lines of another
        top, bottom = _between(small[inner[1] : inner[3], inner[0] : inner[2]])
        inner[1], inner[3] = inner[1] + top, inner[1] + bottom
        left, right = _between(small[inner[1] : inner[3], inner[0] : inner[2]].swapaxes(0, 1))
        inner[0], inner[2] = inner[0] + left, inner[0] + right
        if inner[0] >= inner[2] or inner[1] >= inner[3]:
            return None
    if inner == [0, 0, small.shape[1], len(small)]:
        return None
    steps = -(-image.width // SIDE), -(-image.height // SIDE)
    left, top = (steps[axis] * (inner[axis] + edge) for axis in (0, 1))
    right, bottom = (steps[axis] * (inner[axis + 2] - edge) for axis in (0, 1))
    return None if min(right - left, bottom - top) < MIN_SIDE else (left, top, right, bottom)


def _between(small: Pixels) -> tuple[int, int]:
    """Where the lines that are of more than one colour start and stop, along the first axis.

    The first line after a frame is left out: a part of its pixels may be the frame's.
    """
    if not small.size:
        return 0, 0
    middle = np.sort(small, axis=1)[:, small.shape[1] // 2]
    lines = np.flatnonzero(_differs(small, middle[:, None]).mean(1) > SPECK)
    if not len(lines):
        return 0, 0
    start, stop = int(lines[0]), int(lines[-1]) + 1
    return start + (start > 0), stop - (stop < len(small))


def _background(small: Pixels) -> tuple[Colour, float]:
    """The median colour of the four corners, and the share of their pixels that have it."""
    high, wide = max(1, len(small) // 8), max(1, small.shape[1] // 8)
    ends = np.concatenate([small[:high], small[-high:]])
    corners = np.concatenate([ends[:, :wide], ends[:, -wide:]], axis=1).reshape(-1, 3)
    colour = np.sort(corners, axis=0)[len(corners) // 2]
    return colour, 1 - float(_differs(corners, colour).mean())


def _differs(pixels: Pixels, colour: Colour) -> Mask:
    """Which pixels, shape (..., 3), differ from a colour."""
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
    """Whether a mask, cropped to its box, has the shape of one cell."""
    if not FILLED[0] <= cell.mean() <= FILLED[1] or _pieces(cell) > PIECES:
        return False
    high, wide = len(cell) // 3, cell.shape[1] // 3
    middle = cell.mean(1)[high:-high].min(), cell.mean(0)[wide:-wide].min()
    return min(middle) >= NECK or _blobs(cell, BLOB) < 2


def _waist(cell: Mask) -> float:
    """The extent of a mask at the narrowest of its middle columns, in that of the wider ones beside it.

    Holes do not count: from the first pixel of a column to its last is its extent.
    """
    extents = np.where(cell.any(0), len(cell) - cell.argmax(0) - cell[::-1].argmax(0), 0)
    third = len(extents) // 3
    narrowest = third + int(extents[third : len(extents) - third].argmin())
    wide = min(extents[: narrowest + 1].max(), extents[narrowest:].max())
    return float(extents[narrowest] / max(wide, 1))


def _pieces(cell: Mask) -> float:
    """The mean number of pieces in the rows and columns of a mask."""
    across = ((cell[:, 1:] > cell[:, :-1]).sum() + cell[:, 0].sum()) / len(cell)
    down = ((cell[1:] > cell[:-1]).sum() + cell[0].sum()) / cell.shape[1]
    return float(across + down) / 2


def _other_than_one(small: Pixels, background: Colour) -> Warned:
    """Choose between the warnings for several cells and for anything else."""
    lightest = np.quantile(small.reshape(-1, 3), 0.95, axis=0).astype(np.int16)
    several = any(_blobs(_differs(small, colour), SPOT) > 1 for colour in (background, lightest))
    return SEVERAL_CELLS if several else NOT_A_CELL


def _too_poor(small: Pixels, side: float) -> list[Warned]:
    """Warn of a picture without colours, or of a cell with few pixels."""
    if (np.abs(small - small[..., :1]) <= COLOUR).all():
        return [GREY]
    return [SMALL] if side < SMALLEST else []


def _blobs(mask: Mask, least: float) -> int:
    """Count the connected parts that cover at least a share of a mask, by union-find over runs in rows."""
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
