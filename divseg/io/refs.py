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
from divseg.io.image import Image, PixelSize
from divseg.io.image_source import ImageSource
from divseg.io.invalid import Invalid
from divseg.io.pixels import check_pixels


@dataclass(frozen=True)
class ImageRef:
    """An image that is not read yet: where it is in its file, and what the header says. Can be sent to other processes.

    Attributes
    ----------
    source : ImageSource
        What the file says of itself.
    index : tuple of (int or None)
        For each dimension of the source the position taken, None for an axis of the image or of the projection.
    file_axes : str
        The axes whose position is None, in the order of the file.
    axes : str
        Axes of the image: ``"YX"`` or ``"ZYX"``.
    shape : tuple of int
        Shape in the order of `axes`.
    name : str
        Name that results are filed under.
    plane : tuple of (str, int)
        Axes that were iterated and the position along each.
    pixel_size : PixelSize, optional
        None if it is not known.
    invalid : "auto", "none" or a number
        How pixels that are no data are found (:func:`divseg.io.defects.without_defects`); ``"none"``: the pixels are
        those of the file.
    project : str, optional
        Projection of all planes along Z: ``"max"``, ``"mean"`` or ``"sum"``.
    letters : str
        What the dimensions of the source are taken for, by itself or by the user.
    """

    source: ImageSource
    index: tuple[int | None, ...]
    file_axes: str
    axes: str
    shape: tuple[int, ...]
    name: str
    plane: tuple[tuple[str, int], ...] = ()
    pixel_size: PixelSize | None = None
    invalid: Invalid = "none"
    project: str | None = None
    letters: str = ""

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the pixels: that of the file, float32 for means and sums."""
        return np.dtype(np.float32) if self.project in ("mean", "sum") else self.source.dtype

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """(Y, X) or (Z, Y, X)."""
        return self.shape

    @property
    def n_channels(self) -> int:
        """Channels of the source."""
        axis = self.letters.find("C")
        return 1 if axis < 0 else self.source.shape[axis]

    @property
    def channel(self) -> int:
        """Number of the channel that is taken."""
        axis = self.letters.find("C")
        return 0 if axis < 0 else self.index[axis] or 0

    @property
    def channel_name(self) -> str:
        """Name of the channel that is taken, empty if the file does not name it."""
        return self.source.channels[self.channel] if self.source.channels else ""

    @property
    def frame(self) -> str:
        """Name of the series of frames that the image belongs to, empty if it is not one of several."""
        frames = [k for axis, k in self.plane if axis == "T"]
        if not frames:
            return ""
        head, _, tail = self.name.rpartition("_t")
        return head + tail.lstrip("0123456789")

    def of_channel(self, number: int) -> ImageRef:
        """Return the same image of another channel."""
        axis = self.letters.find("C")
        return self if axis < 0 else replace(self, index=(*self.index[:axis], number, *self.index[axis + 1 :]))

    def stat(self) -> tuple[int, int, int]:
        """Return size in bytes, time of modification and time of change in nanoseconds of the file.

        Raises
        ------
        FileProblem
            If the file is not there.
        """
        return self.source.stat()

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
        free = [k for k, position in enumerate(index) if position is None]
        if region is not None:
            for k, letter in zip(free, self.file_axes, strict=True):
                index[k] = region[self.axes.index(letter)] if letter in self.axes else None
        if self.project is None:
            data = self.source.load(tuple(index))
        else:
            depth = free[self.file_axes.index("Z")]
            planes = (
                self.source.load((*index[:depth], z, *index[depth + 1 :])) for z in range(self.source.shape[depth])
            )
            data = projection(planes, self.project)
        in_file = "".join(letter for letter in self.file_axes if letter in self.axes)
        data = data.transpose([in_file.index(letter) for letter in self.axes])
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


def projection(planes: Iterable[NDArray[np.generic]], how: str) -> NDArray[Any]:
    """Return the maximum, the mean or the sum of planes, which are taken one at a time.

    Parameters
    ----------
    planes : iterable of arrays, all of one shape
        At least one.
    how : str
        ``"max"`` keeps the dtype, ``"mean"`` and ``"sum"`` are float32.
    """
    total: NDArray[Any] | None = None
    count = 0
    for plane in planes:
        values: NDArray[Any] = plane if how == "max" else plane.astype(np.float64)
        total = values if total is None else np.maximum(total, values) if how == "max" else total + values
        count += 1
    if total is None:
        raise ValueError("a projection needs planes")
    return total if how == "max" else (total / (count if how == "mean" else 1)).astype(np.float32)
