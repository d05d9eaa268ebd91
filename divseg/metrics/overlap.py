"""The sparse contingency table of two label images: which object shares how many pixels with which."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from divseg.errors import InputError
from divseg.labels import check_labels

NDIM = (1, 2, 3)
"""Numbers of dimensions of the label images that can be scored."""

_FIRST_TABLE = 1 << 12
_MIX_A = np.uint64(0x9E3779B97F4A7C15)
_MIX_B = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_C = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)


@dataclass(frozen=True, eq=False)
class Overlap:
    """Objects of a prediction and of a reference, and the pairs that share pixels.

    Objects are numbered from 0 in the order in which a raster scan meets them (not by label), so that nothing
    computed from the table depends on the label values. Background (label 0) is not in any pair.

    Attributes
    ----------
    pred_labels, truth_labels : array, shapes (P,) and (T,)
        Label of each object, in the dtype of its image.
    pred_areas, truth_areas : int64 array, shapes (P,) and (T,)
        Pixels of each object.
    pred_index, truth_index : int64 array, shape (N,)
        Objects of the pairs that share at least one pixel.
    shared : int64 array, shape (N,)
        Pixels shared by each pair.
    """

    pred_labels: NDArray[Any]
    truth_labels: NDArray[Any]
    pred_areas: NDArray[np.int64]
    truth_areas: NDArray[np.int64]
    pred_index: NDArray[np.int64]
    truth_index: NDArray[np.int64]
    shared: NDArray[np.int64]

    @property
    def n_pred(self) -> int:
        """Number of objects in the prediction."""
        return len(self.pred_labels)

    @property
    def n_true(self) -> int:
        """Number of objects in the reference."""
        return len(self.truth_labels)

    @cached_property
    def union(self) -> NDArray[np.int64]:
        """Pixels in the union of each pair, shape (N,)."""
        return self.pred_areas[self.pred_index] + self.truth_areas[self.truth_index] - self.shared

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, shape (N,)."""
        return self.shared / self.union


def count_overlap(pred: ArrayLike, truth: ArrayLike) -> Overlap:
    """Count the pixels that the objects of two label images share.

    One pass over the pixels with a hash table of label pairs: labels may have any values.

    Parameters
    ----------
    pred, truth : array-like of integers or bool, same shape, 1-D to 3-D
        Label images; 0 is background, which may be absent. All pixels of one label are one object, connected
        or not.

    Returns
    -------
    Overlap

    Raises
    ------
    InputError
        Different shapes, not integers, negative labels, or no pixels.
    """
    first, second = check_labels(pred, "pred", NDIM), check_labels(truth, "truth", NDIM)
    if first.shape != second.shape:
        raise InputError(
            f"pred has shape {first.shape} but truth has shape {second.shape}: both must show the same pixels"
        )
    small = max(_highest(first), _highest(second)) < 2**31
    a, b, n = _count_pairs(_codes(first, small), _codes(second, small))
    pred_labels, of_pred, pred_areas = _objects(a, n)
    truth_labels, of_truth, truth_areas = _objects(b, n)
    both = (of_pred >= 0) & (of_truth >= 0)
    return Overlap(
        pred_labels.astype(first.dtype),
        truth_labels.astype(second.dtype),
        pred_areas,
        truth_areas,
        of_pred[both],
        of_truth[both],
        n[both],
    )


