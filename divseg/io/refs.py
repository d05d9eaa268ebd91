"""Images that are known by their headers and read when they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from divseg.errors import FileProblem, InputError
from divseg.io.cache import CACHE
from divseg.io.defects import without_defects
from divseg.io.image import Header, Image, Index, PixelSize
from divseg.io.invalid import Invalid
from divseg.io.pixels import check_pixels
from divseg.io.png import load_png, png_header
from divseg.io.sources import SUFFIXES
from divseg.io.tiff import load_tiff, tiff_headers


@dataclass(frozen=True)
class ImageRef:
    """An image that is not read yet: its file, and what the header says. Can be sent to other processes.

    Attributes
    ----------
    path : Path
        The file.
    index : tuple of (int or None)
        For each dimension of the file the position taken, None for an axis of the image.
    file_axes : str
        Axes of the image in the order of the file.
    axes : str
        Axes of the image: ``"YX"`` or ``"ZYX"``.
    shape : tuple of int
        Shape in the order of `axes`.
    dtype : numpy.dtype
        Data type in the file.
    name : str
        Name that results are filed under.
    plane : tuple of (str, int)
        Axes that were iterated and the position along each.
    pixel_size : PixelSize, optional
        None if it is not known.
    series : int
        Number of the image in a TIFF that holds several.
    invalid : "auto", "none" or a number
        How pixels that are no data are found (:func:`divseg.io.defects.without_defects`); ``"none"``: the pixels are
        those of the file.
    """

    path: Path
    index: tuple[int | None, ...]
    file_axes: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str
    plane: tuple[tuple[str, int], ...] = ()
    pixel_size: PixelSize | None = None
    series: int = 0
    invalid: Invalid = "none"

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """(Y, X) or (Z, Y, X)."""
        return self.shape

    def stat(self) -> tuple[int, int, int]:
        """Return size in bytes, time of modification and time of change in nanoseconds of the file.

        Raises
        ------
        FileProblem
            If the file is not there.
        """
        try:
            stat = self.path.stat()
        except OSError as error:
            raise FileProblem(self.path, f"its pixels cannot be read ({error.strerror})", "check it") from error
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns

    def load(self, region: tuple[slice, ...] | None = None, *, check: bool = True) -> Image:
        """Read the pixels; of small images from memory, if the file was read a moment ago.

        Parameters
        ----------
        region : tuple of slice, optional
            The part to return, a slice for each of the image's `axes`. Only this part is read if the file is not
            compressed. Pixels that are all equal are accepted in it.
        check : bool
            Make sure that the pixels can be worked with, see :func:`divseg.io.check_pixels`.

        Returns
        -------
        Image
            With a read-only array.

        Raises
        ------
        InputError
            If the pixels cannot be read or worked with, or if `region` does not fit the image.
        """
        if region is not None:
            self._check_region(region)
        stat = self.stat()
        image = CACHE.get((self, stat))
        if region is not None:
            if image is None and self.invalid == "none":
                image = self._read(region)
            else:  # what is no data, and what is defective, is seen in the whole image alone
                image = _part(image or self._read(None), region)
        if image is None:
            image = CACHE.add((self, stat), self._read(None), max(stat[1:]))
        image.data.flags.writeable = False
        if check:
            check_pixels(image, constant=region is not None)
        return image

    def _read(self, region: tuple[slice, ...] | None) -> Image:
        index: list[int | slice | None] = list(self.index)
        if region is not None:
            free = [k for k, position in enumerate(index) if position is None]
            for k, letter in zip(free, self.file_axes, strict=True):
                index[k] = region[self.axes.index(letter)]
        data = load_index(self.path, tuple(index), self.series)
        data = data.transpose([self.file_axes.index(letter) for letter in self.axes])
        if region is None and data.shape != self.shape:
            raise FileProblem(self.path, f"its shape changed from {self.shape} to {data.shape}", "start again")
        pixels = np.ascontiguousarray(data)
        image = Image(pixels, self.axes, self.name, self.path, self.plane, self.pixel_size)
        return image if region is not None else without_defects(image, self.invalid)

    def _check_region(self, region: tuple[slice, ...]) -> None:
        sides = [len(range(*part.indices(n))) for part, n in zip(region, self.shape, strict=False)]
        if len(region) != len(self.shape) or 0 in sides:
            raise InputError(
                f"{self.name}: region {region} of an image of shape {self.shape}; "
                f"give a slice for each of the axes {self.axes} that holds pixels"
            )


def _part(image: Image, region: tuple[slice, ...]) -> Image:
    """Return a part of an image; how many of its pixels were mended is not known."""
    valid = None if image.valid is None else np.ascontiguousarray(image.valid[region])
    return replace(image, data=np.ascontiguousarray(image.data[region]), valid=valid, outliers=0)


class ImageList(Sequence[Image]):
    """Images that are read when they are indexed, and checked when they are worked with.

    Parameters
    ----------
    refs : iterable of ImageRef
        The images to read.

    Attributes
    ----------
    refs : tuple of ImageRef
        Names, shapes and pixel sizes, available without reading pixels.
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
        return self.refs[index].load(check=False)

    def __repr__(self) -> str:
        return f"ImageList({len(self)} images: {', '.join(self.names[:3])}{', ...' if len(self) > 3 else ''})"


def read_headers(path: Path) -> list[Header]:
    """Read the headers of the images in a file: one for each series of a TIFF.

    Raises
    ------
    FileProblem
        If it cannot be read.
    """
    _check_suffix(path)
    return [png_header(path)] if path.suffix.lower() == ".png" else tiff_headers(path)


def read_header(path: Path) -> Header:
    """Read the header of a file of label images.

    Raises
    ------
    FileProblem
        If it cannot be read, or holds several series.
    """
    _check_suffix(path)
    if path.suffix.lower() == ".png":
        return png_header(path, labels=True)
    headers = tiff_headers(path)
    if len(headers) > 1:
        raise FileProblem(path, f"it holds {len(headers)} series of label images", "save each as a file of its own")
    return headers[0]


def _check_suffix(path: Path) -> None:
    if (suffix := path.suffix.lower()) not in SUFFIXES:
        raise FileProblem(path, f"files of type {suffix or 'unknown'} are not read", "convert it to TIFF")


def load_index(path: Path, index: Index, series: int = 0, *, labels: bool = False) -> NDArray[np.generic]:
    """Read a part of an image file.

    Parameters
    ----------
    path : Path
        A file whose header was read before.
    index : tuple of (int, slice or None)
        For each dimension in the header the position or positions taken, None for the whole dimension.
    series : int
        Number of the image in a TIFF.
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
    if path.suffix.lower() == ".png":
        return load_png(path, index, labels=labels)
    return load_tiff(path, index, series, labels=labels)
