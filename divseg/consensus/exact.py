"""Exact solution of small multicut problems by integer programming with lazy cycle inequalities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from divseg.consensus.contraction import renumber
from divseg.consensus.graph import ObjectGraph
from divseg.errors import DivsegError


def solve_small_components(graph: ObjectGraph, cluster: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Replace the clusters of every small component of the graph by an optimal clustering.

    Parameters
    ----------
    graph : ObjectGraph
    cluster : int64 array, shape (N,)
        A clustering whose clusters lie within components.
    most : int
        Components with more objects than this keep their clusters.

    Returns
    -------
    int64 array, shape (N,)
        Clusters 0.. in the order of their first objects.
    """
    n = graph.n_objects
    links = coo_array((np.ones(len(graph.first)), (graph.first, graph.second)), shape=(n, n))
    _, component = connected_components(links, directed=False)
    sizes = np.bincount(component, minlength=1)
    result = cluster.copy()
    fresh = int(cluster.max(initial=-1)) + 1
    for c in np.flatnonzero((sizes > 2) & (sizes <= most)):
        nodes = np.flatnonzero(component == c)
        edges = np.flatnonzero(component[graph.first] == c)
        first = np.searchsorted(nodes, graph.first[edges])
        second = np.searchsorted(nodes, graph.second[edges])
        part = multicut(graph.sample[nodes], first, second, graph.weight[edges])
        result[nodes] = fresh + part
        fresh += len(nodes)
    return renumber(result)


def multicut(
    sample: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Cut edges of least total weight so that a clustering results, objects of one sample apart; exact.

    ``min sum w_e x_e`` with x_e = 1 for cut edges, subject to x_e <= sum of x over every path between the
    ends of e, and sum of x >= 1 over every path between two objects of one sample. The inequalities are
    added where a solution violates them (Kappes et al., EMMCVPR 2011).

    Parameters
    ----------
    sample : int64 array, shape (N,)
    first, second : int64 arrays, shape (E,)
    weight : float64 array, shape (E,)

    Returns
    -------
    int64 array, shape (N,)
        Clusters.
    """
    n, m = len(sample), len(first)
    twins = np.argwhere(np.triu(sample[:, None] == sample[None, :], 1))
    rows: list[tuple[NDArray[np.int64], int]] = []
    while True:
        cut = _solve(weight, rows, m)
        kept = np.flatnonzero(~cut)
        ends = (np.concatenate([first[kept], second[kept]]), np.concatenate([second[kept], first[kept]]))
        joined = coo_array((np.concatenate([kept, kept]) + 1, ends), shape=(n, n)).tocsr()
        _, part = connected_components(joined, directed=False)
        before = len(rows)
        for e in np.flatnonzero(cut & (part[first] == part[second])):
            rows.append((_path(joined, int(first[e]), int(second[e])), int(e)))
        for a, b in twins[part[twins[:, 0]] == part[twins[:, 1]]].tolist():
            rows.append((_path(joined, a, b), -1))
        if len(rows) == before:
            return part.astype(np.int64)


def _solve(weight: NDArray[np.float64], rows: list[tuple[NDArray[np.int64], int]], m: int) -> NDArray[np.bool_]:
    matrix = np.zeros((max(len(rows), 1), m))
    least = np.zeros(len(matrix))
    for i, (path, edge) in enumerate(rows):
        matrix[i, path] = 1
        if edge >= 0:
            matrix[i, edge] = -1
        else:
            least[i] = 1
    constraint = LinearConstraint(csr_array(matrix), lb=least)
    result = milp(
        weight,
        integrality=np.ones(m),
        bounds=Bounds(0, 1),
        constraints=constraint,
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise DivsegError(f"the exact clustering of {m} links failed: {result.message}; lower exact_below")
    return np.asarray(result.x > 0.5)


def _path(joined: csr_array, start: int, end: int) -> NDArray[np.int64]:
    """Edges of a shortest path; the entries of `joined` are edge + 1."""
    _, before = breadth_first_order(joined, start, directed=False)
    path = []
    node = end
    while node != start:
        path.append(int(joined[before[node], node]) - 1)
        node = int(before[node])
    return np.array(path, np.int64)
