"""PNG files: the header, and the pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from divseg.errors import FileProblem, one_line
from divseg.io.ifd import COPY_AGAIN
from divseg.io.image import Header, Index, native

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY = 0


def png_header(path: str | Path) -> Header:
    """Read the header of a PNG.

    Parameters
    ----------
    path : path
        Grey (axes YX) or colour (axes YXC).

    Returns
    -------
    Header

    Raises
    ------
    FileProblem
        If the file is empty, damaged, cut off or not a PNG, or has colours of 16 bits.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(26)
            size = file.seek(0, 2)
            file.seek(max(0, size - 12))
            tail = file.read()
    except OSError as error:
        raise FileProblem(path, f"it cannot be opened ({error.strerror or error})", "check it") from error
    if size == 0:
        raise FileProblem(path, "it is empty (0 bytes)", COPY_AGAIN)
    if not head.startswith(_SIGNATURE):
        raise FileProblem(
            path,
            f"it is not a PNG file despite its name (it begins with {head[:8]!r})",
            "export it as TIFF",
        )
    if len(head) < 26 or b"IEND" not in tail:
        raise FileProblem(path, "it is cut off: it ends before its last row", COPY_AGAIN)
    bits, colour = struct.unpack(">BB", head[24:26])
    if bits == 16 and colour != _GREY:
        # the decoder would silently keep 8 of the 16 bits
        raise FileProblem(path, "colours of 16 bits in PNG cannot be read", "export it as TIFF")
    try:
        properties = iio.improps(path)
    except Exception as error:
        raise FileProblem(path, f"it cannot be read as PNG ({one_line(error)})", COPY_AGAIN) from error
    shape = tuple(properties.shape)
    grey = len(shape) == 2
    return Header("YX" if grey else "YXC", shape, np.dtype(properties.dtype), colours=not grey)


def load_png(path: str | Path, index: Index) -> NDArray[np.generic]:
    """Read a part of a PNG, see :func:`divseg.io.refs.load_index`."""
    try:
        data = np.asarray(iio.imread(path))
    except Exception as error:  # a damaged file can make the decoder raise almost anything
        raise FileProblem(path, f"its pixels cannot be read ({one_line(error)})", COPY_AGAIN) from error
    if data.ndim != len(index):
        raise FileProblem(path, f"its shape changed to {data.shape}", "start again")
    return native(np.array(data[tuple(slice(None) if i is None else i for i in index)]))
