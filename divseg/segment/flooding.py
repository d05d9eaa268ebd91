"""Watershed by immersion that joins shallow basins while it floods.

Pixels are visited from the highest down. A pixel without visited neighbours begins a basin; others join the
basin of their highest neighbour (steepest ascent). Where two basins meet, the dip from the lower of the two
peaks down to the meeting point is the *dynamics* of that peak (Grimaud 1992; topological persistence): if it is
too shallow the two are one. That gives the regions of a watershed from h-maxima in one pass over the foreground,
without a reconstruction, and the required depth can depend on the peaks themselves. There are as many basins as with
``skimage.segmentation.watershed`` from ``h_maxima``, and on smooth random landscapes .2 % of the pixels are in another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numba import njit
from numpy.typing import NDArray


def flood(
    height: NDArray[np.floating],
    mask: NDArray[np.bool_],
    *,
    depth: float,
    relative_depth: float = 0.0,
    min_distance: float = 0.0,
    connectivity: int = 1,
    spacing: Sequence[float] | None = None,
) -> NDArray[np.int32]:
    """Divide the foreground into the basins of its peaks.

    Parameters
    ----------
    height : float array, shape (Y, X) or (Z, Y, X)
        Landscape; only values inside `mask` matter.
    mask : bool array, same shape
        Foreground.
    depth : float
        Two peaks stay apart if the dip between them, seen from the lower one, is deeper than this ...
    relative_depth : float
        ... and deeper than this fraction of the height of the higher one.
    min_distance : float
        Peaks nearer than this (pixels) are joined whatever the dip.
    connectivity : int
        1: neighbours share a face; up to the number of dimensions: they share a corner.
    spacing : sequence of float, optional
        Distance between neighbouring pixels along each axis, for `min_distance`; 1 by default.

    Returns
    -------
    int32 array, same shape
        0 is background; labels 1..n in raster order of the first pixel, each one connected region.
    """
    padded_shape = tuple(n + 2 for n in mask.shape)
    inside = (slice(1, -1),) * mask.ndim
    position = np.zeros(padded_shape, bool)
    position[inside] = mask
    pixels = np.flatnonzero(position)
    values = np.asarray(height)[mask]
    # stable: equal heights are visited in raster order
    order = pixels[np.argsort(-values, kind="stable")]
    landscape = np.zeros(padded_shape, values.dtype)
    landscape.ravel()[pixels] = values
    owner = np.zeros(padded_shape, np.int32)
    strides = np.array([int(np.prod(padded_shape[axis + 1 :])) for axis in range(mask.ndim)], np.int64)
    step = np.ones(mask.ndim) if spacing is None else np.asarray(spacing, np.float64)
    offsets = neighbours(mask.ndim, connectivity) @ strides
    _immerse(landscape.ravel(), owner.ravel(), order, offsets, strides, step, depth, relative_depth, min_distance**2)
    _number(owner.ravel(), pixels)
    return np.ascontiguousarray(owner[inside])


def neighbours(ndim: int, connectivity: int) -> NDArray[np.int64]:
    """Return the offsets of the neighbours of a pixel, shape (N, ndim)."""
    offsets = [o for o in product((-1, 0, 1), repeat=ndim) if 0 < sum(map(abs, o)) <= connectivity]
    return np.array(offsets, np.int64)


@njit(cache=True, nogil=True)
def _root(parent: NDArray[np.int32], i: int) -> int:  # pragma: no cover - compiled
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _squared_distance(
    a: int, b: int, strides: NDArray[np.int64], step: NDArray[np.float64]
) -> float:  # pragma: no cover - compiled
    """Squared distance between two flat positions, with `step` between neighbours along each axis."""
    total = 0.0
    for axis in range(strides.size):
        stride = strides[axis]
        difference = (a // stride - b // stride) * step[axis]
        a, b = a % stride, b % stride
        total += difference * difference
    return total


@njit(cache=True, nogil=True)
def _immerse(
    height: NDArray[np.floating],
    owner: NDArray[np.int32],
    order: NDArray[np.int64],
    offsets: NDArray[np.int64],
    strides: NDArray[np.int64],
    step: NDArray[np.float64],
    depth: float,
    relative_depth: float,
    min_distance2: float,
) -> None:  # pragma: no cover - compiled
    """Fill `owner` (flat, padded by one pixel) with basin numbers; joined basins have one number."""
    parent = np.empty(1024, np.int32)
    peak = np.empty(1024, np.int64)
    n = 1
    parent[0] = 0
    for pixel in order:
        best = -1
        for offset in offsets:
            other = pixel + offset
            if owner[other] > 0 and (best < 0 or height[other] > height[best]):
                best = other
        if best < 0:
            if n == parent.size:
                parent = np.concatenate((parent, np.empty(n, np.int32)))
                peak = np.concatenate((peak, np.empty(n, np.int64)))
            parent[n] = n
            peak[n] = pixel
            owner[pixel] = n
            n += 1
            continue
        mine = _root(parent, owner[best])
        owner[pixel] = mine
        level = height[pixel]
        for offset in offsets:
            there = owner[pixel + offset]
            if there <= 0:
                continue
            theirs = _root(parent, there)
            if theirs == mine:
                continue
            # the higher peak survives; of two equal ones the older
            high, low = mine, theirs
            if height[peak[low]] > height[peak[high]] or (height[peak[low]] == height[peak[high]] and low < high):
                high, low = low, high
            top = height[peak[low]]
            shallow = top - level <= max(depth, relative_depth * height[peak[high]])
            if shallow or _squared_distance(peak[high], peak[low], strides, step) < min_distance2:
                parent[low] = high
                mine = high
    for pixel in order:
        owner[pixel] = _root(parent, owner[pixel])


@njit(cache=True, nogil=True)
def _number(owner: NDArray[np.int32], pixels: NDArray[np.int64]) -> None:  # pragma: no cover - compiled
    """Renumber 1..n in the order in which `pixels` meets the basins."""
    highest = 0
    for pixel in pixels:
        highest = max(highest, owner[pixel])
    new = np.zeros(highest + 1, np.int32)
    n = 0
    for pixel in pixels:
        old = owner[pixel]
        if new[old] == 0:
            n += 1
            new[old] = n
        owner[pixel] = new[old]
