"""Fit the network to cells, and measure what it gives for cells."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models import report
from models.malaria import data, network
from models.malaria.augment import augment
from models.malaria.limits import Measured

BATCH = 64
PEAK_RATE = 2e-3
SEED = 20261122
WATCHED = 640
"""Held-out cells for the curves; more are not needed."""
SAMPLED = 6000
"""Training cells for the distribution of the features; more are not needed."""


@dataclass(frozen=True)
class Fitted:
    """A fitted network with two views, not calibrated, and its outputs for some of its training cells."""

    viewed: keras.Model
    train: Measured

    @classmethod
    def to(cls, train: data.Cells, held: data.Cells, epochs: int, out: Path) -> "Fitted":
        """Fit a network to the cells `train`, or resume, with checkpoints in `out`."""
        trained = fit(train, held.sample(WATCHED), epochs, out)
        full = keras.Model(trained.inputs[0], [trained.outputs[0], trained.get_layer("attention").output])
        viewed = network.two_views(full)
        return cls(viewed, measured(viewed, train.sample(SAMPLED)))


def fit(train: data.Cells, held: data.Cells, epochs: int, out: Path) -> keras.Model:
    """Train for `epochs`. The last epoch is the result; no epoch is chosen by its figures.

    The figures for the cells `held`, if there are any, go to `history.json` and to `training.png`.
    """
    out.mkdir(parents=True, exist_ok=True)
    steps = len(train.pixels) // BATCH
    checkpoint, history = out / "checkpoint.keras", out / "history.json"
    done: list[dict[str, float]] = []
    if checkpoint.exists() and history.exists():
        trainer = keras.models.load_model(checkpoint)
        done = json.loads(history.read_text())[: int(trainer.optimizer.iterations) // steps]
        print(f"resuming after epoch {len(done)} of {epochs}: {checkpoint}")
    else:
        keras.utils.set_random_seed(SEED)
        trainer = compiled(network.build(), steps, epochs)

    def save(_: int, logs: dict[str, Any]) -> None:
        done.append({name: round(float(value), 5) for name, value in logs.items()})
        report.write_json(history, done)
        part = checkpoint.with_suffix(".part.keras")
        trainer.save(part)
        part.replace(checkpoint)

    shown = held.pixels.astype(np.float32) / 255, held.infected[:, None].astype(np.float32)
    trainer.fit(
        batches(train, steps, len(done), epochs),
        steps_per_epoch=steps,
        initial_epoch=len(done),
        epochs=epochs,
        shuffle=False,
        validation_data=shown if len(held.pixels) else None,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=save)],
    )
    if len(held.pixels):
        report.curves(done, out / "training.png")
    return trainer


def compiled(built: keras.Model, steps: int, epochs: int) -> keras.Model:
    """Compile the network up to its logit; the learning rate rises for an epoch and then falls to 0."""
    trainer = keras.Model(built.inputs[0], built.outputs[0])
    rate = keras.optimizers.schedules.CosineDecay(
        PEAK_RATE / 20, max(steps * (epochs - 1), 1), warmup_target=PEAK_RATE, warmup_steps=steps
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


def measured(viewed: keras.Model, cells: data.Cells) -> Measured:
    """The outputs of a network with two views for cells without augmentation."""
    parts = [
        viewed.predict_on_batch(cells.pixels[start : start + BATCH].astype(np.float32) / 255)
        for start in range(0, len(cells.pixels), BATCH)
    ]
    logits, _, features, colours = (
        np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True)
    )
    return Measured(logits[:, 0], features, colours, cells.infected)
