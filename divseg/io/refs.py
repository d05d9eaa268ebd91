"""Images that are known by their headers and read when they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from divseg.io.header import Header
from divseg.io.image import Image, PixelSize
from divseg.io.png import load_png, png_header
from divseg.io.problem import FileProblem
from divseg.io.sources import SUFFIXES
from divseg.io.tiff import load_tiff, tiff_header


@dataclass(frozen=True)
class ImageRef:
    """Where one image is, and what it will be. Small and plain: it can be sent to other processes.

    Attributes
    ----------
    path : Path
        The file.
    index : tuple of (int or None)
        For each dimension of the file the position taken, None for a dimension that is kept.
    kept : str
        Letters of the kept dimensions in the file's order.
    axes : str
        Axes of the image: ``"YX"`` or ``"ZYX"``.
    shape : tuple of int
        In the order of `axes`.
    dtype : numpy.dtype
        As in the file.
    name : str
        What results are filed under.
    plane : tuple of (str, int)
        Iterated axes and the position along each.
    pixel_size : PixelSize, optional
        None where it is not known.
    """

    path: Path
    index: tuple[int | None, ...]
    kept: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str
    plane: tuple[tuple[str, int], ...] = ()
    pixel_size: PixelSize | None = None

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """(Y, X) or (Z, Y, X)."""
        return self.shape

    def load(self) -> Image:
        """Read the pixels.

        Returns
        -------
        Image

        Raises
        ------
        InputError
            If they cannot be read.
        """
        data = load_index(self.path, self.index).transpose([self.kept.index(letter) for letter in self.axes])
        if data.shape != self.shape:
            raise FileProblem(self.path, f"its shape changed from {self.shape} to {data.shape}", "start again")
        return Image(np.ascontiguousarray(data), self.axes, self.name, self.path, self.plane, self.pixel_size)


class ImageList(Sequence[Image]):
    """Images that are read when they are indexed; no pixels are kept.

    Parameters
    ----------
    refs : iterable of ImageRef
        Where they are.

    Attributes
    ----------
    refs : tuple of ImageRef
        For looking at names, shapes and pixel sizes without reading pixels.
    """

    def __init__(self, refs: Iterable[ImageRef]) -> None:
        self.refs = tuple(refs)

    @property
    def names(self) -> list[str]:
        """Names of the images in order."""
        return [ref.name for ref in self.refs]

    def __len__(self) -> int:
        return len(self.refs)

    @overload
    def __getitem__(self, index: int) -> Image: ...

    @overload
    def __getitem__(self, index: slice) -> ImageList: ...

    def __getitem__(self, index: int | slice) -> Image | ImageList:
        if isinstance(index, slice):
            return ImageList(self.refs[index])
        return self.refs[index].load()

    def __repr__(self) -> str:
        return f"ImageList({len(self)} images: {', '.join(self.names[:3])}{', ...' if len(self) > 3 else ''})"


def read_header(path: Path) -> Header:
    """Read the header of an image file.

    Raises
    ------
    FileProblem
        If it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FileProblem(path, f"files of type {suffix or 'unknown'} are not read", "convert it to TIFF")
    return png_header(path) if suffix == ".png" else tiff_header(path)


def load_index(path: Path, index: tuple[int | None, ...]) -> Any:
    """Read the part of an image file that `index` says, see :class:`ImageRef`."""
    return load_png(path, index) if path.suffix.lower() == ".png" else load_tiff(path, index)
