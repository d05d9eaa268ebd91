"""Contingency tables from runs: the number of pixels that each pair of objects shares."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numba.core import config
from numpy.typing import NDArray

from divseg.consensus.run_lengths import RunLengths
from divseg.consensus.stack import LabelStack

THREADED = 2**18
"""Number of runs to compare from which threads are used (NUMBA_NUM_THREADS of them)."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Pairs of an object and a sample's object that share pixels.

    Attributes
    ----------
    first : int64 array, shape (C,)
        The object (of a label image, or a hypothesis).
    second : int64 array, shape (C,)
        The object of the stack.
    shared : int64 array, shape (C,)
        Pixels in both.
    first_areas : int64 array, shape (n,)
        Pixels of each object.
    stack : LabelStack
        The samples.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shared: NDArray[np.int64]
    first_areas: NDArray[np.int64]
    stack: LabelStack

    @property
    def n_first(self) -> int:
        """Number of objects."""
        return len(self.first_areas)

    @cached_property
    def sample(self) -> NDArray[np.int64]:
        """Sample of each pair, shape (C,)."""
        return self.stack.sample_of[self.second]

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, shape (C,)."""
        union = self.first_areas[self.first] + self.stack.areas[self.second] - self.shared
        return self.shared / union

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """Object of sample k with IoU > 0.5 (at most one, since they are disjoint), or -1, shape (n, K)."""
        members = np.full((self.n_first, self.stack.n_samples), -1, np.int64)
        hit = self.iou > 0.5
        members[self.first[hit], self.sample[hit]] = self.second[hit]
        return members

    @cached_property
    def member_iou(self) -> NDArray[np.float64]:
        """IoU with that member, 0 if there is none, shape (n, K)."""
        iou = np.zeros((self.n_first, self.stack.n_samples))
        hit = self.iou > 0.5
        iou[self.first[hit], self.sample[hit]] = self.iou[hit]
        return iou


def overlaps(runs: RunLengths, stack: LabelStack) -> Overlaps:
    """Count the pixels that objects, which may overlap one another, share with the objects of every sample."""
    a = (runs.starts, runs.lengths, runs.objects, runs.n_objects)
    b = (stack.starts, stack.lengths, stack.objects)

    def samples(start: int, stop: int) -> tuple[NDArray[Any], ...]:
        return tuple(_join_all(*a, *b, stack.run_offsets[start : stop + 1]))

    first, second, shared = _in_threads(
        samples, stack.n_samples, len(stack.starts) + stack.n_samples * len(runs.starts)
    )
    return Overlaps(first, second, shared, runs.areas, stack)


def cross_overlaps(
    runs: RunLengths, disjoint: RunLengths
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels that objects, which may overlap, share with those of one label image."""
    offsets = np.array([0, len(disjoint.starts)])
    a = (runs.starts, runs.lengths, runs.objects, runs.n_objects)
    return _join_all(*a, disjoint.starts, disjoint.lengths, disjoint.objects, offsets)


