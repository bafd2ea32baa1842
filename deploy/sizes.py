"""How much memory and CPU a function needs, by the format and the size of its model.

Measured with functions-framework on Python 3.11, x86-64, two cores: the proportional memory of the server and
its worker after 64 calls, eight at a time, of this repository's functions; joblib: of the import.
"""

import re
from collections.abc import Mapping

from shared.pin import Pin

RESIDENT: Mapping[str, int] = {"tflite": 60, "linear": 50, "joblib": 150, "keras": 630, "h5": 630}
"""MiB of one worker process with the format's library loaded."""
COPIES: Mapping[str, int] = {"tflite": 4, "linear": 12, "joblib": 8, "keras": 5, "h5": 5}
"""How many times the file's size is in memory: in `/tmp` (which is memory), while it is loaded, and as the
loaded model; more for compressed files."""
REQUESTS = 220
"""MiB for request bodies and images: an image of 9 MB takes 220 MiB while it is decoded."""
STEPS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
"""MiB; the need is rounded up to one of these."""
LARGEST: Mapping[int, int] = {1: 4096, 2: 8192, 4: 16384, 8: 32768}
"""The most memory in MiB on Cloud Run, by the number of CPUs."""
INSTANCE_CLASSES: Mapping[str, int] = {"F2": 768, "F4": 1536, "F4_1G": 3072}
"""App Engine's classes for automatic scaling, and their memory in MB."""


def parse_size(memory: str) -> int:
    """Convert a size such as 512Mi or 2Gi to MiB."""
    match = re.fullmatch("([0-9]+)(Mi|Gi)", memory)
    if match is None:
        raise ValueError(f"expected a size such as 512Mi or 2Gi, got {memory!r}")
    return int(match[1]) * (1024 if match[2] == "Gi" else 1)


def required_memory(pin: Pin, workers: int = 1) -> int:
    """Return the memory in MiB that the pinned model needs, rounded up to a step.

    Raises:
        ValueError: no instance is that large.
    """
    size = pin.bytes / (1 << 20)
    need = workers * (RESIDENT[pin.format] + COPIES[pin.format] * size) + REQUESTS
    for step in STEPS:
        if need <= step:
            return step
    raise ValueError(
        f"a {pin.format} model of {size:,.0f} MiB needs {need:,.0f} MiB; instances have {STEPS[-1]:,} at most"
    )


def format_size(memory: int) -> str:
    """Convert a size in MiB to Google's notation."""
    return f"{memory // 1024}Gi" if memory % 1024 == 0 else f"{memory}Mi"


def cpus(memory: int) -> int:
    """Return the fewest CPUs that allow this much memory in MiB.

    Raises:
        ValueError: no number of CPUs does.
    """
    for count, largest in LARGEST.items():
        if memory <= largest:
            return count
    raise ValueError(
        f"expected at most {format_size(max(LARGEST.values()))} of memory, got {format_size(memory)}"
    )


def instance_class(memory: int) -> str:
    """Return App Engine's smallest instance class with this much memory in MiB.

    Raises:
        ValueError: there is none.
    """
    for name, largest in INSTANCE_CLASSES.items():
        if memory <= largest:
            return name
    raise ValueError(
        f"App Engine's instances have at most 3072 MB of memory; this needs {format_size(memory)}"
    )
