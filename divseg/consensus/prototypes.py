"""Votes of a cluster's members and the mask of greatest expected IoU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from divseg.consensus.samples import LabelStack, Runs

MAX_LEVELS = 64
"""Vote counts are read at no more than this many levels, which keeps the cost linear in the samples."""


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Hypotheses of objects: votes in a crop each, and a mask each.

    Attributes
    ----------
    n_members : int64 array, shape (C,)
        Members that voted.
    boxes : int64 array, shape (C, 6)
        Crop of each hypothesis: z, y, x minima, then exclusive maxima.
    offsets : int64 array, shape (C + 1,)
        Where the crop of each hypothesis begins in `votes`.
    votes : int32 array
        Number of members that cover each pixel of the crops, raster order, crop after crop.
    least : int64 array, shape (C,)
        The mask is where at least so many members vote.
    runs : Runs
        The masks; they may overlap.
    """

    n_members: NDArray[np.int64]
    boxes: NDArray[np.int64]
    offsets: NDArray[np.int64]
    votes: NDArray[np.int32]
    least: NDArray[np.int64]
    runs: Runs

    @property
    def n(self) -> int:
        """Number of hypotheses."""
        return len(self.n_members)


def prototypes(stack: LabelStack, cluster_of: NDArray[np.int64], members: NDArray[np.int64]) -> Prototypes:
    """Let the members of each cluster vote, and choose each mask for greatest mean IoU with the members.

    Among the superlevel sets {votes >= t} the one with the greatest mean IoU to the members is taken: for a
    loss by IoU the Bayes mask is a superlevel set of the vote share, at a level below one half that differs
    from object to object (Nowozin, CVPR 2014; Dai & Li, JMLR 2023).

    Parameters
    ----------
    stack : LabelStack
    cluster_of : int64 array, shape (M,)
        Cluster 0..C-1 of each member; every cluster has members. An object may be in several clusters.
    members : int64 array, shape (M,)
        Objects of the stack.
    """
    n = int(cluster_of.max(initial=-1)) + 1
    order = np.lexsort((members, cluster_of))
    members = members[order]
    n_members = np.bincount(cluster_of, minlength=n)
    first = np.concatenate([[0], np.cumsum(n_members)])
    boxes = np.empty((n, 6), np.int64)
    if n:
        boxes[:, :3] = np.minimum.reduceat(stack.boxes[members, :3], first[:-1], axis=0)
        boxes[:, 3:] = np.maximum.reduceat(stack.boxes[members, 3:], first[:-1], axis=0)
    offsets = np.concatenate([[0], np.cumsum(np.prod(boxes[:, 3:] - boxes[:, :3], axis=1))])
    votes = np.zeros(int(offsets[-1]), np.int32)
    run_offsets, run_index = stack.object_runs
    geometry = (run_offsets, run_index, stack.starts, stack.lengths, boxes, offsets, *stack.volume[1:])
    _vote(first, members, *geometry, votes)
    least = _best_level(first, members, stack.areas, *geometry, votes, MAX_LEVELS)
    return Prototypes(n_members, boxes, offsets, votes, least, mask_runs(votes, least, boxes, offsets, stack.volume))


def mask_runs(
    votes: NDArray[np.int32],
    least: NDArray[np.int64],
    boxes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    volume: tuple[int, int, int],
) -> Runs:
    """Return the runs of {votes >= least} of every crop."""
    starts, lengths, objects, areas = _mask_runs(votes, least, boxes, offsets, *volume[1:])
    order = np.argsort(starts, kind="stable")
    return Runs(starts[order], lengths[order], objects[order], areas)


@njit(cache=True, nogil=True)
def _place(start: int, box: Any, offset: int, ny: int, nx: int) -> int:  # pragma: no cover - compiled
    """Index in the crops of the pixel with flat index `start`."""
    row, x = divmod(start, nx)
    z, y = divmod(row, ny)
    return offset + ((z - box[0]) * (box[4] - box[1]) + (y - box[1])) * (box[5] - box[2]) + (x - box[2])


