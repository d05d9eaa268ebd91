"""Single pixels that no noise explains: hot and dead pixels, cosmic rays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

FAR = 12.0
"""Standard deviations between a pixel and the median of its neighbours from which it is an outlier; photon counts have
long tails, but hardly so long."""

ALONE = 0.25
"""Part of the height above the surroundings that none of the neighbours may have: those of a spot that the optics
make have about half."""

LEVELS = 16
"""Ranges of the signal in each of which the spread is measured."""

_RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def outliers(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mark the pixels that lie alone and far from the median of their 8 neighbours.

    The spread is that of all pixels with a like median, from the quantiles of 2 and 98 %, which a few outliers do not
    move and which are not 0 for photon counts of which most are.

    Parameters
    ----------
    image : array, shape (..., Y, X)
        Noisy image.

    Returns
    -------
    bool array of the same shape
    """
    planes = np.asarray(image, dtype=np.float64).reshape(-1, *image.shape[-2:])
    return np.stack([_of_plane(plane) for plane in planes]).reshape(image.shape)


def _of_plane(plane: NDArray[np.float64]) -> NDArray[np.bool_]:
    median = ndi.median_filter(plane, footprint=_RING, mode="reflect")
    distance = plane - median
    away = np.abs(distance)
    ground = ndi.median_filter(plane, 5, mode="reflect")  # a spot of the optics is half of what is around its middle
    highest, lowest = (
        extreme(plane, footprint=_RING, mode="reflect") - ground for extreme in (ndi.maximum_filter, ndi.minimum_filter)
    )
    alone = np.where(distance > 0, highest, -lowest) < ALONE * np.abs(plane - ground)
    order = np.argsort(median, axis=None, kind="stable")
    flat = np.empty(plane.size)
    for part in np.array_split(order, min(LEVELS, max(1, plane.size // 256))):
        low, high = np.nanquantile(distance.ravel()[part], (0.02, 0.98))
        flat[part] = (high - low) / 4.11  # of a normal distribution: 2 * 2.054 standard deviations
    spread = flat.reshape(plane.shape)
    return (away > FAR * np.where(spread > 0, spread, np.inf)) & alone
