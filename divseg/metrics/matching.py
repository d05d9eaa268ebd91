"""One-to-one matching of predicted and reference objects by intersection over union (IoU)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

from divseg.errors import InputError
from divseg.metrics.overlap import Overlap

_DENSE_NODES = 400
"""Conflict components with more objects than this are solved with a sparse solver: memory stays small."""


def iou_matrix(overlap: Overlap) -> csr_array:
    """Return the IoU of all pairs as a sparse matrix.

    Parameters
    ----------
    overlap : Overlap
        Contingency table of two label images.

    Returns
    -------
    scipy.sparse.csr_array, shape (n_pred, n_true), float64
        Objects in the order of ``overlap.pred_labels`` and ``overlap.truth_labels``.
    """
    shape = (overlap.n_pred, overlap.n_true)
    return coo_array((overlap.iou, (overlap.pred_index, overlap.truth_index)), shape=shape).tocsr()


def check_threshold(threshold: float) -> float:
    """Return an IoU threshold as a float in (0, 1], free of the rounding noise of ``np.arange``.

    Raises
    ------
    InputError
        Not a number above 0 and up to 1.
    """
    try:
        value = round(float(threshold), 9)
    except (TypeError, ValueError):
        value = np.nan
    if not 0 < value <= 1:
        raise InputError(f"IoU threshold {threshold!r} is impossible: give numbers above 0 and up to 1")
    return value


def match(overlap: Overlap, threshold: float = 0.5) -> NDArray[np.int64]:
    """Match objects one to one if their IoU is at least the threshold.

    As many pairs as possible are matched and, among all such matchings, those with the greatest sum of IoU.
    Above an IoU of 0.5 every object has at most one partner (pigeonhole); up to 0.5 the
    groups of objects in conflict are solved exactly (assignment problem).

    Parameters
    ----------
    overlap : Overlap
        Contingency table of two label images.
    threshold : float
        Smallest IoU of a match, in (0, 1]; 0.5 itself counts, as in ``stardist.matching``.

    Returns
    -------
    int64 array, shape (n_matches,)
        Indices into the pairs of `overlap`, ascending.

    Raises
    ------
    InputError
        Threshold outside (0, 1].
    """
    threshold = check_threshold(threshold)
    pairs = np.flatnonzero(overlap.iou >= threshold)
    if threshold > 0.5 or not len(pairs):
        return pairs
    row, col = overlap.pred_index[pairs], overlap.truth_index[pairs]
    if len(np.unique(row)) == len(row) and len(np.unique(col)) == len(col):
        return pairs
    # the bonuses sum to at most a half, so one more match always outweighs them
    bonus = overlap.iou[pairs] / (2 * min(overlap.n_pred, overlap.n_true))
    return pairs[heaviest_matching(row, col, 1 + bonus)]


def heaviest_matching(row: NDArray[np.int64], col: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.int64]:
    """Choose edges of a bipartite graph, no two with a common end, of the greatest total weight.

    Parameters
    ----------
    row, col : int64 array, shape (N,)
        Ends of the edges, numbered from 0 on either side; each edge once.
    weight : float64 array, shape (N,)
        Positive weights.

    Returns
    -------
    int64 array
        Indices of the chosen edges, ascending.
    """
    if not len(row):
        return np.empty(0, np.int64)
    chosen = _take_safe_edges(row, col, weight, int(row.max()) + 1, int(col.max()) + 1)
    left = np.flatnonzero(~np.isin(row, row[chosen]) & ~np.isin(col, col[chosen]))
    if len(left):
        solved = [left[part] for part in _solve_components(row[left], col[left], weight[left])]
        chosen = np.concatenate([chosen, *solved])
    return np.sort(chosen)


@njit(cache=True, nogil=True)
def _take_safe_edges(
    row: NDArray[np.int64], col: NDArray[np.int64], weight: NDArray[np.float64], rows: int, cols: int
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Take edges at least as heavy as the best others at their two ends together, until there are none.

    Some heaviest matching holds such an edge: it can replace the at most two edges that block it. Nearly all
    pairs of a good segmentation are of this kind.
    """
    state = np.zeros(row.size, np.int8)  # 0 open, 1 taken, 2 blocked
    row_used, col_used = np.zeros(rows, np.bool_), np.zeros(cols, np.bool_)
    progress = True
    while progress:
        progress = False
        row_best, row_next = np.zeros(rows), np.zeros(rows)
        col_best, col_next = np.zeros(cols), np.zeros(cols)
        for e in range(row.size):
            if state[e] == 0:
                r, c, w = row[e], col[e], weight[e]
                if w > row_best[r]:
                    row_best[r], row_next[r] = w, row_best[r]
                elif w > row_next[r]:
                    row_next[r] = w
                if w > col_best[c]:
                    col_best[c], col_next[c] = w, col_best[c]
                elif w > col_next[c]:
                    col_next[c] = w
        for e in range(row.size):
            if state[e] != 0:
                continue
            r, c, w = row[e], col[e], weight[e]
            if row_used[r] or col_used[c]:
                state[e] = 2
            elif w == row_best[r] and w == col_best[c] and w >= row_next[r] + col_next[c]:
                state[e] = 1
                row_used[r] = col_used[c] = progress = True
    return np.flatnonzero(state == 1)


def _solve_components(
    row: NDArray[np.int64], col: NDArray[np.int64], weight: NDArray[np.float64]
) -> list[NDArray[np.int64]]:
    """Solve the assignment problem of every connected component of the conflict graph."""
    rows, cols = int(row.max()) + 1, int(col.max()) + 1
    graph = coo_array((np.ones(len(row), np.int8), (row, col + rows)), shape=(rows + cols, rows + cols))
    component = connected_components(graph, directed=False)[1][row]
    order = np.argsort(component, kind="stable")
    ends = np.flatnonzero(np.diff(component[order])) + 1
    return [edges[_solve(row[edges], col[edges], weight[edges])] for edges in np.split(order, ends)]


def _solve(row: NDArray[np.int64], col: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[Any]:
    row, col = np.unique(row, return_inverse=True)[1], np.unique(col, return_inverse=True)[1]
    rows, cols = int(row.max()) + 1, int(col.max()) + 1
    if rows > cols:  # both solvers work row by row
        row, col, rows, cols = col, row, cols, rows
    if rows + cols <= _DENSE_NODES:
        dense = np.zeros((rows, cols))
        dense[row, col] = weight
        picked = linear_sum_assignment(dense, maximize=True)
    else:
        # every row also has a partner of its own with weight 0, so that a full matching exists;
        # one is added to all weights because the solver takes zeros for absent edges
        single = np.arange(rows)
        values = np.concatenate([weight + 1, np.ones(rows)])
        places = (np.concatenate([row, single]), np.concatenate([col, cols + single]))
        sparse = coo_array((values, places), shape=(rows, cols + rows)).tocsr()
        picked = min_weight_full_bipartite_matching(sparse, maximize=True)
    partner = np.full(rows, -1)
    partner[picked[0]] = picked[1]
    return np.flatnonzero(partner[row] == col)
