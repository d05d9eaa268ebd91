"""Maximum-weight set packing: the best set of hypotheses of which no two exclude each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from divseg.errors import DivsegError

ENUMERATED = 24
"""Components of at most this many hypotheses are solved by branch and bound."""

SOLVED = 300
"""Components of at most this many hypotheses are solved by an integer program (HiGHS)."""


def pack(weight: NDArray[np.float64], conflicts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Choose hypotheses of greatest total weight, no two of them in conflict.

    A hypothesis that weighs at least as much as all its rivals together is in an optimal set; the rest
    is solved component by component. Exact, except in components of more than SOLVED hypotheses, which occur
    if samples are mostly noise: they are solved by local search.

    Parameters
    ----------
    weight : float64 array, shape (C,)
        Gain of each hypothesis; those without a positive gain are never chosen.
    conflicts : int64 array, shape (E, 2)
        Pairs that exclude each other.

    Returns
    -------
    bool array, shape (C,)
        The chosen ones. Of equally good solutions the one with the earlier hypotheses is preferred.
    """
    n = len(weight)
    chosen = weight > 0
    pairs = conflicts[chosen[conflicts].all(axis=1)] if len(conflicts) else conflicts.reshape(0, 2)
    if not len(pairs):
        return chosen
    chosen, undecided = _reduce(weight, *_rivals(n, pairs))
    pairs = pairs[undecided[pairs].all(axis=1)]
    if not len(pairs):
        return chosen
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, component = connected_components(links, directed=False)
    disputed = np.unique(pairs)
    order = disputed[np.argsort(component[disputed], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    pairs = pairs[np.argsort(component[pairs[:, 0]], kind="stable")]
    pair_component = component[pairs[:, 0]]
    for group in groups:
        here = slice(*np.searchsorted(pair_component, [component[group[0]], component[group[0]] + 1]))
        inside = np.searchsorted(group, pairs[here])
        solve = _branch if len(group) <= ENUMERATED else _milp if len(group) <= SOLVED else _search
        chosen[group] = solve(weight[group], inside)
    return chosen


def _rivals(n: int, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets (n + 1,) and indices of the rivals of each hypothesis."""
    ends = np.concatenate([pairs[:, 0], pairs[:, 1]])
    order = np.argsort(ends, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=n))])
    return offsets, np.concatenate([pairs[:, 1], pairs[:, 0]])[order]


def _search(weight: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Local search: choose what outweighs all its chosen rivals, until nothing does."""
    order = np.argsort(-weight, kind="stable")
    return np.asarray(_swap(weight, order, *_rivals(len(weight), pairs)))


@njit(cache=True, nogil=True)
def _reduce(weight: Any, offsets: Any, rivals: Any) -> tuple[Any, Any]:  # pragma: no cover - compiled
    """Take hypotheses that outweigh all their open rivals; return which are taken and which stay open."""
    taken = np.zeros(weight.size, np.bool_)
    undecided = weight > 0
    changed = True
    while changed:
        changed = False
        for i in range(weight.size):
            if not undecided[i]:
                continue
            total = 0.0
            for p in range(offsets[i], offsets[i + 1]):
                if undecided[rivals[p]]:
                    total += weight[rivals[p]]
            if weight[i] >= total - 1e-12:
                taken[i] = True
                undecided[i] = False
                for p in range(offsets[i], offsets[i + 1]):
                    undecided[rivals[p]] = False
                changed = True
    return taken, undecided


@njit(cache=True, nogil=True)
def _swap(weight: Any, order: Any, offsets: Any, rivals: Any) -> Any:  # pragma: no cover - compiled
    taken = np.zeros(weight.size, np.bool_)
    changed = True
    while changed:
        changed = False
        for i in order:
            if taken[i]:
                continue
            total = 0.0
            for p in range(offsets[i], offsets[i + 1]):
                if taken[rivals[p]]:
                    total += weight[rivals[p]]
            if weight[i] > total + 1e-9:
                taken[i] = True
                for p in range(offsets[i], offsets[i + 1]):
                    taken[rivals[p]] = False
                changed = True
    return taken


def _branch(weight: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Branch and bound on bit sets."""
    n = len(weight)
    w = weight.tolist()
    rivals = [0] * n
    for a, b in pairs.tolist():
        rivals[a] |= 1 << b
        rivals[b] |= 1 << a
    best, best_set = -1.0, 0

    def grow(free: int, total: float, taken: int, bound: float) -> None:
        nonlocal best, best_set
        # of solutions equal within rounding the first one stays
        if bound <= best + 1e-12:
            return
        # the free hypothesis with most free rivals decides most
        pick, max_degree, rest = -1, 0, free
        while rest:
            low = rest & -rest
            i = low.bit_length() - 1
            degree = (rivals[i] & free).bit_count()
            if degree > max_degree:
                pick, max_degree = i, degree
            rest ^= low
        if pick < 0:
            best, best_set = bound, taken | free
            return
        lost, rest = 0.0, rivals[pick] & free
        while rest:
            low = rest & -rest
            lost += w[low.bit_length() - 1]
            rest ^= low
        bit = 1 << pick
        without = free & ~bit
        grow(without & ~rivals[pick], total + w[pick], taken | bit, bound - lost)
        grow(without, total, taken, bound - w[pick])

    grow((1 << n) - 1, 0.0, 0, float(sum(w)))
    return np.array([best_set >> i & 1 for i in range(n)], bool)


def _milp(weight: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Integer linear programme: x_i + x_j <= 1 on conflicts."""
    rows = np.repeat(np.arange(len(pairs)), 2)
    matrix = coo_array((np.ones(2 * len(pairs)), (rows, pairs.ravel())), shape=(len(pairs), len(weight)))
    result = milp(
        -weight / weight.max(),
        integrality=np.ones(len(weight)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix.tocsr(), ub=1),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise DivsegError(f"the choice between {len(weight)} conflicting objects failed: {result.message}")
    return np.asarray(result.x > 0.5)
