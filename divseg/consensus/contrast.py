"""Contrast of objects with the background around them, under the posterior of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.consensus.table import diameter

MARGIN = 1.5
"""Pixels around an object that belong to its blurred border, not to its background."""

LEAST_WIDTH = 8.0
"""Pixels around an object in which its background is looked for, at least; more around objects of greater diameter."""

LEAST_PIXELS = 20
"""Pixels of background that are needed around an object; the whole background is taken for objects with fewer."""


def contrast(labels: NDArray[np.integer], mean: NDArray[np.floating], std: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how far each object stands out from its background, in standard deviations of the background's pixels.

    The numerator is the difference of the means of the posterior mean inside and around, whatever its sign. The
    denominator is the standard deviation of a pixel of the background in a random sample: the variance of the posterior
    mean from pixel to pixel, plus the posterior variance of a pixel (law of total variance). Spots that the samples do
    not agree on are small against the second, spots of a posterior mean that follows the noise against the first. It
    is the contrast-to-noise ratio of a detectability experiment (Rose 1948), with the posterior in place of the noise.

    The background of an object are the pixels outside of all objects that are nearest to it, from :data:`MARGIN` to
    the object's diameter (at least :data:`LEAST_WIDTH`) away.

    Parameters
    ----------
    labels : integer array, shape (Y, X) or (Z, Y, X)
        Objects 1..n, 0 = background.
    mean, std : float arrays, same shape
        Posterior mean and standard deviation of each pixel, in intensity units.

    Returns
    -------
    float64 array, shape (n,)
        NaN for an object in an image without any background.
    """
    n = int(labels.max(initial=0))
    if not n:
        return np.empty(0)
    areas = np.bincount(labels.ravel(), minlength=n + 1)
    reach = np.maximum(diameter(areas, labels.ndim), LEAST_WIDTH)
    distance, nearest = ndi.distance_transform_edt(labels == 0, return_indices=True)
    owner = labels[tuple(nearest)]
    far = distance > MARGIN
    around = far & (distance <= reach[owner])
    inside = np.bincount(labels.ravel(), mean.ravel(), minlength=n + 1) / np.maximum(areas, 1)
    count, level, variance = _moments(owner[around], mean[around], std[around], n + 1)
    everywhere = _moments(np.zeros(int(far.sum()), int), mean[far], std[far], 1)
    level, variance = (
        np.where(count < LEAST_PIXELS, whole[0], own)
        for whole, own in zip(everywhere[1:], (level, variance), strict=True)
    )
    difference = np.abs(inside - level)[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(difference == 0, 0.0, difference / np.sqrt(variance[1:])))


def _moments(
    group: NDArray[np.integer], mean: NDArray[np.floating], std: NDArray[np.floating], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return number, mean, and total variance of the pixels of each of n groups; NaN for groups without pixels."""
    count = np.bincount(group, minlength=n)
    size = np.where(count > 0, count, np.nan)
    level = np.bincount(group, mean, minlength=n) / size
    within = np.bincount(group, (mean - level[group]) ** 2, minlength=n) / size
    return count, level, within + np.bincount(group, std.astype(np.float64) ** 2, minlength=n) / size
