"""Checks of pixels: values that nothing can be computed from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError
from divseg.io.image import Image

EXACT = 2**53
"""Whole numbers up to this are held exactly by a 64-bit float."""
MAX_FLOAT32 = float(np.finfo(np.float32).max)


def check_pixels(image: Image | ArrayLike, name: str | None = None, *, constant: bool = False) -> None:
    """Make sure that the pixels of an image can be worked with; an :class:`Image` is looked through once.

    Parameters
    ----------
    image : Image or array_like
        Any axes; bool, integers up to 64 bits and floats are accepted.
    name : str, optional
        What the messages call it; by default the image's own name.
    constant : bool
        Accept pixels that are all equal, as a part of an image may have them.

    Raises
    ------
    InputError
        If a pixel is NaN or infinite, if all pixels are equal, if the dtype is complex or not a number at all,
        or if values do not fit a 64-bit float exactly (integers) or a 32-bit float at all.
    """
    if isinstance(image, Image):
        if image._checked:
            return
        data, where = image.data, name or (str(image.path) if image.path else image.name)
        if image.plane:
            where += " (" + ", ".join(f"{axis}={index}" for axis, index in image.plane) + ")"
    else:
        data, where = np.asarray(image), name or "image"
    _scan(data, where, constant)
    if isinstance(image, Image):
        object.__setattr__(image, "_checked", True)


def _scan(data: NDArray[Any], where: str, constant: bool) -> None:
    """Look through all pixels."""
    if data.dtype.kind not in "biuf":
        raise InputError(
            f"{where}: pixels of dtype {data.dtype} are not intensities; save it as integers or real floats"
        )
    if data.size == 0:
        raise InputError(f"{where}: shape {data.shape} has no pixels; leave it out")
    if data.dtype.kind == "f":
        _check_finite(data, where)
    low, high = data.min(), data.max()
    if low == high and not constant:
        raise InputError(f"{where}: all pixels have the value {low}: there is nothing to see; leave it out")
    if data.dtype.kind in "iu" and max(int(high), -int(low)) > EXACT:
        raise InputError(
            f"{where}: {data.dtype} values up to {max(int(high), -int(low))} are too large to be held "
            "exactly; save it with at most 32 bits"
        )
    if data.dtype.kind == "f" and max(abs(float(low)), abs(float(high))) > MAX_FLOAT32:
        raise InputError(f"{where}: values from {low} to {high} do not fit 32-bit floats; divide them by a constant")


def check_plane(image: Image | ArrayLike, use: str) -> NDArray[Any]:
    """Return the pixels of a 2-D image with one channel, after :func:`check_pixels`.

    Parameters
    ----------
    image : Image or array_like
        An image with the axes YX.
    use : str
        Beginning of the advice: "<use> 2-D images with one channel".

    Raises
    ------
    InputError
        Other axes, or pixels that cannot be worked with.
    """
    if not isinstance(image, Image):
        image = Image.from_array(np.asarray(image))
    if image.axes != "YX":
        raise InputError(
            f"{image.name}: axes {image.axes} of shape {image.shape}; {use} 2-D images with one channel "
            f"({'choose --channel' if 'C' in image.axes else 'give --planes to take the planes one by one'})"
        )
    check_pixels(image)
    return image.data


def _check_finite(data: NDArray[Any], where: str) -> None:
    bad = ~np.isfinite(data)
    count = int(bad.sum())
    if count:
        first = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), data.shape))
        raise InputError(
            f"{where}: {count} of {data.size} pixels are NaN or infinite, the first at {first}; "
            "replace them or crop them away"
        )
