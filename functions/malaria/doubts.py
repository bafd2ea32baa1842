"""What the caller is told when an answer should not be trusted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.runtimes.samples import Warned

NOT_A_CELL = Warned(
    "not_a_cell",
    "this does not look like one red blood cell, and the verdict means nothing for anything else: send a "
    "photo of a single cell, cut out so that it fills the picture",
)
SEVERAL_CELLS = Warned(
    "several_cells",
    "there is more than one cell, or a cell that the edge cuts off, in this picture: crop it to one whole "
    "cell, and send each cell as a picture of its own",
)
UNFAMILIAR = Warned(
    "unfamiliar",
    "this cell looks unlike those that the model was trained on, as with another stain, microscope or focus: "
    "the verdict is less reliable than the model card says; have a trained person look at the cell",
)
GREY = Warned(
    UNFAMILIAR.code,
    "this picture has no colours, and the model was trained on stained cells in colour: send the photo in "
    "colour",
)
SMALL = Warned(
    UNFAMILIAR.code,
    "the cell has fewer than 40 pixels from side to side, in which a parasite cannot be seen: photograph it "
    "larger, or crop the picture to the cell",
)
UNDECIDED = Warned(
    "undecided",
    "the probability is too close to the middle to decide by it: have a trained person look at the cell",
)


def warn(doubts: NDArray[np.float32]) -> Sequence[Warned]:
    """Say what a network's doubts of one image mean; each is above 1 if it holds.

    `doubts` has shape (3,): how unlike a cell, how unlike the training cells, how undecided. The limits are
    the network's own, and in its file.
    """
    alien, unfamiliar, undecided = (bool(doubt > 1) for doubt in doubts)
    if alien:
        return [NOT_A_CELL]
    return [*([UNFAMILIAR] if unfamiliar else []), *([UNDECIDED] if undecided else [])]
