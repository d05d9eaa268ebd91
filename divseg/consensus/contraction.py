"""Greedy additive edge contraction for the multicut problem, with objects that must stay apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def contract(
    sample: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    weight: NDArray[np.float64],
    cluster: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Join the two clusters with the greatest total weight between them until none is positive.

    Greedy additive edge contraction (Keuper et al., ICCV 2015, algorithm 1), except that clusters which hold
    objects of the same sample are never joined. Ties go to the edge that comes first.

    Parameters
    ----------
    sample : int64 array, shape (N,)
        Sample of each object.
    first, second : int64 arrays, shape (E,)
        Linked objects.
    weight : float64 array, shape (E,)
        Positive if the two are more likely the same object than not.
    cluster : int64 array, shape (N,)
        Initial clusters 0..C-1; ``arange(N)`` for single objects.

    Returns
    -------
    int64 array, shape (N,)
        Clusters 0.. in the order of their first objects.
    """
    n_clusters = int(cluster.max(initial=-1)) + 1
    a, b, w = _between_clusters(cluster[first], cluster[second], weight, n_clusters)
    words = (int(sample.max(initial=0)) >> 6) + 1
    bits = np.zeros((n_clusters, words), np.uint64)
    np.bitwise_or.at(bits, (cluster, sample >> 6), np.uint64(1) << (sample & 63).astype(np.uint64))
    return renumber(_contract(n_clusters, a, b, w, bits)[cluster])


def renumber(cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the clusters numbered from 0 in the order of their first objects."""
    _, first, inverse = np.unique(cluster, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()]


def _between_clusters(
    a: NDArray[np.int64], b: NDArray[np.int64], weight: NDArray[np.float64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Sum the weights between clusters, one edge for a pair, sorted by the pair."""
    codes = np.minimum(a, b) * n + np.maximum(a, b)
    apart = a != b
    values, inverse = np.unique(codes[apart], return_inverse=True)
    total = np.bincount(inverse.ravel(), weight[apart], minlength=len(values)).astype(np.float64)
    n = max(n, 1)
    return values // n, values % n, total


@njit(cache=True, nogil=True)
def _before(e: int, f: int, weight: Any) -> bool:  # pragma: no cover - compiled
    return weight[e] > weight[f] or (weight[e] == weight[f] and e < f)


@njit(cache=True, nogil=True)
def _sift(i: int, size: int, heap: Any, position: Any, weight: Any) -> None:  # pragma: no cover - compiled
    """Restore the order of the heap around position i."""
    e = heap[i]
    while i > 0:
        up = (i - 1) >> 1
        if not _before(e, heap[up], weight):
            break
        heap[i] = heap[up]
        position[heap[i]] = i
        i = up
    while True:
        down = 2 * i + 1
        if down >= size:
            break
        if down + 1 < size and _before(heap[down + 1], heap[down], weight):
            down += 1
        if not _before(heap[down], e, weight):
            break
        heap[i] = heap[down]
        position[heap[i]] = i
        i = down
    heap[i] = e
    position[e] = i


@njit(cache=True, nogil=True)
def _remove(e: int, size: int, heap: Any, position: Any, weight: Any) -> int:  # pragma: no cover - compiled
    i = position[e]
    position[e] = -1
    size -= 1
    if i < size:
        heap[i] = heap[size]
        position[heap[i]] = i
        _sift(i, size, heap, position, weight)
    return size


@njit(cache=True, nogil=True)
def _between(
    a: int, b: int, first: Any, second: Any, head: Any, chain: Any, degree: Any, position: Any
) -> int:  # pragma: no cover - compiled
    """Return the edge between two nodes, or -1; drops dead edges from the list it walks, the shorter one."""
    if degree[b] < degree[a]:
        a, b = b, a
    before, half = -1, head[a]
    while half >= 0:
        e = half >> 1
        if position[e] < 0:
            if before < 0:
                head[a] = chain[half]
            else:
                chain[before] = chain[half]
            degree[a] -= 1
        else:
            if (second[e] if half & 1 == 0 else first[e]) == b:
                return e
            before = half
        half = chain[half]
    return -1


@njit(cache=True, nogil=True)
def _contract(n: int, first: Any, second: Any, weight: Any, bits: Any) -> Any:  # pragma: no cover - compiled
    m = first.size
    # half-edge 2e lies in the list of first[e], 2e + 1 in that of second[e]
    head = np.full(n, -1, np.int64)
    chain = np.empty(2 * m, np.int64)
    degree = np.zeros(n, np.int64)
    heap = np.arange(m)
    position = np.arange(m)
    for e in range(m):
        for half, node in ((2 * e, first[e]), (2 * e + 1, second[e])):
            chain[half] = head[node]
            head[node] = half
            degree[node] += 1
    size = m
    for i in range(m // 2, -1, -1):
        if i < m:
            _sift(i, size, heap, position, weight)
    owner = np.arange(n)
    while size > 0 and weight[heap[0]] > 0:
        e = heap[0]
        size = _remove(e, size, heap, position, weight)
        a, b = first[e], second[e]
        clash = False
        for word in range(bits.shape[1]):
            if bits[a, word] & bits[b, word]:
                clash = True
                break
        if clash:
            continue
        keep, gone = a, b
        if degree[b] > degree[a] or (degree[b] == degree[a] and b < a):
            keep, gone = b, a
        owner[gone] = keep
        for word in range(bits.shape[1]):
            bits[keep, word] |= bits[gone, word]
        half = head[gone]
        while half >= 0:
            f = half >> 1
            following = chain[half]
            if position[f] >= 0:
                far = second[f] if half & 1 == 0 else first[f]
                g = _between(keep, far, first, second, head, chain, degree, position)
                if g >= 0:
                    weight[g] += weight[f]
                    size = _remove(f, size, heap, position, weight)
                    _sift(position[g], size, heap, position, weight)
                else:
                    if half & 1 == 0:
                        first[f] = keep
                    else:
                        second[f] = keep
                    chain[half] = head[keep]
                    head[keep] = half
                    degree[keep] += 1
            half = following
        head[gone] = -1
    for i in range(n):
        root = i
        while owner[root] != root:
            root = owner[root]
        node = i
        while owner[node] != root:
            owner[node], node = root, owner[node]
    return owner
