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
Counts = NDArray[np.float32]
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
SLIDE = 230
"""The level of a light background after the fall of the light is taken off it."""
DIMMEST = 60
"""The darkest level of a light background."""
PLAIN = 0.8
"""The least share of the picture's edge that shows a light background, if the light is uneven."""
_ONES = np.ones(SIDE, np.float32)
COLOUR = 2
"""The most levels (of 256) by which the channels of a grey picture differ."""


def find(image: Image.Image) -> tuple[Box, Sequence[Warned]]:
    """Find the cell in an upright RGB image that stands on a plain background, black or light.

    The light on a light background may be uneven. If there is no cell, look for it once more within the
    frames of one colour that the picture may have. Returns the box to crop to, which is the whole image
    unless there are margins, and warnings. The cost is bounded, because only a copy of at most 64 x 64 pixels
    is measured.
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
    found = _seen(image, part, small)
    if not isinstance(found, Warned) or (even := _evenly_lit(small)) is None:
        return found
    again = _seen(image, part, even)
    return found if isinstance(again, Warned) else again


def _seen(image: Image.Image, part: Part, small: Pixels) -> tuple[Box, list[Warned]] | Warned:
    """Find the cell on a background of one colour; returns what is there instead."""
    background, alike = _background(small)
    cell = _differs(small, background)
    box = _box(cell) if alike >= ALIKE else None
    if box is None:
        return _other_than_one(small, background)
    rows, columns = box
    inner = np.ascontiguousarray(cell[box])
    height, width = inner.shape
    step = (part[2] - part[0]) / cell.shape[1], (part[3] - part[1]) / len(cell)
    if min(width * step[0], height * step[1]) < MIN_SIDE:
        return NOT_A_CELL
    if not _is_one(inner):
        return _other_than_one(small, background)
    if _is_cut_off(cell, box) or min(_waist(inner), _waist(np.ascontiguousarray(inner.T))) < WAIST:
        return SEVERAL_CELLS
    warned = _too_poor(small, min(width * step[0], height * step[1]))
    if height >= TIGHT * len(cell) and width >= TIGHT * cell.shape[1]:
        return _part_of(image, part), warned
    left, top = part[0] + columns.start * step[0], part[1] + rows.start * step[1]
    return _part_of(image, (left, top, left + width * step[0], top + height * step[1])), warned


def _part_of(image: Image.Image, part: tuple[float, float, float, float]) -> Box:
    width, height = image.size
    return Box(part[0] / width, part[1] / height, part[2] / width, part[3] / height)


def _small(image: Image.Image, part: Part) -> Pixels:
    """A part of the image on at most 64 x 64 pixels, each the mean of a block, shape (3, height, width)."""
    left, top, right, bottom = part
    factors = -(-(right - left) // SIDE), -(-(bottom - top) // SIDE)
    # The last, narrower blocks are left out.
    whole = right - (right - left) % factors[0], bottom - (bottom - top) % factors[1]
    pixels = np.asarray(image.reduce(factors, box=(left, top, *whole)))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.int16)


def _inside(image: Image.Image, small: Pixels, edge: int) -> Part | None:
    """The part within the frames: less the rows and columns at each edge that are of one colour each.

    `edge` lines more are cut off at each side. None if nothing is left, or there is no frame.
    """
    inner = [0, 0, small.shape[2], small.shape[1]]
    for _ in range(FRAMES):  # the frame at one edge crosses the lines of another
        top, bottom = _between(small[:, inner[1] : inner[3], inner[0] : inner[2]])
        inner[1], inner[3] = inner[1] + top, inner[1] + bottom
        left, right = _between(small[:, inner[1] : inner[3], inner[0] : inner[2]].swapaxes(1, 2))
        inner[0], inner[2] = inner[0] + left, inner[0] + right
        if inner[0] >= inner[2] or inner[1] >= inner[3]:
            return None
    if inner == [0, 0, small.shape[2], small.shape[1]]:
        return None
    steps = -(-image.width // SIDE), -(-image.height // SIDE)
    left, top = (steps[axis] * (inner[axis] + edge) for axis in (0, 1))
    right, bottom = (steps[axis] * (inner[axis + 2] - edge) for axis in (0, 1))
    return None if min(right - left, bottom - top) < MIN_SIDE else (left, top, right, bottom)


def _between(small: Pixels) -> tuple[int, int]:
    """Where the lines that are of more than one colour start and stop, along the second axis.

    The first line after a frame is left out: a part of its pixels may be the frame's.
    """
    if not small.size:
        return 0, 0
    middle = np.sort(small, axis=2)[:, :, small.shape[2] // 2]
    lines = np.flatnonzero(_differs(small, middle[..., None]).mean(1) > SPECK)
    if not len(lines):
        return 0, 0
    start, stop = int(lines[0]), int(lines[-1]) + 1
    return start + (start > 0), stop - (stop < small.shape[1])


def _background(small: Pixels) -> tuple[Colour, float]:
    """The median colour of the four corners, shape (3, 1, 1), and the share of their pixels that have it."""
    high, wide = max(1, small.shape[1] // 8), max(1, small.shape[2] // 8)
    corners = np.concatenate([small[:, :high], small[:, -high:]], axis=1)
    corners = np.concatenate([corners[..., :wide], corners[..., -wide:]], axis=2).reshape(3, 1, -1)
    middle = corners.shape[2] // 2
    colour = np.partition(corners, middle, axis=2)[..., middle : middle + 1]
    return colour, 1 - np.count_nonzero(_differs(corners, colour)) / corners.shape[2]


def _evenly_lit(small: Pixels) -> Pixels | None:
    """Take the fall of the light off a light background; None if there is no such background.

    The light falls from side to side and from the middle to the edges, so a plane and the square of the
    distance from the middle are fitted to the edge of the picture.
    """
    height, width = small.shape[1:]
    down, across = np.mgrid[-1 : 1 : complex(height), -1 : 1 : complex(width)]
    light = np.stack([np.ones_like(down), down, across, down**2 + across**2])
    edge = np.ones((height, width), bool)
    edge[1:-1, 1:-1] = False
    shape, colours = light[:, edge].T, small[:, edge].T
    plain = np.arange(len(shape))
    for _ in range(3):  # without what fits worst, such as a cell that the edge cuts off
        fitted = np.linalg.lstsq(shape[plain], colours[plain], rcond=None)[0]
        plain = np.abs(colours - shape @ fitted).max(1).argsort()[: round(PLAIN * len(shape))]
    background = (fitted.T @ light.reshape(4, -1)).reshape(small.shape)
    even = (small - background + SLIDE).astype(np.int16)
    alike = 1 - _differs(even[:, edge], np.array(SLIDE, np.int16)).mean()
    return even if background.min() > DIMMEST and alike >= PLAIN else None


def _differs(pixels: Pixels, colour: Colour) -> Mask:
    """Which pixels, shape (3, ...), differ from a colour."""
    far = np.abs(pixels - colour) > TOLERANCE
    return np.asarray(far[0] | far[1] | far[2])


def _box(cell: Mask) -> tuple[slice, slice] | None:
    """The rows and columns that the cell takes; None if there is none."""
    across, down = _counts(cell)
    rows = np.flatnonzero(across > SPECK * cell.shape[1])
    columns = np.flatnonzero(down > SPECK * len(cell))
    if not len(rows) or not len(columns):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _counts(mask: Mask) -> tuple[Counts, Counts]:
    """The numbers of pixels in each row and in each column, by products, which are faster than sums."""
    ones = mask.astype(np.float32)
    return ones @ _ONES[: mask.shape[1]], _ONES[: len(mask)] @ ones


def _is_cut_off(cell: Mask, box: tuple[slice, slice]) -> bool:
    """Whether the edge of the picture cuts off what stands in a box of it."""
    inner = cell[box]
    rows, columns = box
    sides = [inner[0]] if not rows.start else []
    sides += [inner[-1]] if rows.stop == len(cell) else []
    sides += [inner[:, 0]] if not columns.start else []
    sides += [inner[:, -1]] if columns.stop == cell.shape[1] else []
    return any(np.count_nonzero(side) > CUT * len(side) for side in sides)


def _is_one(cell: Mask) -> bool:
    """Whether a mask, cropped to its box, has the shape of one cell."""
    if min(cell.shape) < 3 or _pieces(cell) > PIECES:
        return False
    if not FILLED[0] <= np.count_nonzero(cell) / cell.size <= FILLED[1]:
        return False
    high, wide = len(cell) // 3, cell.shape[1] // 3
    across, down = _counts(cell)
    middle = across[high:-high].min() / cell.shape[1], down[wide:-wide].min() / len(cell)
    return min(middle) >= NECK or _blobs(cell, BLOB) < 2


def _waist(cell: Mask) -> float:
    """The extent of a mask at the narrowest of its middle rows, in that of the wider ones beside it.

    Holes do not count: from the first pixel of a row to its last is its extent.
    """
    width = cell.shape[1]
    starts, ends = cell.argmax(1), np.ascontiguousarray(cell[:, ::-1]).argmax(1)
    extents: list[int] = np.where(cell[:, 0] | (starts > 0), width - starts - ends, 0).tolist()
    third = len(extents) // 3
    middle = extents[third : len(extents) - third]
    narrowest = third + middle.index(min(middle))
    wide = min(max(extents[: narrowest + 1]), max(extents[narrowest:]))
    return float(extents[narrowest] / max(wide, 1))


def _pieces(cell: Mask) -> float:
    """The mean number of pieces in the rows and columns of a mask."""
    across = np.count_nonzero(cell[:, 1:] > cell[:, :-1]) + np.count_nonzero(cell[:, 0])
    down = np.count_nonzero(cell[1:] > cell[:-1]) + np.count_nonzero(cell[0])
    return float(across / len(cell) + down / cell.shape[1]) / 2


def _other_than_one(small: Pixels, background: Colour) -> Warned:
    """Choose between the warnings for several cells and for anything else."""
    lightest = np.quantile(small.reshape(3, -1), 0.95, axis=1).astype(np.int16)[:, None, None]
    several = any(_blobs(_differs(small, colour), SPOT) > 1 for colour in (background, lightest))
    return SEVERAL_CELLS if several else NOT_A_CELL


def _too_poor(small: Pixels, side: float) -> list[Warned]:
    """Warn of a picture without colours, or of a cell with few pixels."""
    if np.abs(small[1:] - small[:1]).max() <= COLOUR:
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
