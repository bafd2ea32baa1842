"""HEIC: read if the package pillow-heif is installed; otherwise the error message names the format."""

import importlib

from ...errors import UnsupportedType
from .avif import sizes
from .plan import Plan

BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
PACKAGE = "pillow-heif"


def scan(data: bytes) -> Plan:
    """Read the size; the package has its own limits for the rest.

    Raises:
        UnsupportedType: the package is not installed.
        ValueError: the file has no picture, or a box cannot be read.
    """
    try:
        package = importlib.import_module(PACKAGE.replace("-", "_"))
    except ImportError:
        raise UnsupportedType(
            "expected a JPEG or PNG image; this is HEIC, which phones make: send it as JPEG (on an iPhone, "
            "Settings, Camera, Formats, Most Compatible), or add the package "
            f"{PACKAGE} to the function's requirements"
        ) from None
    package.register_heif_opener(thumbnails=False)
    width, height = max(sizes(data), key=lambda size: size[0] * size[1])
    pixels = width * height
    return Plan("HEIF", ((data,),), width, height, work=5 * pixels, memory=10 * pixels)
