"""The malaria network in LiteRT, as the peers serve it: its documented calls, and our own preprocessing."""

import json
import os
from pathlib import Path

import numpy as np
from stopwatch import part

with part("imports"):
    from ai_edge_litert.interpreter import Interpreter

    from shared.runtimes.pixels import decode

ROOT = Path(__file__).resolve().parents[2]
PIN = json.loads((ROOT / "functions" / "malaria" / "model.json").read_text())

MODEL = Path(os.environ.get("MODEL_FILE") or ROOT / "models" / PIN["file"])


class Network:
    """An interpreter on one thread."""

    def __init__(self) -> None:
        with part("load"):
            self._interpreter = Interpreter(model_path=str(MODEL), num_threads=1)
            self._interpreter.allocate_tensors()
            self._input = self._interpreter.get_input_details()[0]["index"]
            outputs = self._interpreter.get_output_details()
            [self._output] = [output["index"] for output in outputs if len(output["shape"]) == 2]

    def classify(self, image: bytes) -> dict[str, object]:
        """An encoded image to its label and probabilities."""
        with part("first prediction"):
            pixels = decode(image, tuple(PIN["input"]["size"]))
            self._interpreter.set_tensor(self._input, pixels[None].astype(np.float32) / 255)
            self._interpreter.invoke()
            return answer(float(self._interpreter.get_tensor(self._output)[0, 0]))


def answer(probability: float) -> dict[str, object]:
    """The probability of `Infected` to what is answered."""
    label = PIN["labels"][probability >= PIN["threshold"]]
    return {"classification": label, "probabilities": {"Infected": probability, "Normal": 1 - probability}}
