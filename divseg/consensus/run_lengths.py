"""Objects as horizontal runs of pixels (run-length encoding), and label images from and to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RunLengths:
    """Objects as runs of pixels along the last axis, sorted by start; no run goes beyond its image row.

    Attributes
    ----------
    starts : int64 array, shape (R,)
        Flat index of the first pixel of each run.
    lengths : int32 array, shape (R,)
        Pixels of each run.
    objects : int32 array, shape (R,)
        Object of each run, counted from 0. Runs of one label image are disjoint; those of a set of
        hypotheses may overlap.
    areas : int64 array, shape (N,)
        Pixels of each object.
    prob : float64 array, shape (N,), optional
        Probability that the segmenter gave each object; None if it gave none.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    objects: NDArray[np.int32]
    areas: NDArray[np.int64]
    prob: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def n_objects(self) -> int:
        """Number of objects."""
        return len(self.areas)


def to_runs(labels: NDArray[Any]) -> RunLengths:
    """Return the runs of one label image; objects are numbered in the order in which a raster scan meets them."""
    volume = labels.reshape(as_volume(labels.shape))
    highest = int(volume.max())
    if highest > 8 * volume.size + 1000:  # too large for a lookup table
        values, inverse = np.unique(volume, return_inverse=True)
        volume = inverse.reshape(volume.shape) + int(values[0] != 0)
        highest = len(values)
    return RunLengths(*_to_runs(np.ascontiguousarray(volume, dtype=np.int32), highest))


def empty_runs() -> RunLengths:
    """Return the runs of no objects."""
    return RunLengths(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))


def from_runs(runs: RunLengths, volume: tuple[int, int, int]) -> NDArray[np.int32]:
    """Return the label image (object + 1) of disjoint runs, shape (Z, Y, X)."""
    image = np.zeros(volume, np.int32)
    draw_runs(runs.starts, runs.lengths, runs.objects, image.reshape(-1))
    return image


def as_volume(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return a shape (Y, X) or (Z, Y, X) as (Z, Y, X)."""
    z, y, x = (1,) * (3 - len(shape)) + tuple(shape)
    return z, y, x


@njit(cache=True, nogil=True)
def _to_runs(labels: Any, highest: int) -> tuple[Any, Any, Any, Any]:  # pragma: no cover - compiled
    nz, ny, nx = labels.shape
    index = np.full(highest + 1, -1, np.int32)
    areas = np.zeros(highest + 1, np.int64)
    room = 1024 + nx
    starts, lengths, objects = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int32)
    n = 0
    n_objects = 0
    for z in range(nz):
        for y in range(ny):
            flat = (z * ny + y) * nx
            row = labels[z, y]
            if n + nx > room:
                starts = np.concatenate((starts, np.empty(room, np.int64)))
                lengths = np.concatenate((lengths, np.empty(room, np.int32)))
                objects = np.concatenate((objects, np.empty(room, np.int32)))
                room *= 2
            begin = n
            first, before = 0, row[0]
            for x in range(1, nx):
                label = row[x]
                if label != before:
                    if before != 0:
                        starts[n], lengths[n], objects[n] = flat + first, x - first, before
                        n += 1
                    first, before = x, label
            if before != 0:
                starts[n], lengths[n], objects[n] = flat + first, nx - first, before
                n += 1
            for r in range(begin, n):
                label = objects[r]
                if index[label] < 0:
                    index[label] = n_objects
                    n_objects += 1
                objects[r] = index[label]
                areas[index[label]] += lengths[r]
    return starts[:n].copy(), lengths[:n].copy(), objects[:n].copy(), areas[:n_objects].copy()


@njit(cache=True, nogil=True)
def draw_runs(starts: Any, lengths: Any, objects: Any, flat: Any) -> None:  # pragma: no cover - compiled
    """Write object + 1 to the pixels of each run of a flat image."""
    for r in range(starts.size):
        for p in range(starts[r], starts[r] + lengths[r]):
            flat[p] = objects[r] + 1


@njit(cache=True, nogil=True)
def run_boxes(
    starts: Any, lengths: Any, objects: Any, n_objects: int, ny: int, nx: int
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Bounding box (z, y, x minima, then exclusive maxima) of each object from its runs, shape (N, 6)."""
    boxes = np.empty((n_objects, 6), np.int64)
    boxes[:, :3] = np.iinfo(np.int64).max
    boxes[:, 3:] = 0
    for r in range(starts.size):
        row, x = divmod(starts[r], nx)
        z, y = divmod(row, ny)
        box = boxes[objects[r]]
        box[0], box[1], box[2] = min(box[0], z), min(box[1], y), min(box[2], x)
        box[3], box[4], box[5] = max(box[3], z + 1), max(box[4], y + 1), max(box[5], x + lengths[r])
    return boxes
