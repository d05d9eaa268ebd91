"""One image with its axes, name and pixel size, and what the header of its file says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError
from divseg.io.hashing import config_hash, hash_array

Index: TypeAlias = tuple[int | slice | None, ...]
"""For each dimension of a file the position or positions taken, None for the whole dimension."""
IMAGE_AXES = ("YX", "CYX", "ZYX", "CZYX")
"""The orders of axes that an :class:`Image` can have."""


@dataclass(frozen=True)
class PixelSize:
    """Distance between neighbouring pixels.

    Attributes
    ----------
    y, x : float
        Height and width of a pixel in `unit`.
    z : float, optional
        Distance between planes in `unit`; None for 2-D images or if it is not known.
    unit : str
        ``"µm"`` if the unit of the file can be converted to micrometres.

    Raises
    ------
    InputError
        If a size is not a positive finite number.
    """

    y: float
    x: float
    z: float | None = None
    unit: str = "µm"

    def __post_init__(self) -> None:
        for axis in "yxz":
            size = getattr(self, axis)
            if axis == "z" and size is None:
                continue
            if not (math.isfinite(size) and size > 0):
                raise InputError(f"pixel size {axis}={size} {self.unit} is not a positive number; correct it")

    def __str__(self) -> str:
        sizes = [size for size in (self.z, self.y, self.x) if size is not None]
        return " x ".join(f"{size:.4g}" for size in sizes) + f" {self.unit}"


@dataclass(frozen=True, eq=False)
class Image:
    """An image of one time point and position.

    Attributes
    ----------
    data : array
        Pixels in the order of `axes`, in the dtype of the file and the machine's byte order. Read-only if they
        come from a file, and not to be changed otherwise: they are checked once and hashed once.
    axes : str
        ``"YX"``, ``"CYX"``, ``"ZYX"`` or ``"CZYX"``.
    name : str
        Stem of the file, followed by the position in it if the file holds several planes
        (``"cells_t0003"``). Results are filed under this name.
    path : Path, optional
        The file it came from.
    plane : tuple of (str, int)
        Axes that were iterated and the position along each, for example ``(("T", 3),)``.
    pixel_size : PixelSize, optional
        None if it is not known.
    valid : bool array, shape without the channels, optional
        False where a pixel is no data, such as padding; `data` is filled there. None if all pixels are data.
    outliers : int
        Number of hot or dead pixels and of pixels in grains of dust that were mended in `data`.

    Raises
    ------
    InputError
        If `axes` is not one of the four, or does not fit the number of dimensions.

    Examples
    --------
    >>> image = Image.from_array([[1, 2, 3], [4, 5, 6]], "cells", pixel_size=PixelSize(0.25, 0.25))
    >>> image.name, image.axes, image.shape
    ('cells', 'YX', (2, 3))
    >>> str(image.pixel_size)
    '0.25 x 0.25 µm'
    """

    data: NDArray[np.generic]
    axes: str
    name: str
    path: Path | None = None
    plane: tuple[tuple[str, int], ...] = ()
    pixel_size: PixelSize | None = None
    valid: NDArray[np.bool_] | None = None
    outliers: int = 0
    _checked: bool = field(default=False, init=False, repr=False)  # by divseg.io.check_pixels

    def __post_init__(self) -> None:
        if self.axes not in IMAGE_AXES:
            raise InputError(f"{self.name}: axes {self.axes!r} are not one of {', '.join(IMAGE_AXES)}; reorder it")
        if self.data.ndim != len(self.axes):
            raise InputError(
                f"{self.name}: axes {self.axes} do not fit an array of shape {self.data.shape}; "
                "give one letter for each dimension"
            )
        if 0 in self.data.shape:
            raise InputError(f"{self.name}: an array of shape {self.data.shape} has no pixels; leave it out")

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        name: str = "image",
        *,
        axes: str | None = None,
        pixel_size: PixelSize | None = None,
    ) -> Self:
        """Make an image of an array.

        Parameters
        ----------
        array : array_like
            2-D, or 3-D or 4-D with `axes`.
        name : str
            What results are filed under.
        axes : str, optional
            ``"YX"`` by default.
        pixel_size : PixelSize, optional
            None if it is not known.

        Returns
        -------
        Image

        Raises
        ------
        InputError
            If the array is not 2-D and `axes` is not given.
        """
        data = np.asarray(array)
        if axes is None and data.ndim != 2:
            raise InputError(
                f"{name}: an array of shape {data.shape} is not a 2-D image; "
                f"give axes= (one of {', '.join(IMAGE_AXES)}) or its planes one by one"
            )
        return cls(native(data), axes or "YX", name, pixel_size=pixel_size)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the pixels, shape and dtype in 64 hexadecimal digits, and of what is no data; computed once."""
        own = hash_array(self.data)
        return own if self.valid is None else config_hash({"data": own, "valid": hash_array(self.valid)})

    @property
    def invalid(self) -> float:
        """Fraction of the pixels that are no data."""
        return 0.0 if self.valid is None else float(1.0 - self.valid.mean())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `data`."""
        return self.data.shape

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape without the channels: (Y, X) or (Z, Y, X)."""
        return self.data.shape[1:] if self.axes[0] == "C" else self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of `data`."""
        return self.data.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy:
            return np.array(self.data, dtype=dtype)
        out = np.asarray(self.data, dtype=dtype)
        if copy is False and out is not self.data:
            raise ValueError(f"{self.name}: dtype {self.dtype} cannot become {out.dtype} without a copy")
        return out


def native(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the array in the machine's byte order, which torch and numba insist on."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def fingerprint(image: Image | ArrayLike) -> str:
    """Return the SHA-256 of an image's pixels, shape and dtype.

    Parameters
    ----------
    image : Image or array_like
        Any shape. Name, axes, file format and byte order do not matter.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return image.fingerprint if isinstance(image, Image) else hash_array(image)
