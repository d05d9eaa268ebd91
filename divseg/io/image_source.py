"""One image in a file, of whatever format: known by its header, and read part by part."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.errors import FileProblem
from divseg.io.image import Index, PixelSize
from divseg.io.limits import check_claim

COLOURS = ("red", "green", "blue", "alpha")
"""Names of the channels of a picture in colours."""


@dataclass(frozen=True, kw_only=True)
class ImageSource(ABC):
    """One image of up to six axes in a file. Small, and can be sent to other processes: no file stays open.

    Attributes
    ----------
    path : Path
        The file, or the folder of an OME-Zarr.
    axes : str
        A letter of ``"TCZYX"`` for each dimension in the order of the file, ``"?"`` if the file does not say; colour
        samples are channels.
    shape : tuple of int
        Length of each dimension.
    dtype : numpy.dtype
        Data type of the pixels.
    pixel_size : PixelSize, optional
        None if the file does not say.
    interval : float, optional
        Seconds from one frame to the next.
    channels : tuple of str
        Names of the channels; empty if the file names none.
    place : str
        Where in the file it is, such as the well and field of a plate, ``"A01_0"``; empty if it need not be said.
    series : int
        Number of the image in a file that holds several.
    notes : tuple of str
        Oddities the user should know.
    colours : bool
        Whether the channels are the colours of one picture (RGB and the like).
    equal : int
        Number of samples of a pixel that are all the same, and therefore left out of `axes` and `shape`; else 0.
    """

    path: Path
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixel_size: PixelSize | None = None
    interval: float | None = None
    channels: tuple[str, ...] = ()
    place: str = ""
    series: int = 0
    notes: tuple[str, ...] = ()
    colours: bool = False
    equal: int = 0

    @abstractmethod
    def load(self, index: Index, *, labels: bool = False) -> NDArray[np.generic]:
        """Read a part, and no more than is needed for it.

        Parameters
        ----------
        index : tuple of (int, slice or None)
            For each dimension the position or positions taken, None for the whole dimension.
        labels : bool
            The file is a mask: of an indexed picture the index counts, not its colour.

        Returns
        -------
        array
            The dimensions without a fixed position in the file's order, in the machine's byte order.

        Raises
        ------
        FileProblem
            If the pixels cannot be read.
        """

    def slices(self, index: Index) -> tuple[int | slice, ...]:
        """Return an index as NumPy takes it, if what it takes may be held in memory.

        Raises
        ------
        FileProblem
            If it may not.
        """
        wanted = tuple(slice(None) if i is None else i for i in index)
        # the length of a range would overflow on what a damaged header claims
        parts = [p.indices(n) for p, n in zip(wanted, self.shape, strict=True) if isinstance(p, slice)]
        sides = [max(0, -((start - stop) // step)) for start, stop, step in parts]
        check_claim(self.path, math.prod(sides) * self.dtype.itemsize)
        return wanted

    def stat(self) -> tuple[int, int, int]:
        """Return size in bytes, time of modification and time of change in nanoseconds: the same, the same pixels.

        Raises
        ------
        FileProblem
            If the file is not there.
        """
        try:
            return file_stat(self.path)
        except OSError as error:
            raise FileProblem(self.path, f"its pixels cannot be read ({error.strerror})", "check it") from error


def file_stat(path: Path) -> tuple[int, int, int]:
    """Return size, time of modification and time of change of a file; of a folder of all files in it together.

    Raises
    ------
    OSError
        If it is not there.
    """
    stat = path.stat()
    if not path.is_dir():
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    size, modified, changed = 0, stat.st_mtime_ns, stat.st_ctime_ns
    for folder, _, files in os.walk(path):
        for inner in (os.stat(folder), *(os.stat(os.path.join(folder, name)) for name in files)):
            size += inner.st_size
            modified, changed = max(modified, inner.st_mtime_ns), max(changed, inner.st_ctime_ns)
    return size, modified, changed
