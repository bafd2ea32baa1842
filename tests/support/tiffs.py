"""Write TIFF files of any layout without a library, so that their exact content is known."""

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Tags = Mapping[int, Sequence[int]]
HEAD = 16


def tiff(tags: Tags, data: bytes = b"", order: str = "<", big: bool = False, after: int = 0) -> bytes:
    """A TIFF, or BigTIFF, of one page with these tags, all of them LONG; `data` begins at byte `HEAD`.

    Args:
        tags: values by tag.
        data: what the tags point at.
        order: `<` or `>`.
        big: whether it is a BigTIFF.
        after: where a next page stands.
    """
    body, entries = bytearray(data), []
    place, count = ("Q", "Q") if big else ("I", "H")
    for tag in sorted(tags):
        packed = struct.pack(f"{order}{len(tags[tag])}I", *tags[tag])
        if len(packed) > struct.calcsize(place):
            at = HEAD + len(body)
            body += packed
            packed = struct.pack(order + place, at)
        entries.append(
            struct.pack(f"{order}HH{place}", tag, 4, len(tags[tag]))
            + packed.ljust(struct.calcsize(place), b"\0")
        )
    start = HEAD + len(body)
    kind = (43, 8, 0, start) if big else (42, start)
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + ("HHHQ" if big else "HI"), *kind)
    end = struct.pack(order + place, after)
    return (
        header.ljust(HEAD, b"\0") + body + struct.pack(order + count, len(entries)) + b"".join(entries) + end
    )


def page(
    samples: NDArray[np.generic],
    photometric: int,
    *,
    order: str = "<",
    planar: bool = False,
    tile: int = 0,
    deflated: bool = False,
    extra: Sequence[int] = (),
    description: str = "",
    big: bool = False,
) -> bytes:
    """Return a TIFF of samples, shape (height, width, channels); `extra` has the kinds of extra samples."""
    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    planes = np.moveaxis(samples, 2, 0)[..., None] if planar else samples[None]
    side = tile or max(height, width)
    pieces = []
    for plane in planes.astype(samples.dtype.newbyteorder(order)):
        if tile:
            room = [(0, -height % side), (0, -width % side), (0, 0)]
            padded = np.pad(plane, room)
            pieces += [
                padded[top : top + side, left : left + side].tobytes()
                for top in range(0, height, side)
                for left in range(0, width, side)
            ]
        else:
            pieces += [plane[top : top + 17].tobytes() for top in range(0, height, 17)]
    if deflated:
        pieces = [zlib.compress(piece) for piece in pieces]
    sizes = [len(piece) for piece in pieces]
    starts = [HEAD + sum(sizes[:index]) for index in range(len(sizes))]
    tags: dict[int, Sequence[int]] = {
        256: (width,),
        257: (height,),
        258: (bits,) * channels,
        259: (8 if deflated else 1,),
        262: (photometric,),
        277: (channels,),
        284: (2 if planar else 1,),
        339: ({"f": 3, "i": 2}.get(samples.dtype.kind, 1),) * channels,
    }
    tags |= {338: extra} if extra else {}
    tags |= {270: tuple(description.encode())} if description else {}
    tags |= (
        {322: (side,), 323: (side,), 324: starts, 325: sizes}
        if tile
        else {278: (17,), 273: starts, 279: sizes}
    )
    return tiff(tags, b"".join(pieces), order, big)
