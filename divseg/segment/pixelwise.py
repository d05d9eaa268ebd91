"""Thresholds that follow the surroundings of every pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.segment.histogram import robust_range

SAUVOLA_RANGE = 0.5
"""Largest standard deviation that values between 0 and 1 can have: R of Sauvola's formula."""


def local_level(image: NDArray[np.floating], window: int, offset: float) -> NDArray[np.floating]:
    """Return the mean of each pixel's surroundings plus a margin.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        Brighter objects on a darker background.
    window : int
        Side of the square (cube) of surroundings in pixels, larger than an object.
    offset : float
        Margin in standard deviations of the image around its local mean. Without one, half of an empty
        background would be foreground.

    Returns
    -------
    array, shape of `image`
        Level above which a pixel is foreground.
    """
    mean = ndi.uniform_filter(image, window)
    return mean + np.asarray(offset * float((image - mean).std()), image.dtype)


def sauvola_level(image: NDArray[np.floating], window: int, k: float) -> NDArray[np.floating]:
    """Return Sauvola's threshold, mirrored for bright objects on a dark background.

    Sauvola and Pietikainen (Pattern Recognition 33, 2000, eq. 5) call dark text on bright paper everything below
    ``m (1 + k (s / R - 1))``. On the negative ``u = 1 - x`` of an image scaled to 0..1 this becomes
    ``x > m + (1 - m) k (1 - s / R)``: near the local mean m where the local standard deviation s is large,
    well above it in flat surroundings.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        Brighter objects on a darker background. Scaled by its robust range.
    window : int
        Side of the square (cube) of surroundings in pixels.
    k : float
        Weight of the contrast; more gives smaller objects.

    Returns
    -------
    array, shape of `image`
        Level above which a pixel is foreground, in the image's units.
    """
    ends = robust_range(image)
    if ends is None:
        return np.full_like(image, np.inf)
    low, high = ends
    scaled = np.clip((image - low) / (high - low), 0.0, 1.0)
    mean = ndi.uniform_filter(scaled, window)
    spread = np.sqrt(np.maximum(ndi.uniform_filter(scaled * scaled, window) - mean * mean, 0.0))
    level = mean + (1 - mean) * k * (1 - np.minimum(spread / SAUVOLA_RANGE, 1.0))
    return (low + level * (high - low)).astype(image.dtype)
