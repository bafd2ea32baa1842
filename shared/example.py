"""A function's example, in its `example.json`: an input, and the label that is right for it.

The contract test, `make serve`, the OpenAPI document, the page and the test call of a deployment send it, so
that none of them needs to know a particular function.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Example:
    """The content of `example.json`.

    Attributes:
        port: where `make serve` serves the function.
        input: the input as an element of `instances`: a base64 image, a text, or a row.
        file: the image's file, if it is an image.
        label: the right answer; None until a model is published.
    """

    port: int
    input: Any
    file: Path | None = None
    label: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "Example":
        """Read the example of the function in `folder`.

        Raises:
            ValueError: there is no valid example; the message says what was expected.
        """
        path = folder / "example.json"
        try:
            content = json.loads(path.read_text())
            port, label = content["port"], content.get("label")
            file = folder / content["file"] if "file" in content else None
            value = base64.b64encode(file.read_bytes()).decode() if file else content["input"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: expected port, label, and input or file: {type(error).__name__}: {error}"
            ) from None
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
            raise ValueError(f"{path}: 'port': expected a whole number from 1 to 65535, got {port!r}")
        if not isinstance(label, str | None):
            raise ValueError(f"{path}: 'label': expected a label of the model, got {label!r}")
        return cls(port, value, file, label)
