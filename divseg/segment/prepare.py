"""What is done to an image before its threshold is chosen: smoothing and subtraction of the background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.segment.options import ThresholdOptions

TRUNCATE = 4.0
"""Standard deviations after which the Gaussian is cut off."""


def prepare(image: NDArray[np.floating], options: ThresholdOptions) -> NDArray[np.floating]:
    """Smooth an image and subtract its background, as far as the options say so.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        It is not changed.
    options : ThresholdOptions
        ``smooth`` and ``background`` in pixels of Y and X; ``anisotropy``.

    Returns
    -------
    float array, shape of `image`
    """
    if options.smooth:
        image = smooth(image, options.smooth, options.spacing)
    if options.background:
        image = image - background(image, options.background, options.spacing)
    return image


def smooth(image: NDArray[np.floating], sigma: float, spacing: tuple[float, ...]) -> NDArray[np.floating]:
    """Smooth by a Gaussian; `sigma` in pixels of Y and X."""
    return ndi.gaussian_filter(image, [sigma / step for step in spacing], truncate=TRUNCATE) if sigma else image


def background(image: NDArray[np.floating], radius: int, spacing: tuple[float, ...]) -> NDArray[np.floating]:
    """Estimate a background that varies slowly: opening with a square, then two moving averages.

    The opening (rolling minimum, then rolling maximum) removes whatever is narrower than ``2 radius + 1``, the
    averages of half that width smooth the result.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        Brighter objects on a darker background.
    radius : int
        Half the side of the square in pixels, above the radius of the largest object.
    spacing : tuple of float
        Distance between neighbouring pixels along each axis.

    Returns
    -------
    float array, shape of `image`
    """
    wide = [2 * round(radius / step) + 1 for step in spacing]
    half = [2 * round(radius / step / 2) + 1 for step in spacing]
    opened = ndi.maximum_filter(ndi.minimum_filter(image, wide), wide)
    return ndi.uniform_filter(ndi.uniform_filter(opened, half), half)


def context(method: str, options: ThresholdOptions) -> int:
    """Return the farthest distance in pixels at which a pixel changes the foreground at another through filters."""
    reach = int(TRUNCATE * options.smooth + 0.5)
    if options.background:
        reach += 2 * options.background + 2 * round(options.background / 2)
    if method in ("local", "sauvola"):
        reach += options.window // 2
    return reach
