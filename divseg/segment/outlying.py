"""Pixels so far from all others that no level should be taken from them, such as a grain of dust that shines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.segment.thresholds import TAIL

REACH = 2.0
"""Pixels are outlying beyond the quantiles `TAIL` and ``1 - TAIL`` and this many times their distance."""

LOPSIDED = 2.0
"""Times that the upper quantile is farther from the median than the lower one in an image that shows objects."""

MOST = 0.25
"""Fraction of the pixels beyond which the surroundings of outlying pixels are not left out with them."""


def outlying_limits(values: NDArray[np.floating]) -> tuple[float, float] | None:
    """Return the intensities beyond which pixels are outlying.

    Parameters
    ----------
    values : float array
        All pixels of an image that are data.

    Returns
    -------
    tuple of float, or None
        None if there are no such pixels, or if the others are noise alone (their quantiles lie about as far above the
        median as below): then the few bright ones may be all that the image shows.
    """
    flat = values.ravel()
    ranks = quantile_ranks(flat.size)
    parts = np.partition(flat, ranks)
    least, greatest = parts[: ranks[0] + 1].min(), parts[ranks[-1] :].max()
    return limits_of(float(least), *(float(parts[i]) for i in ranks), float(greatest))


def quantile_ranks(size: int) -> tuple[int, int, int]:
    """Return the ranks, from 0, of the lower quantile, the median and the upper quantile among so many values."""
    k = int(TAIL * (size - 1))
    return k, size // 2, size - 1 - k


def limits_of(least: float, low: float, middle: float, high: float, greatest: float) -> tuple[float, float] | None:
    """Return what :func:`outlying_limits` does, from the extremes, the quantiles and the median of an image."""
    reach = REACH * (high - low)
    if high - middle <= LOPSIDED * (middle - low) or (least >= low - reach and greatest <= high + reach):
        return None
    return low - reach, high + reach


def without_outlying(
    image: NDArray[np.floating], valid: NDArray[np.bool_] | None, width: float
) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
    """Return an image in which outlying pixels have the limit's value, and the pixels that a level is taken from.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        It is not changed.
    valid : bool array, shape of `image`, optional
        What is data.
    width : float
        Pixels around outlying ones that are not counted either, as smoothing will mix them.

    Returns
    -------
    image : float array
        `image` itself if nothing is outlying.
    counted : bool array, shape of `image`, or None
        `valid` itself if nothing is outlying.
    """
    limits = outlying_limits(image if valid is None else image[valid])
    if limits is None:
        return image, valid
    far = (image < limits[0]) | (image > limits[1])
    near = far
    if steps := math.ceil(width):
        near = ndi.binary_dilation(far, ndi.generate_binary_structure(image.ndim, image.ndim), iterations=steps)
    counted = ~(near if near.mean() <= MOST else far)
    return np.clip(image, *limits).astype(image.dtype, copy=False), counted if valid is None else counted & valid
