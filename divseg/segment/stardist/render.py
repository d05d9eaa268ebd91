"""Star-convex polygons to a label image, pixel for pixel as ``stardist.geometry.polygons_to_label`` paints them.

StarDist calls ``skimage.draw.polygon`` for each object, which asks every edge about every pixel of the bounding
box. Here a row first picks the few edges that cross it; the question to these is the same, in the same arithmetic
(O'Rourke, Computational Geometry in C, 1998, chapter 7: count crossings to both sides; pixels on an edge or a vertex
belong to the polygon).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_SAME = 1e-12  # scikit-image's tolerance for a pixel on a vertex


def paint_polygons(
    dist: NDArray[np.float32], points: NDArray[Any], prob: NDArray[np.float32], shape: tuple[int, int]
) -> NDArray[np.int32]:
    """Paint objects in order of rising probability, so that the most probable one is on top.

    Parameters
    ----------
    dist : float32 array, shape (n, n_rays)
        Distances to the boundary in pixels.
    points : int or float array, shape (n, 2)
        Centres in pixels.
    prob : float32 array, shape (n,)
        Object probabilities.
    shape : (int, int)
        Shape of the image.

    Returns
    -------
    int32 array of `shape`
        Object i (counted from 0) has label i + 1.
    """
    from stardist.geometry import dist_to_coord

    labels = np.zeros(shape, np.int32)
    if len(points):
        order = np.argsort(prob, kind="stable")
        coord = dist_to_coord(dist[order], points[order]).astype(np.float64)
        _paint(labels, np.ascontiguousarray(coord), order.astype(np.int64))
    return labels


@njit(cache=True, nogil=True)
def _paint(labels: NDArray[np.int32], coord: NDArray[np.float64], order: NDArray[np.int64]) -> None:
    rows, columns = labels.shape
    corners = coord.shape[2]
    edge = np.empty(corners, np.int64)
    for n in range(coord.shape[0]):
        ys, xs = coord[n, 0], coord[n, 1]
        top, bottom = max(0, int(ys.min())), min(rows - 1, int(np.ceil(ys.max())))
        left, right = max(0, int(xs.min())), min(columns - 1, int(np.ceil(xs.max())))
        for row in range(top, bottom + 1):
            # edges that change the side of this row, or begin on it
            crossing = 0
            for i in range(corners):
                y0, y1 = ys[i] - row, ys[i - 1] - row
                if (y0 > 0) != (y1 > 0) or (y0 < 0) != (y1 < 0) or abs(y0) < _SAME:
                    edge[crossing] = i
                    crossing += 1
            if crossing == 0:
                continue
            for column in range(left, right + 1):
                if _inside(ys, xs, edge[:crossing], row, column):
                    labels[row, column] = order[n] + 1


@njit(cache=True, nogil=True)
def _inside(ys: NDArray[np.float64], xs: NDArray[np.float64], edges: NDArray[np.int64], row: int, column: int) -> bool:
    on_right = on_left = False
    for i in edges:
        x0, y0 = xs[i] - column, ys[i] - row
        x1, y1 = xs[i - 1] - column, ys[i - 1] - row
        if abs(x0) < _SAME and abs(y0) < _SAME:
            return True
        above, below = (y0 > 0) != (y1 > 0), (y0 < 0) != (y1 < 0)
        if above or below:
            crossing = (x0 * y1 - x1 * y0) / (y1 - y0)
            on_right ^= above and crossing > 0
            on_left ^= below and crossing < 0
    return on_right or on_left