@njit(cache=True, nogil=True)
def _vote(
    first: Any,
    members: Any,
    run_offsets: Any,
    run_index: Any,
    starts: Any,
    lengths: Any,
    boxes: Any,
    offsets: Any,
    ny: int,
    nx: int,
    votes: Any,
) -> None:  # pragma: no cover - compiled
    for c in range(first.size - 1):
        box = boxes[c]
        width = box[5] - box[2]
        stop_x = box[5]
        for m in range(first[c], first[c + 1]):
            for p in range(run_offsets[members[m]], run_offsets[members[m] + 1]):
                r = run_index[p]
                at = _place(starts[r], box, offsets[c], ny, nx)
                votes[at] += 1
                if starts[r] % nx + lengths[r] < stop_x:
                    votes[at + lengths[r]] -= 1
        for row in range(offsets[c], offsets[c + 1], width):
            total = 0
            for at in range(row, row + width):
                total += votes[at]
                votes[at] = total


@njit(cache=True, nogil=True)
def _best_level(
    first: Any,
    members: Any,
    areas: Any,
    run_offsets: Any,
    run_index: Any,
    starts: Any,
    lengths: Any,
    boxes: Any,
    offsets: Any,
    ny: int,
    nx: int,
    votes: Any,
    max_levels: int,
) -> Any:  # pragma: no cover - compiled
    """Return the least vote count of the superlevel set with the greatest mean IoU to the members."""
    n = first.size - 1
    least = np.ones(n, np.int64)
    for c in range(n):
        count = first[c + 1] - first[c]
        n_levels = min(count, max_levels)
        level = np.empty(count + 1, np.int64)
        for v in range(count + 1):
            level[v] = (v * n_levels + count - 1) // count
        size = np.zeros(n_levels + 2, np.int64)
        for at in range(offsets[c], offsets[c + 1]):
            size[level[votes[at]]] += 1
        for s in range(n_levels - 1, 0, -1):
            size[s] += size[s + 1]
        score = np.zeros(n_levels + 1)
        inside = np.zeros(n_levels + 2, np.int64)
        for m in range(first[c], first[c + 1]):
            inside[:] = 0
            for p in range(run_offsets[members[m]], run_offsets[members[m] + 1]):
                r = run_index[p]
                at = _place(starts[r], boxes[c], offsets[c], ny, nx)
                for q in range(at, at + lengths[r]):
                    inside[level[votes[q]]] += 1
            shared = 0
            for s in range(n_levels, 0, -1):
                shared += inside[s]
                score[s] += shared / (size[s] + areas[members[m]] - shared)
        best = n_levels
        for s in range(n_levels - 1, 0, -1):
            if score[s] > score[best] + 1e-12 * count:
                best = s
        least[c] = (best - 1) * count // n_levels + 1
    return least


@njit(cache=True, nogil=True)
def _mask_runs(
    votes: Any, least: Any, boxes: Any, offsets: Any, ny: int, nx: int
) -> tuple[Any, Any, Any, Any]:  # pragma: no cover - compiled
    room = 4096
    starts, lengths, objects = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int32)
    areas = np.zeros(least.size, np.int64)
    n = 0
    for c in range(least.size):
        box = boxes[c]
        width = box[5] - box[2]
        height = box[4] - box[1]
        for row in range((box[3] - box[0]) * height):
            z, y = row // height + box[0], row % height + box[1]
            base = offsets[c] + row * width
            x = 0
            while x < width:
                if votes[base + x] < least[c]:
                    x += 1
                    continue
                begin = x
                while x < width and votes[base + x] >= least[c]:
                    x += 1
                if n == room:
                    room *= 2
                    starts = np.concatenate((starts, np.empty(n, np.int64)))
                    lengths = np.concatenate((lengths, np.empty(n, np.int32)))
                    objects = np.concatenate((objects, np.empty(n, np.int32)))
                starts[n] = (z * ny + y) * nx + box[2] + begin
                lengths[n], objects[n] = x - begin, c
                areas[c] += x - begin
                n += 1
    return starts[:n].copy(), lengths[:n].copy(), objects[:n].copy(), areas
