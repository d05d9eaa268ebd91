"""Local search for the multicut problem: moves, swaps and chains of moves of objects between clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from divseg.consensus.contraction import contract, renumber
from divseg.consensus.graph import ObjectGraph

MAX_ROUNDS = 20

CHAIN = 6
"""Number of moves that may follow one that lowers the objective."""

SMALL = 16
"""Chains are tried in components of at most this many objects: in larger ones single moves are enough."""

MAX_LOSS = 4.0
"""Loss that a chain may have on its way: about one link of identical objects."""


def improve(graph: ObjectGraph, cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move objects to better clusters and join clusters until nothing is gained.

    An object goes to the cluster it has the greatest total weight with, or alone; if that cluster holds an
    object of the same sample, the two are swapped if both together gain. If no such move gains, in small
    components of the graph short chains are tried: a move that loses a little, then the best moves of the
    objects it concerns, n_targets if all together gain (the sequences of Kernighan-Lin with joins, Keuper et al.,
    ICCV 2015, algorithm 2, confined to the neighbours of what has moved). The multicut objective never gets
    worse, and no cluster gets two objects of one sample.

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
    links = (offsets, neighbours, weights)
    n = graph.n_objects
    _, component = connected_components(
        coo_array((np.ones(len(graph.first)), (graph.first, graph.second)), shape=(n, n))
    )
    small = np.bincount(component, minlength=1)[component] <= SMALL
    for _ in range(MAX_ROUNDS):
        moved = cluster.copy()
        while _move(moved, graph.sample, sample_start, *links, MAX_ROUNDS):
            moved = renumber(moved)
            joined = contract(graph.sample, graph.first, graph.second, graph.weight, moved)
            if joined.max(initial=-1) == moved.max(initial=-1):
                break
            moved = joined
        cluster = renumber(moved)
        moved = cluster.copy()
        tried = np.flatnonzero(small & _unsettled(graph, cluster, component))
        if not _chains(moved, graph.sample, sample_start, *links, tried, CHAIN, MAX_LOSS):
            break
        cluster = renumber(moved)
    return cluster


def _unsettled(graph: ObjectGraph, cluster: NDArray[np.int64], component: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each object whether its component might be clustered better.

    If all links within clusters attract and all between them repel, the clustering is optimal.
    """
    apart = cluster[graph.first] != cluster[graph.second]
    against = np.where(apart, graph.weight > 0, graph.weight < 0)
    improvable = np.zeros(int(component.max(initial=-1)) + 1, bool)
    improvable[component[graph.first[against]]] = True
    return improvable[component]


def _adjacency(graph: ObjectGraph) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    ends = np.concatenate([graph.first, graph.second])
    order = np.argsort(ends, kind="stable")
    offsets = np.zeros(graph.n_objects + 1, np.int64)
    np.cumsum(np.bincount(ends, minlength=graph.n_objects), out=offsets[1:])
    neighbours = np.concatenate([graph.second, graph.first])[order]
    return offsets, neighbours, np.concatenate([graph.weight, graph.weight])[order]


@njit(cache=True, nogil=True)
def _total(node: int, target: int, cluster: Any, offsets: Any, neighbours: Any, weights: Any) -> float:
    """Return the total weight between an object and a cluster."""  # pragma: no cover - compiled
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
                sibling = -1
                for j in range(sample_start[sample[i]], sample_start[sample[i] + 1]):
                    if cluster[j] == c:
                        sibling = j
                        break
                if sibling >= 0:
                    gain += _total(sibling, here, cluster, offsets, neighbours, weights)
                    gain -= _total(sibling, c, cluster, offsets, neighbours, weights)
                if gain > best_gain:
                    best, best_gain, best_swap = c, gain, sibling
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


