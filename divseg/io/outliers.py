"""Single pixels and grains so far from everything else that they are defects: hot and dead pixels, cosmic rays, dust.

They are taken out of the pixels that are worked on, never out of the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGMAS = 10.0
"""Standard deviations of the noise by which a single pixel differs from its neighbours."""

MANY, SIGMAS_OF_MANY = 0.0003, 7.0
"""Fraction of the pixels from which on fewer standard deviations suffice: no noise has so many."""

FAR = 50.0
"""Intensities end at the quantiles `TAIL` and ``1 - TAIL``, and this many times their distance beyond."""

TAIL = 0.006
"""Fraction of the pixels at either end that a statistic is not moved by."""

MOST = 0.006
"""Fraction of the pixels that may be outliers; if more look like it, they are what the image shows."""

_LEVELS = 12
_BRIGHTEST = 0.005
_MEDIAN = 0.6745 * 2**0.5  # of absolute differences of normal noise of standard deviation 1
_QUANTILE, _NORMAL = 0.97, 2.170 * 2**0.5
_SAMPLE = 2**18
_RING = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]


def without_outliers(data: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> tuple[NDArray[Any], int]:
    """Return an image without outliers, and how many pixels it had of them.

    A single pixel that is higher (lower) than all its eight neighbours but one, by more than `SIGMAS` standard
    deviations of the noise at their level (`SIGMAS_OF_MANY` if there are `MANY`), gets their median. Whatever then lies
    farther than `FAR` says is set to that limit: a grain of dust stays, but does not blind what looks at it.

    Parameters
    ----------
    data : array, shape (..., Y, X)
        Integers or finite floats; each plane (..., Y, X) is looked at on its own, the limit is that of all.
    valid : bool array, shape of the last axes of `data`, optional
        Pixels that are data.

    Returns
    -------
    array, shape and dtype of `data`
        `data` itself if there are none.
    int
    """
    if min(data.shape[-2:]) < 8 or data.dtype.kind not in "iuf":
        return data, 0
    out, count = data, 0
    for place in np.ndindex(data.shape[:-2]):
        spots = find_spots(data[place])
        if len(spots[0]):
            out = data.copy() if out is data else out
            out[place][spots] = _ring_median(data[place], spots)
            count += (
                len(spots[0])
                if valid is None
                else int(valid[place[-(valid.ndim - 2) :] if valid.ndim > 2 else ()][spots].sum())
            )
    limits = far_limits(out if valid is None else out[..., valid])
    if limits is not None:
        low, high = limits
        beyond = (out < low) | (out > high)
        if number := int(beyond.sum()):
            out, count = np.clip(out, *_within(out.dtype, low, high)), count + number
    return out, count


def find_spots(plane: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of the single pixels of a plane (Y, X) that are outliers."""
    x: NDArray[np.floating] = plane.astype(np.float32 if plane.dtype.itemsize <= 2 else np.float64)
    level, sigma = noise_by_level(x)
    none = (np.empty(0, np.int64), np.empty(0, np.int64))
    least = SIGMAS_OF_MANY * float(sigma.min())
    if least <= 0:
        return none
    padded = np.pad(x, 1, mode="reflect")
    middle, up, down = padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[2:, 1:-1]
    left, right = padded[1:-1, :-2], padded[1:-1, 2:]
    high = (middle - np.minimum(up, down) > least) & (middle - np.minimum(left, right) > least)
    low = (np.maximum(up, down) - middle > least) & (np.maximum(left, right) - middle > least)
    y, at = np.nonzero(high | low)
    if not len(y):
        return none
    ring = np.sort(np.stack([padded[y + 1 + dy, at + 1 + dx] for dy, dx in _RING]), axis=0)
    local = np.interp(ring, level, sigma)
    differs = np.maximum((x[y, at] - ring[-2]) / local[-2], (ring[1] - x[y, at]) / local[1])
    keep = differs > SIGMAS_OF_MANY
    if keep.sum() < MANY * x.size:
        keep = differs > SIGMAS
    if keep.sum() > MOST * x.size:
        return none
    return y[keep], at[keep]


def noise_by_level(x: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return levels in increasing order, and the standard deviation of the noise at each, which does not fall.

    From differences of horizontal neighbours: their median at each level, the median of three pixels, but not below
    what the 97 % quantile of all differences says, which outliers do not reach, and rare photons do.
    """
    rows = max(1, x.size // _SAMPLE)
    first, middle, last = (x[::rows, k : x.shape[1] - 2 + k] for k in range(3))
    d = np.abs(middle - last).ravel()
    median = np.maximum(np.minimum(first, last), np.minimum(np.maximum(first, last), middle)).ravel()
    order = np.argsort(median, kind="stable")
    # finer towards the brightest pixels, which may be few
    starts = np.unique(((1.0 - np.geomspace(1.0, _BRIGHTEST, _LEVELS)) * d.size).astype(int))
    level, sigma = [], []
    for part in np.split(order, starts[1:]):
        level.append(float(np.median(median[part])))
        sigma.append(float(np.median(d[part])) / _MEDIAN)
    sigma[0] = max(sigma[0], float(np.quantile(d, _QUANTILE)) / _NORMAL)
    return np.array(level), np.maximum.accumulate(sigma)


def _ring_median(plane: NDArray[Any], spots: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[Any]:
    padded = np.pad(plane, 1, mode="reflect")
    ring = np.sort(np.stack([padded[spots[0] + 1 + y, spots[1] + 1 + x] for y, x in _RING]), axis=0)
    return ring[3]  # one of the two in the middle: a value that the image has


def far_limits(pixels: NDArray[Any], reach: float = FAR) -> tuple[float, float] | None:
    """Return the intensities `reach` times the distance of two quantiles beyond these; None if they are the same.

    The quantiles are `TAIL` and ``1 - TAIL``; of many pixels an even selection is looked at.
    """
    flat = pixels.ravel()
    flat = flat[:: max(1, flat.size // _SAMPLE)]
    k = int(TAIL * (flat.size - 1))
    parts = np.partition(flat, (k, flat.size - 1 - k))
    low, high = float(parts[k]), float(parts[flat.size - 1 - k])
    return (low - reach * (high - low), high + reach * (high - low)) if high > low else None


def _within(dtype: np.dtype[Any], low: float, high: float) -> tuple[Any, Any]:
    """Return the limits as values of a dtype."""
    if dtype.kind == "f":
        return dtype.type(low), dtype.type(high)
    info = np.iinfo(dtype)
    return dtype.type(max(int(np.ceil(low)), info.min)), dtype.type(min(int(np.floor(high)), info.max))
