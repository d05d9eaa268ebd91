"""Fusion by a mutex watershed on averaged affinities: pixels first, objects afterwards."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from divseg.consensus.hypotheses import FusionResult, fuse_masks
from divseg.consensus.run_lengths import to_runs
from divseg.consensus.stack import LabelStack
from divseg.consensus.witnesses import Witnesses
from divseg.specs import Flag, Number, Numbers


def fuse_mutex(
    stack: LabelStack,
    *,
    objective: str,
    existence: float | None,
    witnesses: Witnesses | None = None,
    foreground: Annotated[float, Number(0, 0.99)] = 0.3,
    offsets: Annotated[tuple[int, ...], Numbers(2)] = (3, 5, 9),
    refine: Annotated[bool, Flag()] = True,
) -> FusionResult:
    """Segment the averaged affinities of the samples, and refine the segments by the samples' objects.

    The affinity of two pixels is the weighted fraction of the samples in which one object contains both, divided by
    the smaller of their foreground fractions, so that a rare object does not look like a boundary. Affinities of
    face neighbours attract, one minus those of distant pixels repels; the mutex watershed (Wolf et al., ECCV
    2018, algorithm 1) joins pixels in the order of strength unless they repelled each other before.

    Memory does not depend on the number of objects. Parts thinner than the offsets, and objects in few
    samples, are missed.

    Parameters
    ----------
    stack : LabelStack
    objective, existence, witnesses
        For the choice among the refined segments, as in ``clustering``.
    foreground : float
        Pixels in the foreground of more than this fraction of the samples are segmented.
    offsets : tuple of int
        Distances in pixels along each axis at which pixels repel.
    refine : bool
        Refine the segments as ``clustering`` does (reassignment, expected-IoU masks, selection); otherwise
        the segments are the result.
    """
    steps = np.array(
        [
            [distance * (axis == a) for a in range(3)]
            for distance in (1, *offsets)
            for axis in range(3)
            if stack.volume[axis] > distance
        ],
        np.int64,
    ).reshape(-1, 3)
    labels = mutex_segments(stack, steps, foreground)
    return fuse_masks(stack, to_runs(labels), objective, existence, witnesses) if refine else FusionResult(labels)


def mutex_segments(stack: LabelStack, steps: NDArray[np.int64], foreground: float) -> NDArray[np.int32]:
    """Return the segments of the mutex watershed, int32 of shape (Z, Y, X).

    Parameters
    ----------
    stack : LabelStack
    steps : int64 array, shape (S, 3)
        Offsets of the pairs of pixels; those of length 1 attract, the others repel.
    foreground : float
        Pixels above this fraction are segmented.
    """
    inside = np.zeros(stack.volume, np.int32)
    together = np.zeros((len(steps), *stack.volume), np.int32)
    for k in range(stack.n_samples):
        _count_together(stack.decode(k), steps, inside, together, np.int32(stack.units[k]))
    node = np.full(inside.size, -1, np.int64)
    pixels = np.flatnonzero(inside.ravel() > foreground * stack.total + 1e-9)
    node[pixels] = np.arange(len(pixels))
    first, second, strength, repels = [], [], [], []
    index = np.arange(inside.size).reshape(stack.volume)
    for step, count in zip(steps, together, strict=True):
        size = stack.volume
        here = tuple(slice(0, n - int(s)) for s, n in zip(step, size, strict=True))
        there = tuple(slice(int(s), n) for s, n in zip(step, size, strict=True))
        a, b = node[index[here].ravel()], node[index[there].ravel()]
        both = (a >= 0) & (b >= 0)
        smaller = np.minimum(inside[here], inside[there]).ravel()[both]
        affinity = count[here].ravel()[both] / smaller
        far = bool(step.sum() > 1)
        first.append(a[both])
        second.append(b[both])
        strength.append(1 - affinity if far else affinity)
        repels.append(np.full(len(smaller), far))
    weight = np.concatenate([*strength, np.empty(0)])
    strong = np.flatnonzero(weight > 0)  # most pairs lie inside one object in every sample: nothing repels them
    order = strong[np.argsort(-weight[strong], kind="stable")]
    a, b = (np.concatenate([*ends, np.empty(0, np.int64)])[order] for ends in (first, second))
    owner = mutex_watershed(len(pixels), a, b, np.concatenate([*repels, np.empty(0, bool)])[order])
    labels = np.zeros(inside.size, np.int32)
    labels[pixels] = owner + 1
    return labels.reshape(stack.volume)


@njit(cache=True, nogil=True)
def _count_together(
    labels: Any, steps: Any, inside: Any, together: Any, unit: Any
) -> None:  # pragma: no cover - compiled
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            row, count = labels[z, y], inside[z, y]
            for x in range(nx):
                count[x] += unit if row[x] != 0 else np.int32(0)
    for s in range(steps.shape[0]):
        dz, dy, dx = steps[s, 0], steps[s, 1], steps[s, 2]
        for z in range(nz - dz):
            for y in range(ny - dy):
                row, other, count = labels[z, y], labels[z + dz, y + dy], together[s, z, y]
                for x in range(nx - dx):
                    count[x] += unit if (row[x] != 0) & (row[x] == other[x + dx]) else np.int32(0)


@njit(cache=True, nogil=True)
def _find(owner: Any, i: int) -> int:  # pragma: no cover - compiled
    while owner[i] != i:
        owner[i] = owner[owner[i]]
        i = owner[i]
    return i


@njit(cache=True, nogil=True)
def _repelled(a: int, b: int, owner: Any, head: Any, chain: Any, foe: Any) -> bool:  # pragma: no cover - compiled
    """Whether two roots repelled each other; `a` is the one with the shorter list."""
    entry = head[a]
    while entry >= 0:
        if _find(owner, foe[entry]) == b:
            return True
        entry = chain[entry]
    return False


@njit(cache=True, nogil=True)
def mutex_watershed(n: int, first: Any, second: Any, repels: Any) -> Any:  # pragma: no cover - compiled
    """Segment a graph of n nodes: edges in the order of strength join their ends or keep them apart."""
    owner = np.arange(n)
    size = np.ones(n, np.int64)
    # every root has a list of pixels that repelled it
    head, tail, length = np.full(n, -1, np.int64), np.full(n, -1, np.int64), np.zeros(n, np.int64)
    room = 1024
    chain, foe = np.empty(room, np.int64), np.empty(room, np.int64)
    n_foes = 0
    for e in range(first.size):
        a, b = _find(owner, first[e]), _find(owner, second[e])
        if a == b:
            continue
        if length[a] > length[b]:
            a, b = b, a
        if _repelled(a, b, owner, head, chain, foe):
            continue
        if repels[e]:
            if n_foes + 2 > room:
                chain = np.concatenate((chain, np.empty(room, np.int64)))
                foe = np.concatenate((foe, np.empty(room, np.int64)))
                room *= 2
            for root, other in ((a, b), (b, a)):
                foe[n_foes] = other
                chain[n_foes] = head[root]
                head[root] = n_foes
                if tail[root] < 0:
                    tail[root] = n_foes
                length[root] += 1
                n_foes += 1
            continue
        if size[a] > size[b]:
            a, b = b, a
        owner[a] = b
        size[b] += size[a]
        if head[a] >= 0:
            if head[b] < 0:
                head[b], tail[b] = head[a], tail[a]
            else:
                chain[tail[b]] = head[a]
                tail[b] = tail[a]
            length[b] += length[a]
    for i in range(n):
        owner[i] = _find(owner, i)
    return owner
