"""The warnings of an answer that should not be trusted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.runtimes.samples import Warned

NOT_A_CELL = Warned(
    "not_a_cell",
    "this does not look like one red blood cell, so the result means nothing: send a photo of a single cell, "
    "cropped so that the cell fills the picture",
)
SEVERAL_CELLS = Warned(
    "several_cells",
    "this picture shows more than one cell, or its edge cuts a cell off: crop it to one whole cell, and send "
    "each cell as a picture of its own",
)
UNFAMILIAR = Warned(
    "unfamiliar",
    "this cell looks unlike those that the model was trained on, perhaps because of another stain, "
    "microscope or focus, so the result is less reliable than the model card says: ask a trained person to "
    "look at the cell",
)
GREY = Warned(
    UNFAMILIAR.code,
    "this picture has no colours, but the model was trained on stained cells in colour: send a colour photo",
)
SMALL = Warned(
    UNFAMILIAR.code,
    "the cell is less than 40 pixels wide or high, too small to see a parasite: photograph it at a higher "
    "magnification, and do not scale the picture down",
)
DRAWN = Warned(
    UNFAMILIAR.code,
    "this picture has patches of one colour, as if it were drawn, strongly compressed or enlarged, so the "
    "result means little: send the photo as the camera took it, cropped to one cell",
)
BLURRED = Warned(
    UNFAMILIAR.code,
    "the cell is out of focus, or the picture was enlarged from a small one, so a parasite may be invisible: "
    "focus the microscope and take the photo again, or send the picture before it was enlarged",
)
UNDECIDED = Warned(
    "undecided",
    "the probability is too close to 0.5 for a decision: ask a trained person to look at the cell",
)


def warn(doubts: NDArray[np.float32]) -> Sequence[Warned]:
    """Return the warnings that a network's doubts of one image stand for.

    `doubts` has shape (3,): not a cell, unlike the training cells, undecided. A doubt above 1 gives a
    warning; the model file has the limits by which the network scales them.
    """
    alien, unfamiliar, undecided = (bool(doubt > 1) for doubt in doubts)
    if alien:
        return [NOT_A_CELL]
    return [*([UNFAMILIAR] if unfamiliar else []), *([UNDECIDED] if undecided else [])]
