"""Which of many overlapping polygons are kept: StarDist's greedy rule, with few polygons clipped.

A candidate is dropped if a more probable one that is kept overlaps it by more than a threshold: area of the
intersection as a fraction of the smaller area (Schmidt et al., Cell Detection with Star-convex Polygons, MICCAI 2018).
StarDist clips the polygons of each such pair. Here a polygon is a list of rows of pixels, each with an interval that it
certainly covers and one that it does not leave, so that two sums over rows bound the area of an intersection. Only
pairs that the bounds leave open are clipped, by StarDist's own function: the same candidates are kept.

The compiled code lets go of the interpreter lock.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, objmode
from numpy.typing import NDArray

SLACK = 0.2
"""Error of an intersection's area by rows, in pixels for each pixel of both perimeters.

StarDist's polygons have integer corners, and its clipping (Clipper by A. Johnson) rounds each crossing of two edges to
integers. The rows are exact for one polygon, and nearly for two: not where edges cross within a row. Of five million
pairs of random polygons, with radii of 2 to 50 pixels, smooth to spiky, the worst differed by .06.
"""

_LARGEST = 1024  # radius in pixels; pairs with larger ones, which no cell makes, are all clipped
_HINT = 8  # pixels; candidates that are so near one another mostly fall to the same one
_FEW = 24  # rows that are looked at first


def kept_polygons(
    dist: NDArray[np.float32], prob: NDArray[np.float32], points: NDArray[np.int64], overlap: float
) -> NDArray[np.int64]:
    """Return the candidates that ``stardist.nms.non_maximum_suppression_sparse`` keeps, in its order.

    Parameters
    ----------
    dist : float32 array, shape (n, n_rays)
        Distances to the boundary in pixels, finite.
    prob : float32 array, shape (n,)
        Object probabilities.
    points : int64 array, shape (n, 2)
        Centres in pixels.
    overlap : float
        Area of the intersection as a fraction of the smaller area, above which the less probable is dropped.

    Returns
    -------
    int64 array, shape (k,)
        Indices of the kept candidates, by falling probability.
    """
    order = np.argsort(prob)[::-1]  # StarDist's order, also of equal probabilities
    if not len(order):
        return order
    # sines and cosines in StarDist's arithmetic
    angles = np.arange(dist.shape[1], dtype=np.float32) * np.float32(2 * np.pi / dist.shape[1])
    rays = np.stack([np.sin(angles), np.cos(angles)])
    keep = _keep(np.ascontiguousarray(dist), points.astype(np.float32), order, rays, np.float32(overlap))
    return order[keep]


@njit(cache=True, nogil=True)
def _keep(
    dist: NDArray[np.float32],
    points: NDArray[np.float32],
    order: NDArray[np.int64],
    rays: NDArray[np.float32],
    overlap: np.float32,
) -> NDArray[np.bool_]:
    """Return for each place in the order whether that candidate is kept."""
    keep = np.zeros(len(order), np.bool_)
    radius = np.empty(len(order), np.float32)
    for n in range(len(order)):
        radius[n] = dist[n].max()
    reach = radius.max()
    # of the kept ones: candidate, box, measures, first row
    kept, count = np.empty(len(order), np.int64), 0
    box, size = np.empty((len(order) + 1, 4), np.int64), np.empty((len(order) + 1, 3))
    start, rows = np.zeros(len(order) + 1, np.int64), np.empty((4, 4096), np.float32)
    # the kept ones by the cell of a grid in which their centre lies, as chained lists
    low_y, low_x = points[:, 0].min(), points[:, 1].min()
    high_y, high_x = points[:, 0].max() - low_y, points[:, 1].max() - low_x
    cell = max(np.float32(16), reach / 4)
    head = np.full((int(high_y / cell) + 1, int(high_x / cell) + 1), -1, np.int64)
    following = np.empty(len(order), np.int64)
    # what the last candidate near a place has fallen to
    hints = np.full((int(high_y / _HINT) + 1, int(high_x / _HINT) + 1), -1, np.int64)
    open_pairs = np.empty(len(order), np.int64)
    corners, few = np.empty((2, dist.shape[1]), np.int64), np.empty((4, 2 * _FEW), np.float32)

    for place in range(len(order)):
        n = order[place]
        y, x = points[n, 0] - low_y, points[n, 1] - low_x
        this = count  # where it is remembered if it is kept
        if radius[n] > _LARGEST:
            box[this], size[this, 0] = 0, -1
        else:
            _measure(dist[n], points[n], rays, corners, box[this], size[this])
        at = int(y / _HINT), int(x / _HINT)
        by = hints[at]
        hinted = by >= 0 and size[by, 0] >= 0 and size[this, 0] >= 0 and _within(points, radius, kept[by], n)
        if hinted and _surely_above(by, this, box, size, start, rows, corners, few, overlap):
            continue
        length = box[this, 1] - box[this, 0]
        while start[this] + length > rows.shape[1]:
            larger = np.empty((4, 2 * rows.shape[1]), np.float32)
            larger[:, : rows.shape[1]] = rows
            rows = larger
        if length > 0:
            _fill_rows(corners, box[this, 0], 1, rows[:, start[this] : start[this] + length])
        if not hinted or _compare(by, this, box, size, start, rows, overlap) < 1:
            by = -1
        left_open = 0
        span = reach + radius[n] + 3
        for cy in range(max(0, int((y - span) / cell)), min(head.shape[0], int((y + span) / cell) + 1)):
            for cx in range(max(0, int((x - span) / cell)), min(head.shape[1], int((x + span) / cell) + 1)):
                other = head[cy, cx]
                while other >= 0 and by < 0:
                    verdict = _compare(other, this, box, size, start, rows, overlap)
                    if verdict > 0 and _within(points, radius, kept[other], n):
                        by = other
                    elif verdict >= 0:
                        open_pairs[left_open] = other
                        left_open += 1
                    other = following[other]
        for k in range(left_open):
            if by < 0 and _clipped_above(dist, points, kept[open_pairs[k]], n, reach, radius, overlap):
                by = open_pairs[k]
        if by < 0:
            by = this
            keep[place] = True
            kept[count] = n
            cy, cx = int(y / cell), int(x / cell)
            following[count], head[cy, cx] = head[cy, cx], count
            count += 1
            start[count] = start[this] + length
        hints[at] = by
    return keep


@njit(cache=True, nogil=True)
def _within(points, radius, i, j):  # type: ignore[no-untyped-def]
    """Whether two candidates are so near one another that StarDist surely compares them."""
    apart = (points[i, 0] - points[j, 0]) ** 2 + (points[i, 1] - points[j, 1]) ** 2
    return apart < np.float32(0.999) * (radius[i] + radius[j]) ** 2


@njit(cache=True)
def _clipped_above(dist, points, i, j, reach, radius, overlap):  # type: ignore[no-untyped-def]
    """Ask StarDist whether candidate i, which is kept, drops candidate j."""
    apart = (points[i, 0] - points[j, 0]) ** 2 + (points[i, 1] - points[j, 1]) ** 2
    if apart >= (reach + radius[i]) * (reach + radius[i]):  # beyond where it searches
        return False
    pair, centres = np.empty((2, dist.shape[1]), np.float32), np.empty((2, 2), np.float32)
    pair[0], pair[1], centres[0], centres[1] = dist[i], dist[j], points[i], points[j]
    with objmode(above="boolean"):
        above = _clip(pair, centres, overlap)
    return above


def _clip(pair: NDArray[np.float32], centres: NDArray[np.float32], overlap: float) -> bool:
    from stardist.lib.stardist2d import c_non_max_suppression_inds

    # without a search tree, with boxes, silent
    return not c_non_max_suppression_inds(pair, centres, 0, 1, 0, np.float32(overlap))[1]


@njit(cache=True, nogil=True)
def _measure(dist, point, rays, corners, box, size):  # type: ignore[no-untyped-def]
    """Fill in the corners, truncated to integers as StarDist does, their box, and area, its error and way sideways."""
    for k in range(len(dist)):
        corners[0, k] = int(point[0] + dist[k] * rays[0, k])
        corners[1, k] = int(point[1] + dist[k] * rays[1, k])
    box[0], box[1] = corners[0].min(), corners[0].max()
    box[2], box[3] = corners[1].min(), corners[1].max()
    twice, perimeter, sideways = 0, 0.0, 0
    for k in range(len(dist)):
        y0, x0, y1, x1 = corners[0, k - 1], corners[1, k - 1], corners[0, k], corners[1, k]
        twice += y0 * x1 - y1 * x0
        perimeter += math.sqrt((y1 - y0) ** 2 + (x1 - x0) ** 2)
        sideways += abs(x1 - x0)
    size[0] = 0.5 * abs(twice)
    # StarDist adds up products of coordinates in float32, which matters far from the origin
    farthest = max(abs(box[0]), abs(box[1]), abs(box[2]), abs(box[3]))
    size[1] = perimeter * (SLACK + 4 * len(dist) * farthest * 2.0**-24)
    size[2] = sideways


@njit(cache=True, nogil=True)
def _fill_rows(corners, top, step, rows):  # type: ignore[no-untyped-def]
    """Fill in each `step`-th row: the interval that is certainly inside, and the one beyond which nothing is.

    A row is taken in its middle, where a polygon of integer corners has its mean length over the row.
    """
    low, high, outer_low, outer_high = rows[0], rows[1], rows[2], rows[3]
    outer_low[:] = np.inf
    outer_high[:] = -np.inf
    low[:] = 0  # edges, until all are seen
    for k in range(corners.shape[1]):
        y0, x0, y1, x1 = corners[0, k - 1], corners[1, k - 1], corners[0, k], corners[1, k]
        if y0 == y1:
            continue
        if y0 > y1:
            y0, x0, y1, x1 = y1, x1, y0, x0
        slope = (x1 - x0) / (y1 - y0)
        for row in range((y0 - top + step - 1) // step, (y1 - top + step - 1) // step):
            column = x0 + (top + row * step + 0.5 - y0) * slope
            outer_low[row] = min(outer_low[row], column)
            outer_high[row] = max(outer_high[row], column)
            low[row] += 1
    for row in range(len(low)):
        if low[row] > 2:
            low[row], high[row] = _longest(corners, top + row * step + 0.5)
        else:
            low[row], high[row] = outer_low[row], outer_high[row]


@njit(cache=True, nogil=True)
def _longest(corners, y):  # type: ignore[no-untyped-def]
    """Return the longest interval of a row that leaves the polygon in between."""
    crossings, count = np.empty(corners.shape[1]), 0  # in order
    for k in range(corners.shape[1]):
        y0, x0, y1, x1 = corners[0, k - 1], corners[1, k - 1], corners[0, k], corners[1, k]
        if (y0 < y) != (y1 < y):
            column, place = x0 + (y - y0) * (x1 - x0) / (y1 - y0), count
            while place > 0 and crossings[place - 1] > column:
                crossings[place] = crossings[place - 1]
                place -= 1
            crossings[place] = column
            count += 1
    best = 0
    for k in range(2, count, 2):
        if crossings[k + 1] - crossings[k] > crossings[best + 1] - crossings[best]:
            best = k
    return crossings[best], crossings[best + 1]


@njit(cache=True, nogil=True)
def _surely_above(i, j, box, size, start, rows, corners, few, overlap):  # type: ignore[no-untyped-def]
    """Whether a few rows of `j` show that it overlaps `i` enough.

    Each stands for `step` rows. Over all rows, the length that two polygons share changes in all by no more than both
    outlines go sideways, and so the sum over few rows is wrong by no more than half a step for each such pixel.
    """
    step = (box[j, 1] - box[j, 0]) // _FEW + 1
    first = box[j, 0] + step // 2
    count = max(0, (box[j, 1] - first + step - 1) // step)
    _fill_rows(corners, first, step, few[:, :count])
    total = 0.0
    for row in range(count):
        y = first + row * step
        if box[i, 0] <= y < box[i, 1]:
            at = start[i] + y - box[i, 0]
            total += max(0.0, min(rows[1, at], few[1, row]) - max(rows[0, at], few[0, row]))
    slack = size[i, 1] + size[j, 1] + step / 2 * (size[i, 2] + size[j, 2])
    return total * step > overlap * min(size[i, 0], size[j, 0]) + slack


@njit(cache=True, nogil=True)
def _compare(i, j, box, size, start, rows, overlap):  # type: ignore[no-untyped-def]
    """Return 1 if the overlap of two polygons is surely above the threshold, -1 if surely not, otherwise 0."""
    if size[i, 0] < 0 or size[j, 0] < 0:
        return 0
    top, bottom = max(box[i, 0], box[j, 0]), min(box[i, 1], box[j, 1])
    if top >= bottom or box[i, 2] >= box[j, 3] or box[j, 2] >= box[i, 3]:
        return -1
    limit, slack = overlap * min(size[i, 0], size[j, 0]), size[i, 1] + size[j, 1]
    a, b = start[i] + top - box[i, 0], start[j] + top - box[j, 0]
    if _shared(rows[0], rows[1], a, b, bottom - top) > limit + slack:
        return 1
    return -1 if _shared(rows[2], rows[3], a, b, bottom - top) < limit - slack else 0


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "nnan", "ninf"})
def _shared(low, high, a, b, length):  # type: ignore[no-untyped-def]
    """Sum what the intervals of two polygons have in common, from rows `a` and `b` on."""
    total = np.float32(0)
    for k in range(length):
        total += max(np.float32(0), min(high[a + k], high[b + k]) - max(low[a + k], low[b + k]))
    return total
