"""Shape of the objects of a label image, as scikit-image's ``regionprops_table`` measures it, for all objects at once.

Measured one object at a time, thousands of objects take longer than their segmentation did.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_WEIGHTS = np.zeros(50)
_WEIGHTS[[5, 7, 15, 17, 25, 27]] = 1
_WEIGHTS[[21, 33]] = np.sqrt(2)
_WEIGHTS[[13, 23]] = (1 + np.sqrt(2)) / 2
"""Length of the outline at a pixel of the border, by 1 + 2 * (border pixels beside it) + 10 * (those at its corners):
Benkrid, Crookes, Benkrid, "Design and FPGA implementation of a perimeter estimator" (2000)."""


class Sums(NamedTuple):
    """What one pass over a label image adds up of objects 1..n; arrays of length n."""

    area: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    """Bounds, the last row and column included."""


def measure_shape(labels: NDArray[np.integer], n: int) -> dict[str, NDArray[np.float64]]:
    """Return shape columns of the objects 1..n of a label image.

    Parameters
    ----------
    labels : integer array, shape (Y, X)
        0 = background. Labels without pixels give NaN.
    n : int
        Largest label.

    Returns
    -------
    dict of str to float64 array, shape (n,)
        Lengths in pixels, areas in pixels. ``area perimeter axis_major axis_minor eccentricity orientation``
        (of the long axis, in radians from the first axis, counter-clockwise) ``solidity extent circularity``
        (4 pi area / perimeter squared: 0.9 for a large disc of pixels, above 1 for the smallest objects)
        ``euler_number`` (pieces less holes, pixels that touch at a corner being connected), and for other units
        the central second moments by area ``_yy _xx _xy`` and the centroid ``_y _x``. Definitions are those of
        scikit-image.
    """
    image = np.ascontiguousarray(labels, np.int64)
    if not n:
        return {name: np.zeros(0) for name in _COLUMNS}
    sums = Sums(*_sums(image, n))
    area = np.where(sums.area > 0, sums.area, np.nan)
    y, x = sums.y / area, sums.x / area
    yy, xx, xy = (moment / area for moment in _moments(image, n, y, x))
    perimeter = _perimeter(image, n, _WEIGHTS)
    perimeter[np.isnan(area)] = np.nan
    height, width = sums.bottom - sums.top + 1, sums.right - sums.left + 1
    offsets = np.concatenate([[0], np.cumsum(np.maximum(height, 0))])
    first, last = _extents(image, offsets, sums.top)
    convex = _convex_area(first, last, offsets)
    with np.errstate(divide="ignore", invalid="ignore"):
        circularity = 4 * np.pi * area / perimeter**2
    return {
        "area": area,
        "perimeter": perimeter,
        **axes(yy, xx, xy),
        "solidity": area / np.maximum(convex, 1),
        "extent": area / np.where(sums.area > 0, height * width, 1),
        "circularity": np.where(perimeter > 0, circularity, np.nan),
        "euler_number": np.where(sums.area > 0, _euler(image, n) / 4, np.nan),
        "_yy": yy,
        "_xx": xx,
        "_xy": xy,
        "_y": y,
        "_x": x,
    }


_COLUMNS = (
    *("area", "perimeter", "axis_major", "axis_minor", "eccentricity", "orientation", "solidity", "extent"),
    *("circularity", "euler_number", "_yy", "_xx", "_xy", "_y", "_x"),
)


def axes(yy: NDArray[np.float64], xx: NDArray[np.float64], xy: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return length and direction of the axes of the ellipses that have given central second moments, by area."""
    middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    large, small = np.maximum(middle + half, 0), np.maximum(middle - half, 0)
    ratio = np.divide(small, large, out=np.ones_like(small), where=large > 0)
    # scikit-image's convention where both axes are as long: a quarter of a turn, by the sign of the mixed moment
    turn = np.where(yy == xx, np.where(xy > 0, np.pi / 4, -np.pi / 4), 0.5 * np.arctan2(2 * xy, yy - xx))
    return {
        "axis_major": 4 * np.sqrt(large),
        "axis_minor": 4 * np.sqrt(small),
        "eccentricity": np.where(large > 0, np.sqrt(1 - ratio), 0.0) + 0 * large,
        "orientation": turn,
    }


@njit(cache=True, nogil=True)
def _sums(labels, n):  # type: ignore[no-untyped-def]
    area, y, x = np.zeros(n, np.int64), np.zeros(n), np.zeros(n)
    top, left = np.full(n, labels.shape[0]), np.full(n, labels.shape[1])
    bottom, right = np.full(n, -1), np.full(n, -1)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            k = labels[i, j] - 1
            if k < 0:
                continue
            area[k] += 1
            y[k] += i
            x[k] += j
            top[k], bottom[k] = min(top[k], i), max(bottom[k], i)
            left[k], right[k] = min(left[k], j), max(right[k], j)
    return area, y, x, top, bottom, left, right


@njit(cache=True, nogil=True)
def _moments(labels, n, y, x):  # type: ignore[no-untyped-def]
    yy, xx, xy = np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            k = labels[i, j] - 1
            if k < 0:
                continue
            a, b = i - y[k], j - x[k]
            yy[k] += a * a
            xx[k] += b * b
            xy[k] += a * b
    return yy, xx, xy


