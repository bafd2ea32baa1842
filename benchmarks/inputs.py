"""The inputs of all requests: one cell and one review, the same bytes in every run."""

import base64
import io
import json
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CHARACTERS = 1_300
BOUNDARY = "bench-boundary"

_SENTENCES = (
    "The film opens slowly, but once the two sisters meet at the motor park it never lets go.",
    "I laughed, I cried, and my mother, who sleeps through everything, stayed awake to the last scene!",
    "Dis film sweet well well; di pikin wey play di younger sister go win award one day.",
    "Some of the sound is rough & the subtitles come late, yet none of that matters by the end.",
)


@cache
def cell() -> bytes:
    """Return a PNG of the size of the NLM's cells, 130 x 130 pixels and 13 kB: the drawn example with noise.

    Without the noise, a drawn cell compresses better than a photographed one.
    """
    with Image.open(ROOT / "models" / "malaria" / "examples" / "infected.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(np.int16)
    grain = np.random.default_rng(0)
    noise = grain.integers(-1, 2, pixels.shape) * (grain.random(pixels.shape) < 0.3)
    noisy = np.where(pixels.sum(axis=2, keepdims=True) > 0, pixels + noise, pixels)
    stream = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@cache
def review() -> str:
    """Return a review of `CHARACTERS` characters."""
    text = " ".join(_SENTENCES[place % len(_SENTENCES)] for place in range(20))
    return text[:CHARACTERS]


def multipart(field: str, content: bytes, kind: str) -> tuple[str, bytes]:
    """Return the content type and the body of a form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="cell.png"\r\n'
    body = head.encode() + f"Content-Type: {kind}\r\n\r\n".encode() + content
    return f"multipart/form-data; boundary={BOUNDARY}", body + f"\r\n--{BOUNDARY}--\r\n".encode()


def images(count: int) -> bytes:
    """Return a request body for our function with the cell `count` times."""
    return json.dumps({"instances": [{"b64": base64.b64encode(cell()).decode()}] * count}).encode()


def texts(count: int) -> bytes:
    """Return a request body for our function with `count` reviews, which differ."""
    shift = [review()[place % 40 :] + review()[: place % 40] for place in range(count)]
    return json.dumps({"instances": shift}).encode()


def open_inference(name: str, content: str, kind: str, count: int = 1) -> bytes:
    """Return a request body with `count` inputs in the Open Inference Protocol, for MLServer."""
    given = {"name": name, "shape": [count, 1], "datatype": "BYTES", "data": [content] * count}
    return json.dumps({"inputs": [{**given, "parameters": {"content_type": kind}}]}).encode()
