"""BentoML: a file in a form, and a worker for each core."""

from pathlib import Path

import bentoml


@bentoml.service(workers="cpu_count", traffic={"timeout": 60})
class Malaria:
    """One service, with one API."""

    def __init__(self) -> None:
        from network import Network

        self.network = Network()

    @bentoml.api
    def classify(self, image: Path) -> dict:
        """The uploaded file to the answer."""
        return self.network.classify(image.read_bytes())
