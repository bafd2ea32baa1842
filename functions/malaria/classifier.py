"""The malaria classifier: an image network that crops to the cell, explains its answers, and warns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.pin import Pin
from shared.runtimes import images
from shared.runtimes.samples import Warned

from . import cell, doubts, heatmap, photo


def warn(values: NDArray[np.float32], pixels: NDArray[np.uint8]) -> Sequence[Warned]:
    """Return the warnings for a network's doubts of an image, and for the image itself.

    Those for the image come first, because they say more precisely what is the matter.
    """
    warned = doubts.warn(values)
    return warned if doubts.NOT_A_CELL in warned else [*photo.warn(pixels), *warned]


EXTRAS = images.Extras(explain=heatmap.explain, crop=cell.find, warn=warn)


class Classifier:
    """Loads the network of a pin."""

    prepare = staticmethod(images.Classifier.prepare)

    @staticmethod
    def load(content: bytes, pin: Pin) -> images.Classifier:
        """Load the verified bytes of the network; raises `ModelUnavailable`."""
        return images.Classifier.load(content, pin, EXTRAS)
