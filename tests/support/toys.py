"""Small functions whose classifier needs no model, because their inputs name the answer."""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

MAIN = '''
from shared.start import fetch, start

fetch(__file__)

import base64
import io

from PIL import Image

from shared.web import readers

PLACES = {
    "Images": lambda raw: Image.open(io.BytesIO(raw)).convert("RGB").getpixel((0, 0))[0],
    "Texts": lambda raw: len(raw.split()) - 1,
    "Rows": lambda raw: int(next(iter(raw.values())) if isinstance(raw, dict) else raw[0]),
}
EXPLANATIONS = {
    "Images": lambda raw: {"heatmap": "data:image/png;base64," + base64.b64encode(raw).decode()},
    "Texts": lambda raw: {"tokens": [{"text": raw[:1], "start": 0, "end": 1, "log_odds": 0.5}]},
    "Rows": lambda raw: None,
}


class Classifier:
    """The input is the index of the label; the answer with the last label always has a warning."""

    def __init__(self, pin):
        self.labels = pin.labels

    prepare = staticmethod(lambda pin: None)

    @classmethod
    def load(cls, content, pin):
        return cls(pin)

    def decode(self, raw):
        return min(PLACES["READER"](raw), len(self.labels) - 1), raw

    def sample(self):
        return 0, None

    def predict(self, batch):
        return batch

    def encode(self, output, explain):
        found, raw = output
        weights = [1 / (1 + abs(place - found)) ** 3 for place in range(len(self.labels))]
        shares = [weight / sum(weights) for weight in weights]
        answer = {"label": self.labels[found], "probabilities": dict(zip(self.labels, shares))}
        if explain:
            answer["explanation"] = EXPLANATIONS["READER"](raw)
        if found == len(self.labels) - 1:
            message = "it is <i>unlike</i> the training data"
            answer["warnings"] = [{"code": "unlike_training", "message": message}]
        return answer


predict = start(
    __file__,
    name="NAME",
    reads=readers.READER("an input"),
    model=Classifier,
    key="the label",
    explanation={"type": ["object", "null"]} if "READER" != "Rows" else None,
)
'''


def image(place: int) -> bytes:
    """Return a PNG for which `Images` answers with the label of this index."""
    stream = io.BytesIO()
    Image.new("RGB", (28, 28), (place, 120, 120)).save(stream, "PNG")
    return stream.getvalue()


def make(folder: Path, reader: str, labels: Sequence[str], example: Any, columns: Sequence[str] = ()) -> Path:
    """Make a function in a new folder, which is also its model store; return the path of its main.py.

    `example` is an input: bytes of an image, a text, or a row. An image, a text or a row that names place n
    begins with a pixel of red n, has n + 1 words, or begins with n.
    """
    folder.mkdir()
    (folder / "main.py").write_text(MAIN.replace("READER", reader).replace("NAME", folder.name))
    (folder / "none.npz").write_bytes(b"weights")
    pin = {
        "file": "none.npz",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "bytes": 7,
        "format": "linear",
        "version": "1",
        "labels": list(labels),
        "input": {"columns": list(columns)} if columns else {},
    }
    (folder / "model.json").write_text(json.dumps(pin))
    if isinstance(example, bytes):
        (folder / "example.png").write_bytes(example)
    given = {"file": "example.png"} if isinstance(example, bytes) else {"input": example}
    (folder / "example.json").write_text(json.dumps({"port": 8083, **given}))
    return folder / "main.py"