@njit(cache=True, nogil=True)
def _at(labels, i, j):  # type: ignore[no-untyped-def]
    """Return the label of a pixel, 0 outside of the image."""
    return labels[i, j] if 0 <= i < labels.shape[0] and 0 <= j < labels.shape[1] else 0


@njit(cache=True, nogil=True)
def _perimeter(labels, n, weights):  # type: ignore[no-untyped-def]
    height, width = labels.shape
    border = np.zeros((height, width), np.bool_)
    for i in range(height):
        for j in range(width):
            k = labels[i, j]
            border[i, j] = k > 0 and (
                _at(labels, i - 1, j) != k
                or _at(labels, i + 1, j) != k
                or _at(labels, i, j - 1) != k
                or _at(labels, i, j + 1) != k
            )
    total = np.zeros(n)
    for i in range(height):
        for j in range(width):
            if not border[i, j]:
                continue
            code, k = 1, labels[i, j]
            for a in range(-1, 2):
                for b in range(-1, 2):
                    if (a or b) and _at(labels, i + a, j + b) == k and border[i + a, j + b]:
                        code += 10 if a and b else 2
            total[k - 1] += weights[code]
    return total


@njit(cache=True, nogil=True)
def _euler(labels, n):  # type: ignore[no-untyped-def]
    """Return four times the Euler number: of each 2 x 2 square, by how many of its pixels belong to an object."""
    total = np.zeros(n, np.int64)
    for i in range(-1, labels.shape[0]):
        for j in range(-1, labels.shape[1]):
            square = (_at(labels, i, j), _at(labels, i, j + 1), _at(labels, i + 1, j + 1), _at(labels, i + 1, j))
            for p in range(4):
                k = square[p]
                first = k > 0
                for q in range(p):
                    first = first and square[q] != k
                if not first:
                    continue
                count = 0
                for q in range(4):
                    count += square[q] == k
                if count == 1:
                    total[k - 1] += 1
                elif count == 3:
                    total[k - 1] -= 1
                elif count == 2 and (square[0] == square[2] or square[1] == square[3]):
                    total[k - 1] -= 2
    return total


@njit(cache=True, nogil=True)
def _extents(labels, offsets, top):  # type: ignore[no-untyped-def]
    """Return the first and the last column of each object in each of its rows."""
    first, last = np.full(offsets[-1], labels.shape[1]), np.full(offsets[-1], -1)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            k = labels[i, j] - 1
            if k >= 0:
                row = offsets[k] + i - top[k]
                first[row], last[row] = min(first[row], j), max(last[row], j)
    return first, last


@njit(cache=True, nogil=True)
def _convex_area(first, last, offsets):  # type: ignore[no-untyped-def]
    """Count the pixel centres in the convex hull of the middles of the pixels' sides.

    In half pixels these are whole numbers: an outermost pixel (row, column) adds a point half a pixel left of it, and
    its centre one half row up and down.
    """
    n = len(offsets) - 1
    area = np.zeros(n, np.int64)
    for k in range(n):
        rows = offsets[k + 1] - offsets[k]
        if rows <= 0:
            continue
        own = slice(offsets[k], offsets[k + 1])
        empty = last[own] < 0
        left, right = _envelope(first[own], empty, 1), _envelope(last[own], empty, -1)
        for i in range(rows):
            area[k] += max(0, right[i] - left[i] + 1)
    return area


@njit(cache=True, nogil=True)
def _envelope(columns, empty, side):  # type: ignore[no-untyped-def]
    """Return the first (side 1) or last (side -1) column in the hull, of each row."""
    rows = len(columns)
    py, px = np.empty(2 * rows + 1, np.int64), np.empty(2 * rows + 1, np.int64)
    best = np.full(2 * rows + 1, np.iinfo(np.int64).max)
    for i in range(rows):
        if empty[i]:
            continue
        column = side * columns[i]  # mirrored for the right side, so that the outermost point is the smallest
        best[2 * i] = min(best[2 * i], 2 * column)
        best[2 * i + 1] = min(best[2 * i + 1], 2 * column - 1)
        best[2 * i + 2] = min(best[2 * i + 2], 2 * column)
    size = 0
    for row in range(2 * rows + 1):
        if best[row] == np.iinfo(np.int64).max:
            continue
        while size >= 2 and (py[size - 1] - py[size - 2]) * (best[row] - px[size - 2]) <= (
            px[size - 1] - px[size - 2]
        ) * (row - py[size - 2]):
            size -= 1
        py[size], px[size] = row, best[row]
        size += 1
    result, at = np.empty(rows, np.int64), 0
    for i in range(rows):
        row = 2 * i + 1
        while py[at + 1] < row:
            at += 1
        rise, run = px[at + 1] - px[at], py[at + 1] - py[at]
        # column c is inside if 2 c >= px + rise * (row - py) / run
        twice = px[at] * run + rise * (row - py[at])
        result[i] = side * -((-twice) // (2 * run))
    return result
