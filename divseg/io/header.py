"""What the header of an image file says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from divseg.io.image import PixelSize


@dataclass(frozen=True)
class Header:
    """A file's contents, known without reading pixels.

    Attributes
    ----------
    axes : str
        A letter of ``"TCZYX"`` for each dimension, ``"?"`` where the file does not say; colour samples
        are channels.
    shape : tuple of int
        Of the whole file.
    dtype : numpy.dtype
        Of the pixels.
    pixel_size : PixelSize or None
        From ImageJ or OME metadata.
    notes : list of str
        Oddities the user should know.
    colours : bool
        Whether the channels are the colours of one picture (RGB and the like).
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixel_size: PixelSize | None = None
    notes: list[str] = field(default_factory=list)
    colours: bool = False
