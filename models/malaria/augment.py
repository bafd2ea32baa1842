"""Random augmentation of training images: the differences between microscopes, stains and slides.

It runs on a batch in TensorFlow, from a stateless seed. The same step gives the same images, so a resumed run
gives the same result as an uninterrupted one.
"""

import math

import tensorflow as tf


class Draw:
    """Random numbers for one batch, shape (batch, *shape); each call is a new, independent draw."""

    def __init__(self, seed: tf.Tensor, batch: int) -> None:
        self._seed = seed
        self._batch = batch
        self._calls = 0

    def _next(self) -> tf.Tensor:
        self._calls += 1
        return tf.stack([self._seed, self._calls])

    def uniform(self, low: float, high: float, *shape: int) -> tf.Tensor:
        return tf.random.stateless_uniform((self._batch, *shape), self._next(), low, high)

    def normal(self, deviation: float, *shape: int) -> tf.Tensor:
        return tf.random.stateless_normal((self._batch, *shape), self._next(), 0.0, deviation)

    def chance(self, probability: float, *shape: int) -> tf.Tensor:
        return self.uniform(0.0, 1.0, *shape) < probability


@tf.function  # type: ignore[untyped-decorator]
def augment(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Augment RGB uint8, shape (n, side, side, 3), to float32 in [0, 1] of the same shape.

    This changes rotation, flip, scale and shift; stain, brightness, contrast and colour of the cell, whose
    black background stays black; focus; and sensor noise. Some images get a light background in place of
    the black one, since a crop without segmentation shows the slide.
    """
    draw = Draw(seed, pixels.shape[0])
    noise = draw.normal(1.0, *pixels.shape[1:3], 1)
    moved = _move(pixels, draw)
    return _develop(moved, noise, seed)


def _move(images: tf.Tensor, draw: Draw) -> tf.Tensor:
    """Apply one affine map: a right-angle turn, a flip, up to 15 degrees more, scale and shift."""
    side = images.shape[1]
    quarter = tf.floor(draw.uniform(0.0, 4.0)) * (math.pi / 2)
    angle = quarter + draw.uniform(-math.pi / 12, math.pi / 12)
    flip = tf.where(draw.chance(0.5), 1.0, -1.0)
    zoom = draw.uniform(-0.1, 0.25)
    zoom_x, zoom_y = (tf.exp(zoom + draw.uniform(-0.08, 0.08)) for _ in range(2))
    a, b = tf.cos(angle) * zoom_x * flip, -tf.sin(angle) * zoom_y
    c, d = tf.sin(angle) * zoom_x * flip, tf.cos(angle) * zoom_y
    centre = (side - 1) / 2
    x = centre * (1.0 - a - b) + draw.uniform(-0.05 * side, 0.05 * side)
    y = centre * (1.0 - c - d) + draw.uniform(-0.05 * side, 0.05 * side)
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, x, c, d, y, zero, zero], -1),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _develop(pixels: tf.Tensor, noise: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    draw = Draw(seed + 1_000_000_007, pixels.shape[0])
    images = tf.cast(pixels, tf.float32) / 255.0
    cell = tf.cast(tf.reduce_max(images, -1, keepdims=True) > 0.04, tf.float32)
    images = _stain(images, cell, draw)
    images = _focus(images, draw)
    noise *= draw.uniform(0.0, 0.04, 1, 1, 1)
    light = tf.clip_by_value(draw.uniform(0.7, 1.0, 1, 1, 1) + draw.normal(0.05, 1, 1, 3), 0.0, 1.0)
    inside = tf.clip_by_value(2.0 * _smooth(cell, (1.0, 1.0, 1.0)) - 1.0, 0.0, 1.0)
    unsegmented = images * inside + light * (1.0 - inside) + noise
    images = tf.where(draw.chance(0.3, 1, 1, 1), unsegmented, images + noise * cell)
    return tf.clip_by_value(images, 0.0, 1.0)


def _stain(images: tf.Tensor, cell: tf.Tensor, draw: Draw) -> tf.Tensor:
    """Change hue, saturation, gain, gamma and contrast of the cell."""
    hue, saturation = draw.normal(0.12, 1, 1), tf.exp(draw.normal(0.3, 1, 1))
    # A rotation about the grey axis, by Rodrigues' formula.
    axis = tf.constant([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3.0)
    turn = tf.eye(3) * tf.cos(hue) + axis * tf.sin(hue) + tf.ones((3, 3)) / 3.0 * (1.0 - tf.cos(hue))
    grey = tf.constant([[0.299, 0.587, 0.114]] * 3)
    gain = tf.exp(draw.normal(0.08, 1, 3) + draw.normal(0.15, 1, 1))
    colour = tf.matmul(tf.eye(3) * saturation + grey * (1.0 - saturation), turn)
    colour *= tf.transpose(gain, (0, 2, 1))
    rows = [tf.reduce_sum(images * colour[:, None, None, row], -1) for row in range(3)]
    stained = tf.clip_by_value(tf.stack(rows, -1), 1e-4, 1.0)
    stained = tf.exp(tf.math.log(stained) * tf.exp(draw.normal(0.2, 1, 1, 1)))
    area = tf.reduce_sum(cell, (1, 2), keepdims=True) + 1.0
    mean = tf.reduce_sum(stained * cell, (1, 2), keepdims=True) / area
    stained = mean + (stained - mean) * tf.exp(draw.normal(0.18, 1, 1, 1))
    stained = tf.clip_by_value(stained, 0.0, 1.0) * cell
    return tf.where(draw.chance(0.15, 1, 1, 1), images, stained)


def _focus(images: tf.Tensor, draw: Draw) -> tf.Tensor:
    """Blur or sharpen half of the images."""
    amount = draw.uniform(-0.6, 1.0, 1, 1, 1)
    amount = tf.where(draw.chance(0.5, 1, 1, 1), amount, 0.0)
    return images + amount * (_smooth(images, (1.0, 4.0, 6.0, 4.0, 1.0)) - images)


def _smooth(images: tf.Tensor, kernel: tuple[float, ...]) -> tf.Tensor:
    """Convolve rows, then columns, with `kernel`; black beyond the edge."""
    reach = len(kernel) // 2
    for axis in (1, 2):
        size = images.shape[axis]
        padding = [[reach, reach] if dimension == axis else [0, 0] for dimension in range(4)]
        padded = tf.pad(images, padding)
        taps = [tf.gather(padded, tf.range(tap, tap + size), axis=axis) for tap in range(len(kernel))]
        images = tf.add_n([tap * weight for tap, weight in zip(taps, kernel, strict=True)]) / sum(kernel)
    return images
