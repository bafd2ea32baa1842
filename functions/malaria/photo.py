"""Whether the pixels that the network gets look like a sharp photo of a stained cell."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.runtimes.samples import Warned

from .doubts import BLURRED, DRAWN, UNFAMILIAR

Pixels = NDArray[np.uint8]

SIZE = 100, 100
"""The height and width for which the limits below were measured, on 1,355 of the training cells."""
GREEN = -22, 112
"""Levels (of 256) by which the green of a stained cell is below its red and its blue: at least, at most.

Haemoglobin and the dyes of Giemsa's stain absorb green most. All cells measured are within these limits.
"""
LIGHTEST = 205
"""The most green of a stained cell; the lightest cell measured has 199."""
EQUAL = 0.56
"""The share of neighbouring pixels with equal colours; because of their grain, cells have less."""
ABRUPT = 0.78
"""The share of the neighbours that differ at all whose difference is more than a level.

If there are more, patches of one colour end abruptly; in a drawn cell with soft edges there are fewer, even
as a JPEG of quality 50.
"""
REPEATED = 0.58
"""The share of rows that repeat the one above: up to .57 in the JPEG of a drawn cell, and .02 in photos."""
FLAT = 0.92
"""The share of neighbouring pixels with equal colours if there is nothing in the picture but a flat patch."""
SHARP = 0.09
"""The least sharpness of the picture: sharp cells on a light slide have .1, and on black .15."""
FINE = 0.079
"""The least sharpness of the middle of the cell, at that of the smoothest cell measured."""


def warn(pixels: Pixels) -> Sequence[Warned]:
    """Return the warnings of a picture of a cell, shape (100, 100, 3), uint8, RGB; of another size, none."""
    if pixels.shape[:2] != SIZE:
        return []
    green = np.ascontiguousarray(pixels[..., 1])
    if _sharpness(green) < SHARP:
        return [BLURRED]
    middle = pixels[16:84, 16:84]
    if _repeats(middle) or _is_drawn(middle[::2]):
        return [DRAWN]
    if _is_of_another_colour(pixels[30:70:3, 30:70:3]):
        return [UNFAMILIAR]
    return [BLURRED] if _sharpness(green[28:72, 28:72]) < FINE else []


def _is_drawn(pixels: Pixels) -> bool:
    """Whether a picture consists of patches of one colour each, as drawn and strongly compressed ones do."""
    levels = pixels.astype(np.int16)
    steps = np.abs(levels[:, 1:] - levels[:, :-1])
    most = np.maximum(np.maximum(steps[..., 0], steps[..., 1]), steps[..., 2])
    differ, abrupt = np.count_nonzero(most), np.count_nonzero(most > 1)
    equal = 1 - differ / most.size
    return bool(equal > FLAT or (equal > EQUAL and abrupt > ABRUPT * differ))


def _repeats(pixels: Pixels) -> bool:
    """Whether many rows repeat the one above, as when each pixel was enlarged to a square."""
    rows = pixels.reshape(len(pixels), -1)
    return bool((rows[1:] == rows[:-1]).all(1).mean() > REPEATED)


def _is_of_another_colour(pixels: Pixels) -> bool:
    """Whether the colour of the middle of the cell, its median, is none that the stain gives."""
    colours = pixels.reshape(-1, 3)
    red, green, blue = np.partition(colours, len(colours) // 2, axis=0)[len(colours) // 2].tolist()
    return bool(green > LIGHTEST or min(red, blue) - green < GREEN[0] or max(red, blue) - green > GREEN[1])


def _sharpness(green: Pixels) -> float:
    """The squared differences of neighbours, in those of pixels four apart: 1/16 if all is smooth, up to 1.

    It does not depend on the contrast, and a blur lowers it because each edge gets wider.
    """
    energy = [1e-6, 1e-6]
    for part in (green[::3], green[:, ::3].T):  # a third of the rows and columns tells enough
        lines = np.ascontiguousarray(part).astype(np.float32)
        for index, lag in enumerate((1, 4)):
            steps = (lines[:, lag:] - lines[:, :-lag]).ravel()
            energy[index] += float(steps @ steps)
    return energy[0] / energy[1]