def iou_edges(
    stack: LabelStack, pairs: NDArray[np.int64], floor: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of objects with IoU above `floor`, for pairs of samples.

    Parameters
    ----------
    stack : LabelStack
    pairs : int64 array, shape (G, 2)
        Pairs of samples.
    floor : float
        Pairs of objects at or below this IoU are left out.

    Returns
    -------
    first, second : int64 arrays, shape (E,)
        Objects of the stack, the first of the pair's first sample.
    iou : float64 array, shape (E,)
    """
    b = (stack.starts, stack.lengths, stack.objects, stack.run_offsets, stack.object_offsets, stack.areas)

    def some(start: int, stop: int) -> tuple[NDArray[Any], ...]:
        return tuple(_join_pairs(pairs[start:stop], *b, floor))

    runs = 2 * len(pairs) * len(stack.starts) // max(stack.n_samples, 1)
    first, second, iou = _in_threads(some, len(pairs), runs)
    return first, second, iou


def _in_threads(
    part: Callable[[int, int], tuple[NDArray[Any], ...]], count: int, runs: int
) -> tuple[NDArray[Any], ...]:
    """Join what `part` returns for consecutive ranges of 0..count; the compiled loops release the GIL."""
    # numba sets its configuration when it is loaded, unseen by mypy
    threads = min(config.NUMBA_NUM_THREADS, count)  # type: ignore[attr-defined]
    if runs < THREADED or threads < 2:
        return part(0, count)
    ends = np.linspace(0, count, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, ends[:-1], ends[1:]))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def self_overlaps(runs: RunLengths) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels that overlapping objects of one set share: first < second, and shared pixels."""
    first, second, length = _join_self(runs.starts, runs.lengths, runs.objects)
    codes = first * runs.n_objects + second
    values, inverse = np.unique(codes, return_inverse=True)
    shared = np.bincount(inverse.ravel(), length, minlength=len(values)).astype(np.int64)
    n = max(runs.n_objects, 1)
    return values // n, values % n, shared


@njit(cache=True, nogil=True)
def _grown(values: Any) -> Any:  # pragma: no cover - compiled
    return np.concatenate((values, np.empty_like(values)))


@njit(cache=True, nogil=True)
def _join(
    a_starts: Any,
    a_lengths: Any,
    a_objects: Any,
    b_starts: Any,
    b_lengths: Any,
    b_objects: Any,
    a_base: int,
    head: Any,
    chain: Any,
    other: Any,
    shared: Any,
) -> tuple[int, Any, Any, Any]:  # pragma: no cover - compiled
    """Sum the overlaps of sorted runs; the overlaps of each first object form a linked list from `head`."""
    n = 0
    j = 0
    for i in range(a_starts.size):
        start = a_starts[i]
        stop = start + a_lengths[i]
        while j < b_starts.size and b_starts[j] + b_lengths[j] <= start:
            j += 1
        k = j
        while k < b_starts.size and b_starts[k] < stop:
            common = min(stop, b_starts[k] + b_lengths[k]) - max(start, b_starts[k])
            a, b = a_objects[i] - a_base, b_objects[k]
            before, entry = -1, head[a]
            while entry >= 0 and other[entry] != b:
                before, entry = entry, chain[entry]
            if entry < 0:
                if n == other.size:
                    chain, other, shared = _grown(chain), _grown(other), _grown(shared)
                entry = n
                other[entry], shared[entry] = b, 0
                chain[entry] = head[a]
                head[a] = entry
                n += 1
            elif before >= 0:
                # to the front: the next row will look for the same one
                chain[before] = chain[entry]
                chain[entry] = head[a]
                head[a] = entry
            shared[entry] += common
            k += 1
    return n, chain, other, shared


@njit(cache=True, nogil=True)
def _join_all(
    a_starts: Any,
    a_lengths: Any,
    a_objects: Any,
    n_a: int,
    starts: Any,
    lengths: Any,
    objects: Any,
    run_offsets: Any,
) -> tuple[Any, Any, Any]:  # pragma: no cover - compiled
    head = np.full(n_a, -1, np.int64)
    chain, other, shared = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024, np.int64)
    out_a, out_b, out_n = np.empty(4096, np.int64), np.empty(4096, np.int64), np.empty(4096, np.int64)
    n = 0
    for k in range(run_offsets.size - 1):
        part = slice(run_offsets[k], run_offsets[k + 1])
        m, chain, other, shared = _join(
            a_starts,
            a_lengths,
            a_objects,
            starts[part],
            lengths[part],
            objects[part],
            0,
            head,
            chain,
            other,
            shared,
        )
        while n + m > out_a.size:
            out_a, out_b, out_n = _grown(out_a), _grown(out_b), _grown(out_n)
        for a in range(n_a):
            entry = head[a]
            while entry >= 0:
                out_a[n], out_b[n], out_n[n] = a, other[entry], shared[entry]
                n += 1
                entry = chain[entry]
            head[a] = -1
    return out_a[:n].copy(), out_b[:n].copy(), out_n[:n].copy()


@njit(cache=True, nogil=True)
def _join_pairs(
    pairs: Any,
    starts: Any,
    lengths: Any,
    objects: Any,
    run_offsets: Any,
    object_offsets: Any,
    areas: Any,
    floor: float,
) -> tuple[Any, Any, Any]:  # pragma: no cover - compiled
    max_objects = 0
    for k in range(object_offsets.size - 1):
        max_objects = max(max_objects, object_offsets[k + 1] - object_offsets[k])
    head = np.full(max_objects, -1, np.int64)
    chain, other, shared = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024, np.int64)
    out_a, out_b, out_iou = np.empty(4096, np.int64), np.empty(4096, np.int64), np.empty(4096, np.float64)
    n = 0
    for g in range(pairs.shape[0]):
        ka, kb = pairs[g, 0], pairs[g, 1]
        part_a = slice(run_offsets[ka], run_offsets[ka + 1])
        part_b = slice(run_offsets[kb], run_offsets[kb + 1])
        base = object_offsets[ka]
        m, chain, other, shared = _join(
            starts[part_a],
            lengths[part_a],
            objects[part_a],
            starts[part_b],
            lengths[part_b],
            objects[part_b],
            base,
            head,
            chain,
            other,
            shared,
        )
        while n + m > out_a.size:
            out_a, out_b, out_iou = _grown(out_a), _grown(out_b), _grown(out_iou)
        for a in range(object_offsets[ka + 1] - base):
            entry = head[a]
            while entry >= 0:
                both = shared[entry]
                iou = both / (areas[base + a] + areas[other[entry]] - both)
                if iou > floor:
                    out_a[n], out_b[n], out_iou[n] = base + a, other[entry], iou
                    n += 1
                entry = chain[entry]
            head[a] = -1
    return out_a[:n].copy(), out_b[:n].copy(), out_iou[:n].copy()


@njit(cache=True, nogil=True)
def _join_self(starts: Any, lengths: Any, objects: Any) -> tuple[Any, Any, Any]:  # pragma: no cover - compiled
    out_a, out_b, out_n = np.empty(4096, np.int64), np.empty(4096, np.int64), np.empty(4096, np.int64)
    n = 0
    for i in range(starts.size):
        stop = starts[i] + lengths[i]
        j = i + 1
        while j < starts.size and starts[j] < stop:
            if objects[i] != objects[j]:
                if n == out_a.size:
                    out_a, out_b, out_n = _grown(out_a), _grown(out_b), _grown(out_n)
                out_a[n], out_b[n] = min(objects[i], objects[j]), max(objects[i], objects[j])
                out_n[n] = min(stop, starts[j] + lengths[j]) - starts[j]
                n += 1
            j += 1
    return out_a[:n].copy(), out_b[:n].copy(), out_n[:n].copy()
