"""From foreground to objects: fill holes, divide what touches, drop objects by size and position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.segment.distance import distance_to_background
from divseg.segment.flooding import flood
from divseg.segment.options import ThresholdOptions
from divseg.segment.prepare import smooth

DIP = {"distance": 0.5, "combined": 0.5, "intensity": 0.2}
"""Default of ``h``: pixels, or standard deviations of the foreground."""

RELATIVE_DIP = {"distance": 0.04, "combined": 0.04, "intensity": 0.0}
"""Default of ``h_relative``."""

SMOOTHING = {"distance": 1.0, "combined": 1.0, "intensity": 2.0}
"""Default of ``split_smooth``: sigma in pixels."""

SMALLEST_FRACTION = 0.1
"""``min_size=auto``: smallest object that is kept, as a fraction of the typical size."""
SMALLEST = 10
"""The same in pixels."""

DIMMEST = 0.5
"""Combined: factor on the distance where a region is dimmest, against 1 where it is brightest."""


def split(mask: NDArray[np.bool_], image: NDArray[np.floating], options: ThresholdOptions) -> NDArray[np.int32]:
    """Divide the foreground into objects.

    ``split=none``: connected regions. Otherwise a watershed from those peaks of a landscape that rise far enough
    above the pass to a higher one (dynamics; h-maxima):

    - ``distance``: distance to the background (Euclidean). Seen from the lower peak, the dip must be deeper than ``h``
      pixels and than the fraction ``h_relative`` of the higher peak, which is about the radius of the larger object: a
      lobe of a large object's rough outline stays part of it, but two touching objects of the lobe's size are divided.
    - ``intensity``: the image itself; the dip must be deeper than ``h`` standard deviations of the foreground.
    - ``combined``: the distance, reduced where a connected region is dim; rules as for ``distance``.

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
    relative_dip = _number(options.h_relative, RELATIVE_DIP[options.split])
    sigma = _number(options.split_smooth, SMOOTHING[options.split])
    if options.split == "intensity":
        height = smooth(image, sigma, options.spacing)
        dip *= float(height[mask].std(dtype=np.float64))
    elif mask.all():
        return np.ones(mask.shape, np.int32)  # no background to measure a distance from
    else:
        height = smooth(distance_to_background(mask, options.spacing), sigma, options.spacing)
        if options.split == "combined":
            height *= _brightness(mask, smooth(image, sigma, options.spacing), options)
    return flood(
        height,
        mask,
        depth=dip,
        relative_depth=relative_dip,
        min_distance=options.min_distance,
        connectivity=options.connectivity,
        spacing=options.spacing,
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


def fill_holes(mask: NDArray[np.bool_], max_hole: int = 0) -> NDArray[np.bool_]:
    """Fill background that the foreground encloses.

    Parameters
    ----------
    mask : bool array, shape (Y, X) or (Z, Y, X)
        Foreground.
    max_hole : int
        Holes of more pixels stay open; 0 fills all. Background is enclosed if no path over the sides of pixels leads
        from it to the edge of the image.

    Returns
    -------
    bool array, same shape
    """
    gaps, n = ndi.label(~mask)
    is_hole = np.ones(n + 1, bool)
    is_hole[_labels_at_edge(gaps)] = False
    is_hole[0] = False
    if max_hole:
        is_hole &= np.bincount(gaps.ravel(), minlength=n + 1) <= max_hole
    return mask | is_hole[gaps]


def drop_objects(
    labels: NDArray[np.int32], *, min_size: str | int = 0, max_size: int = 0, clear_border: bool = False
) -> NDArray[np.int32]:
    """Drop objects by size and position, and number the others 1..n in the order of their labels.

    Parameters
    ----------
    labels : int32 array, shape (Y, X) or (Z, Y, X)
        0 is background.
    min_size, max_size : int
        Objects of fewer, or of more pixels are dropped; a `max_size` of 0 means no limit. A `min_size` of ``"auto"``
        is a tenth of the size at which larger objects hold half of all pixels, which does not move with the number of
        specks, and at least 10.
    clear_border : bool
        Drop objects with a pixel at the edge of the image.

    Returns
    -------
    int32 array, same shape
    """
    sizes = np.bincount(labels.ravel())
    smallest = _smallest(sizes[1:]) if isinstance(min_size, str) else min_size
    keep = sizes >= max(smallest, 1)
    if max_size:
        keep &= sizes <= max_size
    if clear_border:
        keep[_labels_at_edge(labels)] = False
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def _smallest(sizes: NDArray[np.integer]) -> float:
    """Return the least size that is kept of objects of these sizes."""
    ordered = np.sort(sizes)
    held = np.cumsum(ordered)
    typical = ordered[np.searchsorted(held, held[-1] / 2)] if held.size and held[-1] else 0
    return max(SMALLEST, SMALLEST_FRACTION * float(typical))


def _labels_at_edge(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the distinct values at the edge of an image."""
    edges = [labels.take(end, axis).ravel() for axis in range(labels.ndim) for end in (0, -1)]
    return np.unique(np.concatenate(edges))
