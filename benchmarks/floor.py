"""Measure decoding and inference alone, in a loop on one thread.

    python -m benchmarks.floor malaria|review|sklearn FILE

FILE holds the input. Prints one JSON object: for each step, its median and its CPU time in milliseconds.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.pin import Pin

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 1.0


def main() -> None:
    """Time the steps and print the figures."""
    which, file = sys.argv[1], Path(sys.argv[2])
    steps = {"malaria": malaria, "review": review, "sklearn": sklearn}[which](file.read_bytes())
    print(json.dumps({name: timed(step) for name, step in steps.items()}))


def timed(step: Callable[[], Any]) -> dict[str, float]:
    """Return the median of a call and its CPU time, in milliseconds, and the number of calls."""
    step()
    spent, began, cpu = [], time.perf_counter(), time.process_time()
    while time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        step()
        spent.append(time.perf_counter() - start)
    cpu = time.process_time() - cpu
    return {"ms": 1000 * statistics.median(spent), "cpu_ms": 1000 * cpu / len(spent), "calls": len(spent)}


def malaria(data: bytes) -> dict[str, Callable[[], Any]]:
    """Return two steps: decode one cell, and run the network on it."""
    from functions.malaria.classifier import Classifier

    pin = Pin.read(ROOT / "functions/malaria/model.json")
    model = Classifier.load((ROOT / "models" / pin.file).read_bytes(), pin)
    pixels = model.decode(data)
    return {"decode": lambda: model.decode(data), "predict": lambda: model.predict([pixels])}


def review(data: bytes) -> dict[str, Callable[[], Any]]:
    """Return one step: score a review."""
    from functions.review.classifier import Classifier

    pin = Pin.read(ROOT / "functions/review/model.json")
    model = Classifier.load((ROOT / "models" / pin.file).read_bytes(), pin)
    text = data.decode()
    assert isinstance(model, Classifier)  # noqa: S101 (the pinned file is not a pickle)
    return {"predict": lambda: model.predict([model.decode(text)])}


def sklearn(data: bytes) -> dict[str, Callable[[], Any]]:
    """Return one step: score a review with the scikit-learn pipeline."""
    import joblib

    model = joblib.load(ROOT / "build" / "bench" / "review.joblib")
    text = data.decode()
    return {"predict": lambda: model.predict([text])}


if __name__ == "__main__":
    main()
