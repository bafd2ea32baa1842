"""Drawn red blood cells that resemble the NLM's segmented ones; the repository has no photographs."""

import io
import math
import random
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

SIDE = 130
OVERSAMPLING = 4


def draw(infected: bool, seed: int = 0) -> Image.Image:
    """An RGB image of one cell on black, with a ring-form parasite if `infected`."""
    rng = random.Random(seed)
    scale = OVERSAMPLING
    side = SIDE * scale
    stain = tuple(base + rng.randint(-8, 8) for base in (214, 150, 150))
    cell = Image.new("RGB", (side, side), stain)
    light = Image.new("L", (side, side), 0)
    ImageDraw.Draw(light).ellipse([side * 0.33, side * 0.33, side * 0.62, side * 0.62], fill=70)
    pallor = tuple(min(255, value + 25) for value in stain)
    cell.paste(Image.new("RGB", cell.size, pallor), mask=light.filter(ImageFilter.GaussianBlur(side / 12)))
    if infected:
        x, y = rng.uniform(52, 78), rng.uniform(52, 80)
        draw_ring(cell, x, y, rng.uniform(11, 14.3), rng.uniform(0, math.tau))
    cell = cell.filter(ImageFilter.GaussianBlur(scale * 1.2))
    grain = Image.effect_noise((side, side), 18).convert("RGB")
    cell = Image.blend(cell, grain, 0.03)
    outline = Image.new("L", (side, side), 0)
    points = [
        (
            side / 2 + math.cos(angle) * side * (0.46 + 0.012 * math.sin(3 * angle + seed)),
            side / 2 + math.sin(angle) * side * (0.44 + 0.012 * math.cos(2 * angle + seed)),
        )
        for angle in (step * math.tau / 90 for step in range(90))
    ]
    ImageDraw.Draw(outline).polygon(points, fill=255)
    black = Image.new("RGB", (side, side))
    black.paste(cell, mask=outline)
    return black.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def draw_ring(cell: Image.Image, x: float, y: float, radius: float = 12, angle: float = 0.7) -> None:
    """Draw a ring-form parasite about (x, y), all in pixels of a cell of `SIDE` pixels."""
    scale = cell.width / SIDE
    x, y, radius = x * scale, y * scale, radius * scale
    purple, dark = (150, 62, 128), (104, 24, 96)
    pen = ImageDraw.Draw(cell)
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=purple, width=round(2.9 * scale))
    dot, dot_x, dot_y = 4.4 * scale, x + math.cos(angle) * radius, y + math.sin(angle) * radius
    pen.ellipse([dot_x - dot, dot_y - dot, dot_x + dot, dot_y + dot], fill=dark)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of the image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
