"""Fusion by voting around markers, as in the annotation fusing tools of the Cell Tracking Challenge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from divseg.consensus.clustering import fuse_clustering
from divseg.consensus.hypotheses import Fused
from divseg.consensus.overlaps import contacts
from divseg.consensus.paint import keep_largest_pieces
from divseg.consensus.prototypes import Votes, cast_votes
from divseg.consensus.run_lengths import RunLengths, to_runs
from divseg.consensus.stack import LabelStack
from divseg.consensus.weights import UNIT
from divseg.errors import InputError
from divseg.labels import check_labels

SCHEMES = ("flat", "simple")
COLLISIONS = ("grow", "drop")

REMOVED_ABOVE = {"grow": 0.2, "drop": 0.1}
"""Objects with a greater part of their pixels in collision are removed."""

TIE = 1e-9
"""Part of all votes that a share of them may lack through rounding."""

NEVER = 2**31 - 1
"""More votes than there can be."""

SIMPLE_ROUNDS = 4


def fuse_voting(
    stack: LabelStack,
    *,
    target: str,
    existence: float | None,
    seed: int,
    markers: ArrayLike | None = None,
    scheme: str = "flat",
    threshold: float = 0.5,
    collisions: str = "grow",
    fail_safe: bool | None = None,
) -> Fused:
    """Let the samples vote for the pixels of every marker.

    The rules of the label fusion of the Cell Tracking Challenge (Akbas, Ulman, Maska, Jug, ECCV Workshops
    2018, doi 10.1007/978-3-030-11024-6_34; Fiji's *Annotations Fusing Tools*): the object of a sample that
    covers more than half of a marker votes for its pixels, other samples abstain; pixels with enough votes
    are taken; pixels taken by several markers are in collision. Objects that have no marker are never found.

    Parameters
    ----------
    stack : LabelStack
    target, existence, seed
        For the clustering that gives the markers, where none are given.
    markers : label image, optional
        One marker for each object. By default the objects that ``clustering`` finds.
    scheme : str
        ``flat``: a pixel needs `threshold` of the weight of all samples, also of those that abstain.
        ``simple``: the weight of a sample is the Jaccard index of its object with the present result, objects
        below a bar that starts at 0.7 are put aside, and a pixel needs half of the weight of the remaining
        ones; four rounds (SIMPLE; Langerak et al., IEEE TMI 2010).
    threshold : float
        Share of the weight for ``flat``; the silver truth of the challenge was made with 2/3.
    collisions : str
        ``drop``: pixels in collision become background, and objects with more than 10 % of their pixels in
        collision are removed. ``grow``: the bar is 20 %, and the others grow into the collision, pixel by
        pixel where they claim it.
    fail_safe : bool, optional
        Where no pixel of a marker gets enough votes, take the object of the sample of greatest weight that voted
        for it, among equals the one with the greatest mean IoU with the others: no marker is lost for want
        of votes (the single mask fail-safe of the *Annotations Fusing Tools*). By default so with markers from
        ``clustering``, which are there with good reason, and not with markers that are given.
    """
    for name, value, known in (("scheme", scheme, SCHEMES), ("collisions", collisions, COLLISIONS)):
        if value not in known:
            raise InputError(f"unknown {name} {value!r} of method 'voting' ({name}: {', '.join(known)})")
    if not 0 < threshold <= 1:
        raise InputError(f"threshold={threshold!r} of method 'voting' is impossible: give a share above 0 and up to 1")
    if markers is None:
        image = fuse_clustering(stack, target=target, existence=existence, seed=seed).labels
    else:
        image = check_labels(markers, "markers")
        if image.shape != stack.shape:
            raise InputError(f"markers have shape {image.shape} but the masks have shape {stack.shape}")
    votes, least = _ballot(stack, to_runs(image), scheme, threshold)
    if markers is None if fail_safe is None else fail_safe:
        _insert_single_masks(stack, votes, least)
    labels = np.zeros(stack.volume, np.int32)
    claims = np.zeros(stack.volume, np.int32)
    _claim(votes.counts, least, votes.boxes, votes.offsets, labels, claims)
    _settle(votes, least, labels, claims, collisions)
    keep_largest_pieces(labels)
    return Fused(labels)


def _ballot(stack: LabelStack, markers: RunLengths, scheme: str, threshold: float) -> tuple[Votes, NDArray[np.int64]]:
    """Votes for each marker that any sample covers, and the votes a pixel needs."""
    found = contacts(markers, stack)
    covers = 2 * found.shared > found.first_areas[found.first]
    covered, cluster = np.unique(found.first[covers], return_inverse=True)
    members = found.second[covers]
    if scheme == "flat":
        least = max(int(np.ceil(threshold * stack.total - TIE * stack.total)), 1)
        return cast_votes(stack, cluster, members), np.full(len(covered), least, np.int64)
    # fine units for the fractions that the Jaccard index makes of the weights
    fine, units = round(UNIT / stack.total), stack.object_units[members].astype(np.int32)
    counted = fine * units
    votes = cast_votes(stack, cluster, members, counted)
    for step in range(SIMPLE_ROUNDS):
        weight = _jaccard(votes.masks(_half(cluster, counted)), stack, cluster, members)
        if step > 0:
            weight[weight < _bar(cluster, weight)[cluster]] = 0
        counted = np.rint(weight * fine).astype(np.int32) * units
        votes = cast_votes(stack, cluster, members, counted)
    return votes, _half(cluster, counted)


def _half(cluster: NDArray[np.int64], weight: NDArray[np.int32]) -> NDArray[np.int64]:
    """Half of the weight of the members of each cluster, at least 1."""
    total = np.bincount(cluster, weight).astype(np.int64)
    return np.maximum((total + 1) // 2, 1)


def _jaccard(
    masks: RunLengths, stack: LabelStack, cluster: NDArray[np.int64], members: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Jaccard index of each member with the mask of its cluster."""
    found = contacts(masks, stack)
    codes = found.first * stack.n_objects + found.second
    order = np.argsort(codes)
    wanted = cluster * stack.n_objects + members
    at = np.minimum(np.searchsorted(codes, wanted, sorter=order), max(len(codes) - 1, 0))
    if not len(codes):
        return np.zeros(len(wanted))
    hit = codes[order[at]] == wanted
    return np.where(hit, found.iou[order[at]], 0.0)


def _bar(cluster: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first of 0.7, 0.6 .. 0.3 that some member of the cluster reaches."""
    best = np.zeros(int(cluster.max(initial=-1)) + 1)
    np.maximum.at(best, cluster, weight)
    return np.clip(np.floor(best * 10 + 1e-9) / 10, 0.3, 0.7)


def _insert_single_masks(stack: LabelStack, votes: Votes, least: NDArray[np.int64]) -> None:
    """Give the votes of clusters without any mask to one member each, in place."""
    cluster_of = votes.cluster_of
    peak = np.maximum.reduceat(votes.counts, votes.offsets[:-1]) if votes.n else least
    here = np.flatnonzero((peak < least)[cluster_of])
    if not len(here):
        return
    cluster, members, weight = cluster_of[here], votes.members[here], votes.weight[here]
    found = contacts(_outlines(stack, members), stack)
    # the pairs of two members of one cluster
    codes = cluster * stack.n_objects + members
    wanted = cluster[found.first] * stack.n_objects + found.second
    at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    pair = codes[at] == wanted
    agreement = np.bincount(found.first[pair], found.iou[pair] * weight[at[pair]], minlength=len(members)).round(9)
    order = np.lexsort((-agreement, -weight, cluster))
    empty, first = np.unique(cluster[order], return_index=True)
    for c, member in zip(empty.tolist(), members[order[first]].tolist(), strict=True):
        low, high = votes.boxes[c, :3], votes.boxes[c, 3:]
        crop = votes.counts[votes.offsets[c] : votes.offsets[c + 1]].reshape(high - low)
        single = cast_votes(stack, np.zeros(1, np.int64), np.array([member]))
        inner = tuple(slice(a, b) for a, b in zip(single.boxes[0, :3] - low, single.boxes[0, 3:] - low, strict=True))
        crop[:] = 0
        crop[inner][single.counts.reshape(crop[inner].shape) > 0] = least[c]


def _outlines(stack: LabelStack, members: NDArray[np.int64]) -> RunLengths:
    """Return the runs of objects of the stack, numbered anew."""
    return cast_votes(stack, np.arange(len(members)), members).masks(np.ones(len(members), np.int64))


def _settle(
    votes: Votes, least: NDArray[np.int64], labels: NDArray[np.int32], claims: NDArray[np.int32], collisions: str
) -> None:
    """Resolve pixels that several markers claim, in place."""
    total, collided = _collided(votes.counts, least, votes.boxes, votes.offsets, claims)
    labels[claims > 1] = 0
    removed = collided > REMOVED_ABOVE[collisions] * total
    labels[np.concatenate([[False], removed])[labels]] = 0
    if collisions == "grow":
        while _grow(votes.counts, np.where(removed, NEVER, least), votes.boxes, votes.offsets, labels, claims):
            pass


@njit(cache=True, nogil=True)
def _claim(
    counts: Any, least: Any, boxes: Any, offsets: Any, labels: Any, claims: Any
) -> None:  # pragma: no cover - compiled
    for c in range(least.size):
        at = offsets[c]
        for z in range(boxes[c, 0], boxes[c, 3]):
            for y in range(boxes[c, 1], boxes[c, 4]):
                for x in range(boxes[c, 2], boxes[c, 5]):
                    if counts[at] >= least[c]:
                        claims[z, y, x] += 1
                        labels[z, y, x] = c + 1
                    at += 1


@njit(cache=True, nogil=True)
def _collided(
    counts: Any, least: Any, boxes: Any, offsets: Any, claims: Any
) -> tuple[Any, Any]:  # pragma: no cover - compiled
    """Pixels that each marker claims, and how many of them others claim too."""
    total, collided = np.zeros(least.size, np.int64), np.zeros(least.size, np.int64)
    for c in range(least.size):
        at = offsets[c]
        for z in range(boxes[c, 0], boxes[c, 3]):
            for y in range(boxes[c, 1], boxes[c, 4]):
                for x in range(boxes[c, 2], boxes[c, 5]):
                    if counts[at] >= least[c]:
                        total[c] += 1
                        collided[c] += claims[z, y, x] > 1
                    at += 1
    return total, collided


@njit(cache=True, nogil=True)
def _grow(
    counts: Any, least: Any, boxes: Any, offsets: Any, labels: Any, claims: Any
) -> int:  # pragma: no cover - compiled
    """Give free pixels in collision to a claiming object next to them, the one with most votes; one round."""
    nz, ny, nx = labels.shape
    won = np.zeros_like(labels)
    best = np.zeros_like(labels)
    for c in range(least.size):
        at = offsets[c]
        for z in range(boxes[c, 0], boxes[c, 3]):
            for y in range(boxes[c, 1], boxes[c, 4]):
                for x in range(boxes[c, 2], boxes[c, 5]):
                    votes = counts[at]
                    at += 1
                    if claims[z, y, x] < 2 or labels[z, y, x] != 0 or votes < least[c] or votes <= best[z, y, x]:
                        continue
                    near = (
                        (z > 0 and labels[z - 1, y, x] == c + 1)
                        or (z < nz - 1 and labels[z + 1, y, x] == c + 1)
                        or (y > 0 and labels[z, y - 1, x] == c + 1)
                        or (y < ny - 1 and labels[z, y + 1, x] == c + 1)
                        or (x > 0 and labels[z, y, x - 1] == c + 1)
                        or (x < nx - 1 and labels[z, y, x + 1] == c + 1)
                    )
                    if near:
                        best[z, y, x] = votes
                        won[z, y, x] = c + 1
    changed = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if won[z, y, x] > 0:
                    labels[z, y, x] = won[z, y, x]
                    changed += 1
    return changed
