"""Holes, sizes and the edge of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi


def fill_holes(mask: NDArray[np.bool_], max_hole: int = 0) -> NDArray[np.bool_]:
    """Fill background that the foreground encloses.

    Parameters
    ----------
    mask : bool array, shape (Y, X) or (Z, Y, X)
        Foreground.
    max_hole : int
        Holes of more pixels stay open; 0 fills all. Background is enclosed if no path over sides of pixels leads
        from it to the edge of the image.

    Returns
    -------
    bool array, same shape
    """
    gaps, n = ndi.label(~mask)
    hole = np.ones(n + 1, bool)
    hole[labels_at_edge(gaps)] = False
    hole[0] = False
    if max_hole:
        hole &= np.bincount(gaps.ravel(), minlength=n + 1) <= max_hole
    return mask | hole[gaps]


def drop_objects(
    labels: NDArray[np.int32], *, min_size: int = 0, max_size: int = 0, clear_border: bool = False
) -> NDArray[np.int32]:
    """Drop objects by size and position, and number the others 1..n in the order of their labels.

    Parameters
    ----------
    labels : int32 array, shape (Y, X) or (Z, Y, X)
        0 is background.
    min_size, max_size : int
        Objects of fewer, or of more pixels are dropped; a `max_size` of 0 is no limit.
    clear_border : bool
        Drop objects with a pixel at the edge of the image.

    Returns
    -------
    int32 array, same shape
    """
    sizes = np.bincount(labels.ravel())
    keep = sizes >= max(min_size, 1)
    if max_size:
        keep &= sizes <= max_size
    if clear_border:
        keep[labels_at_edge(labels)] = False
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def labels_at_edge(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the distinct values at the edge of an image."""
    edges = [labels.take(end, axis).ravel() for axis in range(labels.ndim) for end in (0, -1)]
    return np.unique(np.concatenate(edges))
