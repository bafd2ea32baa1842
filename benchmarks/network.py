"""Compare the time of a LiteRT inference of the malaria network with that of a plain network of its kind.

    .venv/dev/bin/python -m benchmarks.network

The plain network has a stem of stride 4 and three residual stages of 48, 64 and 96 filters, about 330 k
parameters. Both run on one thread, in turn, in this one process. Prints one JSON object: the fastest of
several rounds for each, in milliseconds, and their ratio.
"""

import json
import time
from typing import Any

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from models.malaria.network import build, convolve, residual
from models.malaria.train import convert

ROUNDS, CALLS = 15, 50


def main() -> None:
    """Time both networks and print the figures."""
    networks = {"malaria": build(), "plain": plain()}
    interpreters = {name: interpreter(network) for name, network in networks.items()}
    best = dict.fromkeys(networks, float("inf"))
    for _ in range(ROUNDS):
        for name, ready in interpreters.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                ready.invoke()
            best[name] = min(best[name], (time.perf_counter() - start) / CALLS * 1000)
    found = {
        **{f"{name}_ms": round(value, 3) for name, value in best.items()},
        "ratio": round(best["malaria"] / best["plain"], 2),
        "parameters": {name: network.count_params() for name, network in networks.items()},
    }
    print(json.dumps(found, indent=1))


def plain() -> keras.Model:
    """Return the network to compare with."""
    image = keras.Input((100, 100, 3))
    x = convolve(image, 48, stride=4, size=7)
    for filters, stride in ((48, 1), (64, 2), (64, 1), (96, 2)):
        x = residual(x, filters, stride)
    x = keras.layers.Conv2D(1, 1)(x)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))


def interpreter(network: keras.Model) -> Any:
    """Return a single-threaded interpreter of `network`, with its input set."""
    ready = Interpreter(model_content=convert(network, quantise=False), num_threads=1)
    ready.allocate_tensors()
    noise = np.random.default_rng(0).random((1, 100, 100, 3), np.float32)
    ready.set_tensor(ready.get_input_details()[0]["index"], noise)
    return ready


if __name__ == "__main__":
    main()
