"""The malaria classifier: an image network whose class-activation map is drawn as the explanation."""

from shared.pin import Pin
from shared.runtimes import images

from . import heatmap


class Classifier:
    """Loads the network of a pin."""

    prepare = staticmethod(images.Classifier.prepare)

    @staticmethod
    def load(content: bytes, pin: Pin) -> images.Classifier:
        """Load the verified bytes of the network; raises `ModelUnavailable`."""
        return images.Classifier.load(content, pin, explain=heatmap.explain)
