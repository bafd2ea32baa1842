"""LitServe: images in base64 as in its own examples, a worker for each core, and its fast queue."""

import base64
import os
import sys

import litserve


class Malaria(litserve.LitAPI):
    """The calls LitServe makes, in their order."""

    def setup(self, device):
        """Load the model, in each worker."""
        from network import Network

        self.network = Network()

    def decode_request(self, request):
        """JSON to the image's bytes."""
        return base64.b64decode(request["image"])

    def predict(self, image):
        """The image's bytes to the answer."""
        return self.network.classify(image)

    def encode_response(self, output):
        """The answer as it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Malaria(api_path="/classify"),
        accelerator="cpu",
        workers_per_device=os.cpu_count() or 1,
        fast_queue=True,
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
