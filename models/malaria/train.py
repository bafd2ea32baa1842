"""Train the malaria network, calibrate it, and export it for serving.

    python -m models.malaria.train [--data cell_images.zip] [--out build/malaria]

Patients are assigned to training, validation or test; the test patients are never used here. An interrupted
run resumes after its last complete epoch. The results, in `--out`, are `malaria.keras`, `malaria.tflite`,
`malaria-float.tflite`, `split.json` (the patients of each part), `history.json` and `training.png`.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from models import report
from models.malaria import data, limits, network
from models.malaria.augment import augment

BATCH = 64
PEAK_RATE = 2e-3
SEED = 20261122


def main() -> None:
    """Train, or resume an interrupted training, and export."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", type=Path, default=data.SOURCE, help="NLM's cell_images.zip, or a folder of its layout"
    )
    parser.add_argument("--out", type=Path, default=Path("build/malaria"), help="where the results go")
    parser.add_argument(
        "--epochs", type=int, default=26, help="all epochs; the learning rate is planned for them"
    )
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="the peak of the learning rate")
    parser.add_argument("--start", type=Path, help="a malaria.keras to begin with, instead of random weights")
    parser.add_argument(
        "--fold", type=int, default=0, choices=range(5), help="which fifth of the patients is held out"
    )
    arguments = parser.parse_args()
    plan = Plan(arguments.epochs, arguments.rate, arguments.start)
    served = run(data.read(arguments.data), arguments.fold, plan, arguments.out)
    (arguments.out / "malaria-float.tflite").write_bytes(convert(served, quantise=False))


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
        epochs: all epochs; the learning rate is planned for them.
        rate: the peak of the learning rate.
        start: a `malaria.keras` with the first weights; None for random weights.
    """

    epochs: int
    rate: float = PEAK_RATE
    start: Path | None = None


def run(cells: data.Cells, fold: int, plan: Plan, out: Path) -> keras.Model:
    """Train on the patients outside of `fold`, or resume, and write the results to `out`.

    Returns the network to serve.
    """
    out.mkdir(parents=True, exist_ok=True)
    split = data.split(cells, fold)
    report.write_json(out / "split.json", split)
    train, validation = cells.of(split["train"]), cells.of(split["validation"])
    trained = fit(train, validation, plan, out)
    report.curves(json.loads((out / "history.json").read_text()), out / "training.png")
    return export(trained, train, validation, out)


def fit(train: data.Cells, validation: data.Cells, plan: Plan, out: Path) -> keras.Model:
    """Train as planned. The last epoch is the result; no epoch is chosen by its figures."""
    epochs = plan.epochs
    steps = len(train.pixels) // BATCH
    checkpoint, history = out / "checkpoint.keras", out / "history.json"
    done: list[dict[str, float]] = []
    if checkpoint.exists() and history.exists():
        trainer = keras.models.load_model(checkpoint)
        done = json.loads(history.read_text())[: int(trainer.optimizer.iterations) // steps]
        print(f"resuming after epoch {len(done)} of {epochs}: {checkpoint}")
    else:
        keras.utils.set_random_seed(SEED)
        trainer = compiled(begun(plan.start), steps, plan)

    def save(_: int, logs: dict[str, Any]) -> None:
        done.append({name: round(float(value), 5) for name, value in logs.items()})
        report.write_json(history, done)
        part = checkpoint.with_suffix(".part.keras")
        trainer.save(part)
        part.replace(checkpoint)

    trainer.fit(
        batches(train, steps, len(done), epochs),
        steps_per_epoch=steps,
        initial_epoch=len(done),
        epochs=epochs,
        shuffle=False,
        validation_data=(
            validation.pixels.astype(np.float32) / 255,
            validation.infected[:, None].astype(np.float32),
        ),
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=save)],
    )
    return trainer


def begun(start: Path | None) -> keras.Model:
    """Build a network, with the weights of the `malaria.keras` at `start` if it is given."""
    built = network.build()
    if start:
        built.set_weights(keras.models.load_model(start, compile=False).get_weights())
    return built


def compiled(built: keras.Model, steps: int, plan: Plan) -> keras.Model:
    """Compile the network up to its logit; the learning rate rises for an epoch and then falls to 0.

    With trained weights at the start, it rises for a quarter of an epoch.
    """
    trainer = keras.Model(built.inputs[0], built.outputs[0])
    warm_up = steps // 4 if plan.start else steps
    rate = keras.optimizers.schedules.CosineDecay(
        plan.rate / 20, max(steps * plan.epochs - warm_up, 1), warmup_target=plan.rate, warmup_steps=warm_up
    )
    trainer.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.02),
        keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.02),
        metrics=[
            keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy"),
            keras.metrics.AUC(from_logits=True, name="auroc"),
        ],
        jit_compile=bool(tf.config.list_physical_devices("GPU")),  # on a CPU oneDNN is faster than XLA
    )
    return trainer


def batches(train: data.Cells, steps: int, first: int, last: int) -> tf.data.Dataset:
    """Augmented training batches of the epochs `first` to `last` (excluded), the same on every run."""

    def order() -> Any:
        for epoch in range(first, last):
            rows = np.random.default_rng((SEED, epoch)).permutation(len(train.pixels))
            for step in range(steps):
                chosen = rows[step * BATCH : (step + 1) * BATCH]
                infected = train.infected[chosen, None].astype(np.float32)
                yield train.pixels[chosen], infected, np.int32(epoch * steps + step)

    shape = (BATCH, *train.pixels.shape[1:])
    return (
        tf.data.Dataset.from_generator(
            order,
            output_signature=(
                tf.TensorSpec(shape, tf.uint8),
                tf.TensorSpec((BATCH, 1), tf.float32),
                tf.TensorSpec((), tf.int32),
            ),
        )
        .map(lambda pixels, infected, step: (augment(pixels, step), infected))
        .prefetch(2)
    )


def temperature(logits: NDArray[np.float64], infected: NDArray[np.int64]) -> float:
    """The temperature that gives these labels the highest likelihood (Guo et al. 2017)."""
    signed = np.where(infected == 1, logits, -logits)
    candidates = np.geomspace(0.2, 5.0, 2001)
    return float(min(candidates, key=lambda value: np.logaddexp(0.0, -signed / value).mean()))


def export(trained: keras.Model, train: data.Cells, validation: data.Cells, out: Path) -> keras.Model:
    """Calibrate on the validation patients, compute the limits, and write the network to serve."""
    full = keras.Model(trained.inputs[0], [trained.outputs[0], trained.get_layer("attention").output])
    viewed = network.two_views(full)
    held = measured(viewed, validation)
    divisor = temperature(held.logits, held.infected)
    known = limits.limits(measured(viewed, train), held, divisor)
    served = network.served(viewed, divisor, known)
    served.save(out / "malaria.keras")
    (out / "malaria.tflite").write_bytes(convert(served))
    print(
        f"temperature {divisor:.3f}, undecided within {known.undecided:.2f} log-odds, unfamiliar beyond "
        f"{known.unfamiliar:.1f} or {known.stained:.1f} by colour, no cell beyond {known.alien:.1f}; "
        f"wrote {out / 'malaria.tflite'}"
    )
    return served


def measured(viewed: keras.Model, cells: data.Cells) -> limits.Measured:
    """The outputs of a network with two views for cells without augmentation."""
    parts = [
        viewed.predict_on_batch(cells.pixels[start : start + BATCH].astype(np.float32) / 255)
        for start in range(0, len(cells.pixels), BATCH)
    ]
    logits, _, features, colours = (
        np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True)
    )
    return limits.Measured(logits[:, 0], features, colours, cells.infected)


def convert(network: keras.Model, quantise: bool = True) -> bytes:
    """Convert the network to a LiteRT file for one image, with 8-bit weights if `quantise`.

    Activations stay in float32 between the layers (dynamic-range quantisation).
    """
    call = tf.function(lambda image: network(image, training=False))
    graph = call.get_concrete_function(tf.TensorSpec((1, *data.SIZE, 3), tf.float32, name="image"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(graph)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if quantise else []
    return bytes(converter.convert())


if __name__ == "__main__":
    main()
