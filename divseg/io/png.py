"""PNG files: the header, and the pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from divseg.errors import FileProblem, one_line
from divseg.io.grey import all_equal
from divseg.io.ifd import COPY_AGAIN
from divseg.io.image import Index, native
from divseg.io.image_source import COLOURS, ImageSource
from divseg.io.limits import check_claim

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}


@dataclass(frozen=True, kw_only=True)
class PngSource(ImageSource):
    """The picture in a PNG."""

    def load(self, index: Index, *, labels: bool = False) -> NDArray[np.generic]:
        """Read a part of it."""
        _check(self.path)
        data = _pixels(self.path, labels)
        if data.ndim == 3 and len(index) == 2:
            data = data[..., 0]  # colours that are all the same
        if data.ndim != len(index):
            raise FileProblem(self.path, f"its shape changed to {data.shape}", "start again")
        return native(np.array(data[tuple(slice(None) if i is None else i for i in index)]))


def png_source(path: Path, *, labels: bool = False) -> PngSource:
    """Read the header of a PNG.

    Parameters
    ----------
    path : path
        Grey (axes YX), colour (axes YXC), or grey that was saved in colour (axes YX).
    labels : bool
        The file is a mask: of an indexed picture the index counts, not its colour.

    Returns
    -------
    PngSource

    Raises
    ------
    FileProblem
        If the file is empty, damaged, cut off or not a PNG, or has colours of 16 bits or transparent pixels.
    """
    height, width, bits, colour = _check(path)
    if colour == _GREY or (labels and colour == _PALETTE):
        dtype = np.uint16 if bits == 16 else np.bool_ if bits == 1 and colour == _GREY else np.uint8
        return PngSource(path=path, axes="YX", shape=(height, width), dtype=np.dtype(dtype))
    picture = _pixels(path, labels)
    n = picture.shape[2]
    if all_equal(picture, n in (2, 4), 255):
        return PngSource(path=path, axes="YX", shape=(height, width), dtype=picture.dtype, equal=n)
    if n == 2:
        raise FileProblem(path, "it is transparent in places (grey with an alpha channel)", "save it without alpha")
    return PngSource(
        path=path, axes="YXC", shape=picture.shape, dtype=picture.dtype, channels=COLOURS[:n], colours=True
    )


def _check(path: str | Path) -> tuple[int, int, int, int]:
    """Return height, width, bits of a sample and type of colour of a PNG that can be read."""
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
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    if colour not in _SAMPLES or bits not in (1, 2, 4, 8, 16) or not (width and height):
        raise FileProblem(path, "it cannot be read as PNG (its header is damaged)", COPY_AGAIN)
    if bits == 16 and colour != _GREY:
        # the decoder would silently keep 8 of the 16 bits
        raise FileProblem(path, "colours of 16 bits in PNG cannot be read", "export it as TIFF")
    check_claim(path, width * height * max(bits // 8, 1) * _SAMPLES[colour])
    return height, width, bits, colour


def _pixels(path: str | Path, labels: bool) -> NDArray[Any]:
    """Return the pixels, (Y, X) or (Y, X, C) with 2 to 4 samples; of an indexed mask the indices."""
    try:
        with Pillow.open(path, formats=("PNG",)) as picture:
            if picture.mode == "P" and not labels:
                return np.asarray(picture.convert("RGBA" if "transparency" in picture.info else "RGB"))
            data = np.asarray(picture)
    except Exception as error:  # a damaged file can make the decoder raise almost anything
        raise FileProblem(path, f"its pixels cannot be read ({one_line(error)})", COPY_AGAIN) from error
    return data.astype(np.uint16) if picture.mode.startswith("I") else data