def split_pieces(labels: ArrayLike, name: str = "labels") -> tuple[NDArray[Any], int]:
    """Give every connected piece of every label a label of its own.

    Pixels are connected to all neighbours of their own label, diagonal ones too (8 in 2-D, 26 in 3-D).

    Parameters
    ----------
    labels : array-like of integers or bool, 1-D to 3-D
        Label image, 0 = background.
    name : str
        What error messages call it.

    Returns
    -------
    pieces : int64 array
        Labels 1, 2, ... in the order in which a raster scan meets the pieces.
    added : int
        Number of pieces minus number of labels.

    Raises
    ------
    InputError
        Not integers, negative labels, or no pixels.
    """
    array = np.ascontiguousarray(check_labels(labels, name, NDIM))
    node = np.cumsum(array.ravel() != 0).reshape(array.shape) - 1
    n = int(node.max(initial=-1)) + 1
    pieces = np.zeros(array.shape, np.int64)
    if not n:
        return pieces, 0
    ends: list[tuple[NDArray[Any], NDArray[Any]]] = []
    half = 3**array.ndim // 2  # the offsets before the centre are those after it, reversed
    for offset in list(product((-1, 0, 1), repeat=array.ndim))[half + 1 :]:
        here = tuple(slice(max(0, -o), max(0, size - max(0, o))) for o, size in zip(offset, array.shape, strict=True))
        there = tuple(slice(max(0, o), max(0, size + min(0, o))) for o, size in zip(offset, array.shape, strict=True))
        same = (array[here] == array[there]) & (array[here] != 0)
        ends.append((node[here][same], node[there][same]))
    a, b = (np.concatenate(side) for side in zip(*ends, strict=True))
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
    count, piece = connected_components(graph, directed=False)
    first = np.unique(piece, return_index=True)[1]
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(1, count + 1)
    inside = array != 0
    pieces[inside] = rank[piece]
    return pieces, count - len(np.unique(array[inside]))


def _highest(labels: NDArray[Any]) -> int:
    return int(labels.max(initial=0))


def _codes(labels: NDArray[Any], small: bool) -> NDArray[Any]:
    """Flatten to one of two dtypes, so that only two versions of the loop are ever compiled.

    Labels beyond 2**63 wrap to negative codes; they stay distinct and wrap back on the way out.
    """
    return np.ascontiguousarray(labels).ravel().astype(np.int32 if small else np.int64, copy=False)


def _objects(codes: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Labels in order of first appearance, the object of each entry (-1: background), and the areas."""
    labels, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(np.where(labels == 0, -1, first))
    offset = int(np.any(labels == 0))
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - offset
    index = rank[inverse]
    inside = index >= 0
    # exact: sums of pixel counts stay far below 2**53
    areas = np.bincount(index[inside], counts[inside], minlength=len(labels) - offset).astype(np.int64)
    return labels[order][offset:], index, areas


@njit(cache=True, nogil=True)
def _count_pairs(
    a: NDArray[Any], b: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:  # pragma: no cover - compiled
    """Distinct pairs of codes with their counts, in order of first appearance; (0, 0) is left out."""
    size = _FIRST_TABLE
    table = np.full(size, -1, np.int64)
    first = np.empty(size // 2, np.int64)
    second = np.empty(size // 2, np.int64)
    count = np.zeros(size // 2, np.int64)
    entries = 0
    i = 0
    while i < a.size:
        # labels come in runs: look up once a run
        x, y, start = np.int64(a[i]), np.int64(b[i]), i
        i += 1
        while i < a.size and a[i] == x and b[i] == y:
            i += 1
        if x == 0 and y == 0:
            continue
        slot = _slot(x, y, size)
        while table[slot] >= 0 and (first[table[slot]] != x or second[table[slot]] != y):
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            if entries == first.size:
                size *= 2
                first, second = _doubled(first), _doubled(second)
                count = _doubled(count)
                table = np.full(size, -1, np.int64)
                for e in range(entries):
                    slot = _slot(first[e], second[e], size)
                    while table[slot] >= 0:
                        slot = (slot + 1) & (size - 1)
                    table[slot] = e
                slot = _slot(x, y, size)
                while table[slot] >= 0:
                    slot = (slot + 1) & (size - 1)
            table[slot] = entries
            first[entries], second[entries], count[entries] = x, y, 0
            entries += 1
        count[table[slot]] += i - start
    return first[:entries].copy(), second[:entries].copy(), count[:entries].copy()


@njit(cache=True, nogil=True)
def _slot(x: Any, y: Any, size: int) -> Any:  # pragma: no cover - compiled
    code = np.uint64(x) * _MIX_A ^ np.uint64(y) * _MIX_B
    code = (code ^ (code >> _SHIFT)) * _MIX_C
    return np.int64((code ^ (code >> _SHIFT)) & np.uint64(size - 1))


@njit(cache=True, nogil=True)
def _doubled(values: NDArray[np.int64]) -> NDArray[np.int64]:  # pragma: no cover - compiled
    grown = np.empty(2 * values.size, np.int64)
    grown[: values.size] = values
    return grown
