"""Local search for the multicut problem: moves and swaps of single objects between clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from divseg.consensus.contraction import contract, renumber
from divseg.consensus.graph import ObjectGraph

MAX_ROUNDS = 20


def improve(graph: ObjectGraph, cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move objects to better clusters and join clusters until nothing is gained.

    The moves of Kernighan-Lin with joins (Keuper et al., ICCV 2015, algorithm 2) for single objects, without
    sequences of losing moves: an object goes to the cluster it has the greatest total weight with, or alone;
    where that cluster holds an object of the same sample, the two swap places if both together gain. The
    multicut objective never gets worse, and no cluster gets two objects of one sample.

    Parameters
    ----------
    graph : ObjectGraph
    cluster : int64 array, shape (N,)
        Clusters 0..C-1.

    Returns
    -------
    int64 array, shape (N,)
        Clusters 0.. in the order of their first objects.
    """
    offsets, neighbours, weights = _adjacency(graph)
    # objects of one sample are consecutive
    sample_start = np.searchsorted(graph.sample, np.arange(int(graph.sample.max(initial=-1)) + 2))
    for _ in range(MAX_ROUNDS):
        moved = cluster.copy()
        changed = _move(moved, graph.sample, sample_start, offsets, neighbours, weights, MAX_ROUNDS)
        cluster = renumber(moved)
        if not changed:
            break
        joined = contract(graph.sample, graph.first, graph.second, graph.weight, cluster)
        if joined.max(initial=-1) == cluster.max(initial=-1):
            break
        cluster = joined
    return cluster


def _adjacency(graph: ObjectGraph) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    ends = np.concatenate([graph.first, graph.second])
    order = np.argsort(ends, kind="stable")
    offsets = np.zeros(graph.n_objects + 1, np.int64)
    np.cumsum(np.bincount(ends, minlength=graph.n_objects), out=offsets[1:])
    neighbours = np.concatenate([graph.second, graph.first])[order]
    return offsets, neighbours, np.concatenate([graph.weight, graph.weight])[order]


@njit(cache=True, nogil=True)
def _total(node: int, target: int, cluster: Any, offsets: Any, neighbours: Any, weights: Any) -> float:
    """Total weight between an object and a cluster."""  # pragma: no cover - compiled
    total = 0.0
    for p in range(offsets[node], offsets[node + 1]):
        if cluster[neighbours[p]] == target:
            total += weights[p]
    return total


@njit(cache=True, nogil=True)
def _move(
    cluster: Any, sample: Any, sample_start: Any, offsets: Any, neighbours: Any, weights: Any, max_rounds: int
) -> bool:  # pragma: no cover - compiled
    n = cluster.size
    tiny = 1e-9
    members = np.zeros(n + 1, np.int64)
    for i in range(n):
        members[cluster[i]] += 1
    empty = np.empty(n + 1, np.int64)
    n_empty = 0
    for c in range(n, -1, -1):
        if members[c] == 0:
            empty[n_empty] = c
            n_empty += 1
    weight_to = np.zeros(n + 1)
    seen = np.empty(n + 1, np.int64)
    any_change = False
    for _ in range(max_rounds):
        changed = False
        for i in range(n):
            n_seen = 0
            for p in range(offsets[i], offsets[i + 1]):
                c = cluster[neighbours[p]]
                if weight_to[c] == 0.0:
                    seen[n_seen] = c
                    n_seen += 1
                weight_to[c] += weights[p]
            here = cluster[i]
            best, best_gain, best_swap = -1, tiny, -1
            if members[here] > 1 and -weight_to[here] > best_gain:
                best, best_gain = empty[n_empty - 1], -weight_to[here]
            for s in range(n_seen):
                c = seen[s]
                gain = weight_to[c] - weight_to[here]
                if c == here or gain <= best_gain:
                    continue
                twin = -1
                for j in range(sample_start[sample[i]], sample_start[sample[i] + 1]):
                    if cluster[j] == c:
                        twin = j
                        break
                if twin >= 0:
                    gain += _total(twin, here, cluster, offsets, neighbours, weights)
                    gain -= _total(twin, c, cluster, offsets, neighbours, weights)
                if gain > best_gain:
                    best, best_gain, best_swap = c, gain, twin
            for s in range(n_seen):
                weight_to[seen[s]] = 0.0
            if best < 0:
                continue
            if members[best] == 0:
                n_empty -= 1
            cluster[i] = best
            if best_swap >= 0:
                cluster[best_swap] = here
            else:
                members[best] += 1
                members[here] -= 1
                if members[here] == 0:
                    empty[n_empty] = here
                    n_empty += 1
            changed = any_change = True
        if not changed:
            break
    return any_change
