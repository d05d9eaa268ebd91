"""JPEG files: readable, but what they lost is what noise models are about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from divseg.errors import FileProblem, one_line
from divseg.io.grey import all_equal
from divseg.io.ifd import COPY_AGAIN
from divseg.io.image import Index
from divseg.io.image_source import COLOURS, ImageSource
from divseg.io.limits import check_claim

LOSSY = "JPEG has smoothed its noise and added blocks of 8 pixels: results may be wrong; use the original file"


@dataclass(frozen=True, kw_only=True)
class JpegSource(ImageSource):
    """The picture in a JPEG."""

    def load(self, index: Index, *, labels: bool = False) -> NDArray[np.generic]:
        """Read a part of it."""
        data = _pixels(self.path)
        data = data[..., 0] if data.ndim == 3 and self.equal else data
        if data.ndim != len(index):
            raise FileProblem(self.path, f"its shape changed to {data.shape}", "start again")
        return np.array(data[tuple(slice(None) if i is None else i for i in index)])


def jpeg_source(path: Path) -> JpegSource:
    """Read the header of a JPEG: grey (axes YX), colour (axes YXC), or grey that was saved in colour (axes YX).

    Raises
    ------
    FileProblem
        If it is empty, damaged, cut off or not a JPEG.
    """
    picture = _pixels(path)
    colours = picture.ndim == 3 and not all_equal(picture, False, 255)
    return JpegSource(
        path=path,
        axes="YXC" if colours else "YX",
        shape=picture.shape if colours else picture.shape[:2],
        dtype=picture.dtype,
        channels=COLOURS[:3] if colours else (),
        notes=(LOSSY,),
        colours=colours,
        equal=0 if colours or picture.ndim == 2 else 3,
    )


def _pixels(path: Path) -> NDArray[Any]:
    """Return the pixels, (Y, X) or (Y, X, 3), uint8."""
    try:
        if path.stat().st_size == 0:
            raise FileProblem(path, "it is empty (0 bytes)", COPY_AGAIN)
        with Pillow.open(path, formats=("JPEG",)) as picture:
            check_claim(path, picture.width * picture.height * 3)
            return np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))
    except FileProblem:
        raise
    except Exception as error:  # a damaged file can make the decoder raise almost anything
        raise FileProblem(path, f"it cannot be read as JPEG ({one_line(error)})", COPY_AGAIN) from error
