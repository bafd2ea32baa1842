"""The malaria classifier: an image network that crops to the cell, explains its answers, and warns."""

from shared.pin import Pin
from shared.runtimes import images

from . import cell, doubts, heatmap

EXTRAS = images.Extras(explain=heatmap.explain, crop=cell.find, warn=doubts.warn)


class Classifier:
    """Loads the network of a pin."""

    prepare = staticmethod(images.Classifier.prepare)

    @staticmethod
    def load(content: bytes, pin: Pin) -> images.Classifier:
        """Load the verified bytes of the network; raises `ModelUnavailable`."""
        return images.Classifier.load(content, pin, EXTRAS)
