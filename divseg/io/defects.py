"""From the pixels of a file to those that are worked on: what is no data is filled, what is defective is mended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.io.image import Image
from divseg.io.invalid import Invalid, filled, find_invalid
from divseg.io.outliers import without_outliers


def without_defects(image: Image, invalid: Invalid) -> Image:
    """Return an image that can be worked on as a whole, with what was found in `valid` and `outliers`.

    Parameters
    ----------
    image : Image
        As it was read.
    invalid : "auto", "none" or a number
        See :func:`divseg.io.invalid.find_invalid`; with ``"none"`` the image is returned as it is.

    Returns
    -------
    Image
        The same object if nothing was found.
    """
    if invalid == "none":
        return image
    valid = find_invalid(image.data, image.axes, invalid)
    data = image.data if valid is None else filled(image.data, valid)
    outliers = 0
    if data.dtype.kind != "f" or np.isfinite(data).all():
        data, outliers = without_outliers(data, valid)
    if data is image.data:
        return image
    return replace(image, data=data, valid=valid, outliers=outliers)


def within(pixels: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return the pixels that are data: all of them, as they are, if `valid` is None."""
    return pixels if valid is None else pixels[..., valid]


def blank(pixels: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return pixels (..., *valid.shape) in which those that are no data have the smallest value of the others."""
    if valid is None:
        return pixels
    return np.where(valid, pixels, pixels[..., valid].min())
