"""Division of touching objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.segment.distance import distance_to_background
from divseg.segment.flooding import flood
from divseg.segment.options import ThresholdOptions
from divseg.segment.prepare import smoothed

DIP = {"distance": 0.5, "combined": 0.5, "intensity": 0.2}
"""Default of ``h``: pixels, or standard deviations of the foreground."""

DIP_SHARE = {"distance": 0.04, "combined": 0.04, "intensity": 0.0}
"""Default of ``h_relative``."""

SMOOTHING = {"distance": 1.0, "combined": 1.0, "intensity": 2.0}
"""Default of ``split_smooth`` in pixels."""

DIMMEST = 0.5
"""Combined: factor on the distance where a region is dimmest, against 1 where it is brightest."""


def split(mask: NDArray[np.bool_], image: NDArray[np.floating], options: ThresholdOptions) -> NDArray[np.int32]:
    """Divide the foreground into objects.

    ``split=none``: connected regions. Otherwise a watershed from those peaks of a landscape that rise far enough
    above the pass to a higher one (dynamics; h-maxima):

    - ``distance``: distance to the background (Euclidean). Seen from the lower peak, the dip must be deeper than ``h``
      pixels and than the share ``h_relative`` of the higher peak, which is about the radius of the larger object: a
      lobe of a large object's rough outline is none of its own, but a small object of that size, alone or touching
      its like, is.
    - ``intensity``: the image itself; the dip must be deeper than ``h`` standard deviations of the foreground.
    - ``combined``: the distance, lessened where a connected region is dim; rules as for distance.

    Parameters
    ----------
    mask : bool array, shape (Y, X) or (Z, Y, X)
        Foreground.
    image : float array, same shape
        Intensities (smoothed, background subtracted).
    options : ThresholdOptions
        ``split``, ``h``, ``h_relative``, ``split_smooth``, ``min_distance``, ``connectivity``, ``anisotropy``.

    Returns
    -------
    int32 array, same shape
        0 is background, objects 1..n in raster order of their first pixel; each one connected region.
    """
    if options.split == "none" or not mask.any():
        return _regions(mask, options)[0]
    dip = _number(options.h, DIP[options.split])
    share = _number(options.h_relative, DIP_SHARE[options.split])
    sd = _number(options.split_smooth, SMOOTHING[options.split])
    if options.split == "intensity":
        height = smoothed(image, sd, options.steps)
        dip *= float(height[mask].std(dtype=np.float64))
    elif mask.all():
        return np.ones(mask.shape, np.int32)  # no background to measure a distance from
    else:
        height = smoothed(distance_to_background(mask, options.steps), sd, options.steps)
        if options.split == "combined":
            height *= _brightness(mask, smoothed(image, sd, options.steps), options)
    return flood(
        height,
        mask,
        depth=dip,
        share=share,
        min_distance=options.min_distance,
        connectivity=options.connectivity,
        steps=options.steps,
    )


def _number(value: str | float, default: float) -> float:
    return default if isinstance(value, str) else value


def _regions(mask: NDArray[np.bool_], options: ThresholdOptions) -> tuple[NDArray[np.int32], int]:
    labels, n = ndi.label(mask, ndi.generate_binary_structure(mask.ndim, options.connectivity))
    return labels.astype(np.int32, copy=False), n


def _brightness(
    mask: NDArray[np.bool_], image: NDArray[np.floating], options: ThresholdOptions
) -> NDArray[np.floating]:
    """Scale each connected region from `DIMMEST` at its dimmest pixel to 1 at its brightest."""
    regions, n = _regions(mask, options)
    region, values = regions[mask] - 1, image[mask]
    low, high = np.full(n, np.inf, values.dtype), np.full(n, -np.inf, values.dtype)
    np.minimum.at(low, region, values)
    np.maximum.at(high, region, values)
    width = np.where(high > low, high - low, 1)
    factor = np.zeros(mask.shape, np.float32)
    factor[mask] = DIMMEST + (1 - DIMMEST) * (values - low[region]) / width[region]
    return factor
