"""The sparse contingency table of two label images: which object shares how many pixels with which."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError

_FIRST_TABLE = 1 << 12
_MIX_A = np.uint64(0x9E3779B97F4A7C15)
_MIX_B = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_C = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)


@dataclass(frozen=True, eq=False)
class Overlap:
    """Objects of a prediction and of a reference, and the pairs that share pixels.

    Objects are numbered from 0 in the order in which a raster scan meets them (not by label), so that nothing
    computed from the table depends on the label values. Background (label 0) is in no pair.

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


def check_labels(labels: ArrayLike, name: str) -> NDArray[Any]:
    """Return a label image as an array of non-negative integers, or say what is wrong with it.

    Parameters
    ----------
    labels : array-like of integers or bool
        A label image of any number of dimensions; 0 is background.
    name : str
        What the message calls it.

    Returns
    -------
    array
        Boolean images as uint8, everything else in its own dtype.

    Raises
    ------
    InputError
        No dimensions, not integers, or negative labels.
    """
    array = np.asarray(labels)
    if array.ndim == 0:
        raise InputError(f"{name} is the single value {array}; give a label image with axes (Y, X) or (Z, Y, X)")
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{name} has dtype {array.dtype}, but a label image holds integers: round and convert it first, "
            "for example with labels.astype('int32')"
        )
    if array.dtype.kind == "i" and array.size and (lowest := array.min()) < 0:
        raise InputError(f"{name} holds the negative label {lowest}; use 0 for background and positive labels")
    return array


def count_overlap(pred: ArrayLike, truth: ArrayLike) -> Overlap:
    """Count the pixels that the objects of two label images share.

    One pass over the pixels with a hash table of label pairs: labels may have any values.

    Parameters
    ----------
    pred, truth : array-like of integers or bool, same shape, any number of dimensions
        Label images; 0 is background, which may be absent. All pixels of one label are one object, connected
        or not.

    Returns
    -------
    Overlap

    Raises
    ------
    InputError
        Different shapes, not integers, or negative labels.
    """
    first, second = check_labels(pred, "pred"), check_labels(truth, "truth")
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
