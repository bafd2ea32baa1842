"""How much memory and CPU a function asks for: told by the format and the size of its model.

Measured with functions-framework on Python 3.11, x86-64, two cores: the proportional memory of the server and
its worker after 64 calls, eight at a time, of this repository's functions; joblib: of the import.
"""

import re
from collections.abc import Mapping

from shared.pin import Pin

RESIDENT: Mapping[str, int] = {"tflite": 60, "linear": 50, "joblib": 150, "keras": 630, "h5": 630}
"""MiB of one worker with the format's library."""
COPIES: Mapping[str, int] = {"tflite": 4, "linear": 12, "joblib": 8, "keras": 5, "h5": 5}
"""How often a file is in memory: in `/tmp`, which is memory, as bytes while they are loaded, and as what the
library makes of them, which for compressed files is more."""
REQUESTS = 220
"""MiB for bodies and images in work: one of 9 MB takes 220 MiB while it is decoded."""
STEPS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
"""MiB; what is needed is rounded up to one of these."""
LARGEST: Mapping[int, int] = {1: 4096, 2: 8192, 4: 16384, 8: 32768}
"""The most memory, in MiB, that so many CPUs allow on Cloud Run."""
INSTANCE_CLASSES: Mapping[str, int] = {"F2": 768, "F4": 1536, "F4_1G": 3072}
"""App Engine's classes for automatic scaling, and their memory in MB."""


def parse_size(memory: str) -> int:
    """The size that Google writes as 512Mi or 2Gi, in MiB."""
    found = re.fullmatch("([0-9]+)(Mi|Gi)", memory)
    if found is None:
        raise ValueError(f"expected a size such as 512Mi or 2Gi, got {memory!r}")
    return int(found[1]) * (1024 if found[2] == "Gi" else 1)


def required_memory(pin: Pin, workers: int = 1) -> int:
    """The memory in MiB that the pinned model needs, as the next larger step.

    Raises:
        ValueError: there is no instance so large.
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
    """A size in MiB as Google writes it."""
    return f"{memory // 1024}Gi" if memory % 1024 == 0 else f"{memory}Mi"


def cpus(memory: int) -> int:
    """The fewest CPUs that allow so much memory, in MiB.

    Raises:
        ValueError: none do.
    """
    for count, largest in LARGEST.items():
        if memory <= largest:
            return count
    raise ValueError(
        f"expected at most {format_size(max(LARGEST.values()))} of memory, got {format_size(memory)}"
    )


def instance_class(memory: int) -> str:
    """App Engine's smallest instance with so much memory, in MiB.

    Raises:
        ValueError: there is none.
    """
    for name, largest in INSTANCE_CLASSES.items():
        if memory <= largest:
            return name
    raise ValueError(
        f"App Engine's instances have at most 3072 MB of memory; this needs {format_size(memory)}"
    )