@njit(cache=True, nogil=True)
def _moves(
    i: int,
    cluster: Any,
    members: Any,
    sample: Any,
    sample_start: Any,
    offsets: Any,
    neighbours: Any,
    weights: Any,
    locked: Any,
    weight_to: Any,
    targets: Any,
    gains: Any,
    siblings: Any,
) -> int:  # pragma: no cover - compiled
    """List where an object could go: clusters, gains, and the object it is swapped with or -1; return how many."""
    here = cluster[i]
    n_clusters = 0
    for p in range(offsets[i], offsets[i + 1]):
        c = cluster[neighbours[p]]
        if weight_to[c] == 0.0 and c != here:
            targets[n_clusters] = c
            n_clusters += 1
        weight_to[c] += weights[p]
    stay = weight_to[here]
    n_targets = 0
    for t in range(n_clusters):
        c = targets[t]
        if weight_to[c] == -np.inf:
            continue
        gain, sibling = weight_to[c] - stay, -1
        weight_to[c] = -np.inf  # seen
        for j in range(sample_start[sample[i]], sample_start[sample[i] + 1]):
            if cluster[j] == c:
                sibling = j
                gain += _total(j, here, cluster, offsets, neighbours, weights)
                gain -= _total(j, c, cluster, offsets, neighbours, weights)
        if sibling < 0 or not locked[sibling]:
            targets[n_targets], gains[n_targets], siblings[n_targets] = c, gain, sibling
            n_targets += 1
    for p in range(offsets[i], offsets[i + 1]):
        weight_to[cluster[neighbours[p]]] = 0.0
    own = cluster.size + i
    if members[own] == 0 and members[here] > 1:
        targets[n_targets], gains[n_targets], siblings[n_targets] = own, -stay, -1
        n_targets += 1
    return n_targets


@njit(cache=True, nogil=True)
def _chains(
    cluster: Any,
    sample: Any,
    sample_start: Any,
    offsets: Any,
    neighbours: Any,
    weights: Any,
    tried: Any,
    depth: int,
    max_loss: float,
) -> bool:  # pragma: no cover - compiled
    """Try chains of moves from each object in `tried` to every cluster it is linked to; keep those that gain."""
    n = cluster.size
    tiny = 1e-9
    # an object on its own is in cluster n + its number
    members = np.zeros(2 * n, np.int64)
    for i in range(n):
        members[cluster[i]] += 1
    locked, looked = np.zeros(n, np.bool_), np.full(n, -1, np.int64)
    weight_to = np.zeros(2 * n)
    starts, start_gains, start_siblings = np.empty(n + 1, np.int64), np.empty(n + 1), np.empty(n + 1, np.int64)
    targets, gains, siblings = np.empty(n + 1, np.int64), np.empty(n + 1), np.empty(n + 1, np.int64)
    moved, source = np.empty(2 * depth + 4, np.int64), np.empty(2 * depth + 4, np.int64)
    stamp = 0
    any_change = False
    for i in tried:
        n_starts = _moves(
            i,
            cluster,
            members,
            sample,
            sample_start,
            offsets,
            neighbours,
            weights,
            locked,
            weight_to,
            starts,
            start_gains,
            start_siblings,
        )
        for s in range(n_starts):
            node, target, total, sibling = i, starts[s], start_gains[s], start_siblings[s]
            if total < -max_loss:
                continue
            n_moved = 0
            for _ in range(depth + 1):
                moved[n_moved], source[n_moved] = node, cluster[node]
                n_moved += 1
                if sibling >= 0:
                    moved[n_moved], source[n_moved] = sibling, target
                    n_moved += 1
                    cluster[sibling] = cluster[node]
                    locked[sibling] = True
                else:
                    members[cluster[node]] -= 1
                    members[target] += 1
                cluster[node] = target
                locked[node] = True
                if total > tiny:
                    break
                # only the gains of neighbours of what has moved have changed
                stamp += 1
                best, node = -np.inf, -1
                for m in range(n_moved):
                    for q in range(offsets[moved[m]], offsets[moved[m] + 1]):
                        j = neighbours[q]
                        if locked[j] or looked[j] == stamp:
                            continue
                        looked[j] = stamp
                        n_targets = _moves(
                            j,
                            cluster,
                            members,
                            sample,
                            sample_start,
                            offsets,
                            neighbours,
                            weights,
                            locked,
                            weight_to,
                            targets,
                            gains,
                            siblings,
                        )
                        for t in range(n_targets):
                            if gains[t] > best:
                                best, node, target, sibling = gains[t], j, targets[t], siblings[t]
                if node < 0 or total + best < -max_loss:
                    break
                total += best
            for m in range(n_moved - 1, -1, -1):
                locked[moved[m]] = False
                if total <= tiny:
                    members[cluster[moved[m]]] -= 1
                    members[source[m]] += 1
                    cluster[moved[m]] = source[m]
            if total > tiny:
                any_change = True
                break
    return any_change
