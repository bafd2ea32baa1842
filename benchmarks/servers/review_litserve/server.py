"""LitServe on a scikit-learn pipeline: a worker for each core, and its fast queue."""

import os
import sys
from pathlib import Path

import litserve
from stopwatch import part


class Review(litserve.LitAPI):
    """The calls LitServe makes, in their order."""

    def setup(self, device):
        """Load the model, in each worker."""
        with part("imports"):
            import joblib
            import sklearn.pipeline  # noqa: F401 (what the file needs)
        with part("load"):
            self.model = joblib.load(Path(__file__).parents[3] / "build" / "bench" / "review.joblib")

    def decode_request(self, request):
        """JSON to the text."""
        return request["text"]

    def predict(self, text):
        """The text to its label."""
        with part("first prediction"):
            [label] = self.model.predict([text])
            return label

    def encode_response(self, output):
        """The label as JSON."""
        return {"review_sentiment": output}


if __name__ == "__main__":
    server = litserve.LitServer(
        Review(api_path="/predict"),
        accelerator="cpu",
        workers_per_device=os.cpu_count() or 1,
        fast_queue=True,
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
