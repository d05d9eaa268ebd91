"""Pixels of 2 to 15 bits without padding, as camera software packs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

PACKED = frozenset(set(range(2, 16)) - {8})
"""Bits of a pixel that are unpacked here."""

_ROWS_BYTES = 2**22


def read_packed(page: Any, key: Any) -> NDArray[np.generic]:
    """Read a page of a TIFF whose pixels are packed, most significant bit first, each row from a whole byte on.

    Parameters
    ----------
    page : tifffile.TiffPage or TiffFrame
        The page, of an open file; one sample per pixel, in strips.
    key : tifffile.TiffPage
        The page that says how pixels are stored.

    Returns
    -------
    array, shape (Y, X), uint8 or uint16

    Raises
    ------
    ValueError
        If a strip is too short, or bits stand in reversed order.
    """
    if int(key.fillorder) == 2:
        raise ValueError("the bits of its bytes are reversed")
    height, width, bits = int(key.imagelength), int(key.imagewidth), int(key.bitspersample)
    decompress = tifffile.TIFF.DECOMPRESSORS[key.compression]
    file = page.parent.filehandle
    out = np.empty((height, width), np.uint8 if bits < 8 else np.uint16)
    rows, row_bytes, top = min(int(key.rowsperstrip), height), (width * bits + 7) // 8, 0
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if top >= height:
            break
        n = min(rows, height - top)
        file.seek(offset)
        raw = file.read(count)
        data = raw if int(key.compression) == 1 else decompress(raw, out=n * row_bytes)
        if len(data) < n * row_bytes:
            raise ValueError(f"a strip of {len(data)} bytes where {n} rows of {row_bytes} are needed")
        packed = np.frombuffer(data, np.uint8, n * row_bytes).reshape(n, row_bytes)
        step = max(_ROWS_BYTES // max(row_bytes * 8, 1), 1)
        for first in range(0, n, step):
            part = packed[first : first + step]
            out[top + first : top + first + len(part)] = _unpack(part, width, bits)
        top += n
    if top < height:
        raise ValueError(f"{height - top} rows are missing")
    return out


def _unpack(rows: NDArray[np.uint8], width: int, bits: int) -> NDArray[np.uint16]:
    """Return the values in rows of bytes, (N, bytes) -> (N, width)."""
    single = np.unpackbits(rows, axis=1, count=width * bits).reshape(len(rows), width, bits)
    out = np.zeros((len(rows), width), np.uint16)
    for k in range(bits):
        out |= single[:, :, k].astype(np.uint16) << np.uint16(bits - 1 - k)
    return out
