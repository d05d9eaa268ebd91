"""Votes of a cluster's members and the mask of greatest expected IoU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from divseg.consensus.run_lengths import RunLengths
from divseg.consensus.stack import LabelStack

MAX_LEVELS = 64
"""Vote counts are read at no more than this many levels, which keeps the cost linear in the samples."""


@dataclass(frozen=True, eq=False)
class Votes:
    """Votes of the members of clusters, in a crop for each cluster.

    Attributes
    ----------
    first : int64 array, shape (C + 1,)
        First index of the members of each cluster in `members`.
    members : int64 array, shape (M,)
        Objects of the stack.
    weight : int32 array, shape (M,)
        Weight of the vote of each member.
    boxes : int64 array, shape (C, 6)
        Crop of each cluster: z, y, x minima, then exclusive maxima.
    offsets : int64 array, shape (C + 1,)
        First index of the crop of each cluster in `counts`.
    counts : int32 array
        Total weight of the members that cover each pixel of the crops, raster order, crop after crop.
    volume : tuple of three int
        Shape of the image.
    """

    first: NDArray[np.int64]
    members: NDArray[np.int64]
    weight: NDArray[np.int32]
    boxes: NDArray[np.int64]
    offsets: NDArray[np.int64]
    counts: NDArray[np.int32]
    volume: tuple[int, int, int]

    @property
    def n(self) -> int:
        """Number of clusters."""
        return len(self.boxes)

    @property
    def cluster_of(self) -> NDArray[np.int64]:
        """Cluster of each member, shape (M,)."""
        return np.repeat(np.arange(self.n), np.diff(self.first))

    def masks(self, min_votes: NDArray[np.int64]) -> RunLengths:
        """Return the runs of {counts >= min_votes}; `min_votes` has a value for each cluster, shape (C,)."""
        runs = _mask_runs(self.counts, min_votes, self.boxes, self.offsets, *self.volume[1:])
        starts, lengths, objects, areas = runs
        order = np.argsort(starts, kind="stable")
        return RunLengths(starts[order], lengths[order], objects[order], areas)


@dataclass(frozen=True, eq=False)
class ClusterMasks:
    """Hypotheses of objects: the votes of their members, and the masks that follow from them.

    Attributes
    ----------
    votes : Votes
        Votes of the members, each with the weight units of its sample.
    min_votes : int64 array, shape (C,)
        Votes that a pixel of the mask needs.
    runs : RunLengths
        The masks; they may overlap.
    """

    votes: Votes
    min_votes: NDArray[np.int64]
    runs: RunLengths

    @property
    def n(self) -> int:
        """Number of hypotheses."""
        return self.votes.n


def cast_votes(
    stack: LabelStack,
    cluster_of: NDArray[np.int64],
    members: NDArray[np.int64],
    weight: NDArray[np.int32] | None = None,
) -> Votes:
    """Let the members of each cluster vote for the pixels they cover.

    Parameters
    ----------
    stack : LabelStack
    cluster_of : int64 array, shape (M,)
        Cluster 0..C-1 of each member; every cluster has members. An object may be in several clusters.
    members : int64 array, shape (M,)
        Objects of the stack.
    weight : int32 array, shape (M,), optional
        Weight of each member; the weight units of its sample by default.
    """
    n = int(cluster_of.max(initial=-1)) + 1
    order = np.lexsort((members, cluster_of))
    members = members[order]
    weight = stack.object_units[members].astype(np.int32) if weight is None else weight[order]
    first = np.concatenate([[0], np.cumsum(np.bincount(cluster_of, minlength=n))])
    boxes = np.empty((n, 6), np.int64)
    if n:
        boxes[:, :3] = np.minimum.reduceat(stack.boxes[members, :3], first[:-1], axis=0)
        boxes[:, 3:] = np.maximum.reduceat(stack.boxes[members, 3:], first[:-1], axis=0)
    offsets = np.concatenate([[0], np.cumsum(np.prod(boxes[:, 3:] - boxes[:, :3], axis=1))])
    counts = np.zeros(int(offsets[-1]), np.int32)
    runs = (*stack.object_runs, stack.starts, stack.lengths)
    _vote(first, members, weight, *runs, boxes, offsets, *stack.volume[1:], counts)
    return Votes(first, members, weight, boxes, offsets, counts, stack.volume)


def cluster_masks(stack: LabelStack, cluster_of: NDArray[np.int64], members: NDArray[np.int64]) -> ClusterMasks:
    """Let the members of each cluster vote, and choose each mask for greatest mean IoU with the members.

    Among the superlevel sets {votes >= t} the one with the greatest weighted mean IoU to the members is taken: for a
    loss by IoU the Bayes mask is a superlevel set of the fraction of votes, at a level below one half that differs
    from object to object (Nowozin, CVPR 2014; Dai & Li, JMLR 2023).

    Parameters
    ----------
    stack, cluster_of, members
        As in :func:`cast_votes`.
    """
    votes = cast_votes(stack, cluster_of, members)
    min_votes = _best_level(
        votes.first,
        votes.members,
        votes.weight,
        stack.areas,
        *stack.object_runs,
        stack.starts,
        stack.lengths,
        votes.boxes,
        votes.offsets,
        *stack.volume[1:],
        votes.counts,
    )
    return ClusterMasks(votes, min_votes, votes.masks(min_votes))


@njit(cache=True, nogil=True)
def _position(start: int, box: Any, offset: int, ny: int, nx: int) -> int:  # pragma: no cover - compiled
    """Index in the crops of the pixel with flat index `start`."""
    row, x = divmod(start, nx)
    z, y = divmod(row, ny)
    return offset + ((z - box[0]) * (box[4] - box[1]) + (y - box[1])) * (box[5] - box[2]) + (x - box[2])


@njit(cache=True, nogil=True)
def _vote(
    first: Any,
    members: Any,
    weight: Any,
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
                at = _position(starts[r], box, offsets[c], ny, nx)
                votes[at] += weight[m]
                if starts[r] % nx + lengths[r] < stop_x:
                    votes[at + lengths[r]] -= weight[m]
        for row in range(offsets[c], offsets[c + 1], width):
            total = np.int32(0)
            for at in range(row, row + width):
                total += votes[at]
                votes[at] = total


@njit(cache=True, nogil=True)
def _best_level(
    first: Any,
    members: Any,
    weight: Any,
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
) -> Any:  # pragma: no cover - compiled
    """Return the smallest vote of the superlevel set with the greatest weighted mean IoU to the members."""
    n = first.size - 1
    min_votes = np.ones(n, np.int64)
    level = np.empty(np.diff(offsets).max() if n else 0, np.uint8)
    for c in range(n):
        total = weight[first[c] : first[c + 1]].sum()
        n_levels = min(total, MAX_LEVELS)
        size = np.zeros(n_levels + 2, np.int64)
        base = offsets[c]
        # neighbours mostly have the same vote
        vote, step = np.int64(0), np.int64(0)
        for at in range(base, offsets[c + 1]):
            if votes[at] != vote:
                vote = np.int64(votes[at])
                step = (vote * n_levels + total - 1) // total
            level[at - base] = step
            size[step] += 1
        for s in range(n_levels - 1, 0, -1):
            size[s] += size[s + 1]
        score = np.zeros(n_levels + 1)
        inside = np.zeros(n_levels + 2, np.int64)
        for m in range(first[c], first[c + 1]):
            inside[:] = 0
            for p in range(run_offsets[members[m]], run_offsets[members[m] + 1]):
                r = run_index[p]
                at = _position(starts[r], boxes[c], 0, ny, nx)
                for q in range(at, at + lengths[r]):
                    inside[level[q]] += 1
            shared = 0
            for s in range(n_levels, 0, -1):
                shared += inside[s]
                score[s] += weight[m] * (shared / (size[s] + areas[members[m]] - shared))
        best = n_levels
        for s in range(n_levels - 1, 0, -1):
            if score[s] > score[best] + 1e-12 * total:
                best = s
        min_votes[c] = (best - 1) * total // n_levels + 1
    return min_votes


@njit(cache=True, nogil=True)
def _mask_runs(
    votes: Any, min_votes: Any, boxes: Any, offsets: Any, ny: int, nx: int
) -> tuple[Any, Any, Any, Any]:  # pragma: no cover - compiled
    room = 4096
    starts, lengths, objects = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int32)
    areas = np.zeros(min_votes.size, np.int64)
    n = 0
    for c in range(min_votes.size):
        box = boxes[c]
        width = box[5] - box[2]
        height = box[4] - box[1]
        for row in range((box[3] - box[0]) * height):
            z, y = row // height + box[0], row % height + box[1]
            base = offsets[c] + row * width
            x = 0
            while x < width:
                if votes[base + x] < min_votes[c]:
                    x += 1
                    continue
                begin = x
                while x < width and votes[base + x] >= min_votes[c]:
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
