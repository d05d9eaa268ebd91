"""Fusion by voting around markers, as in the annotation fusing tools of the Cell Tracking Challenge."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from divseg.consensus.cluster_masks import Votes, cast_votes
from divseg.consensus.clustering import fuse_clustering
from divseg.consensus.hypotheses import FusionResult
from divseg.consensus.overlaps import overlaps
from divseg.consensus.rasterize import keep_largest_pieces
from divseg.consensus.run_lengths import RunLengths, to_runs
from divseg.consensus.stack import LabelStack
from divseg.consensus.weights import UNIT
from divseg.errors import InputError
from divseg.labels import check_labels
from divseg.specs import Choice, Flag, Number

SCHEMES = ("flat", "simple")
COLLISIONS = ("grow", "drop")

REMOVED_ABOVE = {"grow": 0.2, "drop": 0.1}
"""Objects with a greater part of their pixels in collision are removed."""

TIE = 1e-9
"""Part of all votes by which a fraction of them may be too low through rounding."""

UNREACHABLE = 2**31 - 1
"""More votes than there can be."""

SIMPLE_ROUNDS = 4


def fuse_voting(
    stack: LabelStack,
    *,
    objective: str,
    existence: float | None,
    seed: int,
    markers: ArrayLike | None = None,
    scheme: Annotated[str, Choice(SCHEMES)] = "flat",
    threshold: Annotated[float, Number(0.01, 1)] = 0.5,
    collisions: Annotated[str, Choice(COLLISIONS)] = "grow",
    fail_safe: Annotated[bool | None, Flag()] = None,
) -> FusionResult:
    """Let the samples vote for the pixels of every marker.

    The rules of the label fusion of the Cell Tracking Challenge (Akbas, Ulman, Maska, Jug, ECCV Workshops
    2018, doi 10.1007/978-3-030-11024-6_34; Fiji's *Annotations Fusing Tools*): the object of a sample that
    covers more than half of a marker votes for its pixels, other samples abstain; pixels with enough votes
    are taken; pixels taken by several markers are in collision. Objects without a marker are never found.

    Parameters
    ----------
    stack : LabelStack
    objective, existence, seed
        For the clustering that finds the markers, if there are no `markers`.
    markers : label image, optional
        One marker for each object. By default the objects that ``clustering`` finds.
    scheme : str
        ``flat``: a pixel needs `threshold` of the weight of all samples, also of those that abstain.
        ``simple``: the weight of a sample is the Jaccard index of its object with the present result, objects
        below a bar that starts at 0.7 are set aside, and a pixel needs half of the weight of the remaining
        ones; four rounds (SIMPLE; Langerak et al., IEEE TMI 2010).
    threshold : float
        Fraction of the weight for ``flat``; the silver truth of the challenge was made with 2/3.
    collisions : str
        ``drop``: pixels in collision become background, and objects with more than 10 % of their pixels in
        collision are removed. ``grow``: the bar is 20 %, and the others grow into the collision, pixel by
        pixel, as far as they claim it.
    fail_safe : bool, optional
        If no pixel of a marker gets enough votes, take the object of the sample of greatest weight that voted
        for it, among equals the one with the greatest mean IoU with the others: no marker is lost for lack
        of votes (the single mask fail-safe of the *Annotations Fusing Tools*). By default true for markers from
        ``clustering``, which have the samples' support, and false for `markers`.
    """
    if markers is None:
        image = fuse_clustering(stack, objective=objective, existence=existence, seed=seed).labels
    else:
        image = check_labels(markers, "markers")
        if image.shape != stack.shape:
            raise InputError(f"markers have shape {image.shape} but the masks have shape {stack.shape}")
    votes, min_votes = _votes(stack, to_runs(image), scheme, threshold)
    if markers is None if fail_safe is None else fail_safe:
        _insert_single_masks(stack, votes, min_votes)
    labels = np.zeros(stack.volume, np.int32)
    claims = np.zeros(stack.volume, np.int32)
    _claim(votes.counts, min_votes, votes.boxes, votes.offsets, labels, claims)
    _settle(votes, min_votes, labels, claims, collisions)
    keep_largest_pieces(labels)
    return FusionResult(labels)


def _votes(stack: LabelStack, markers: RunLengths, scheme: str, threshold: float) -> tuple[Votes, NDArray[np.int64]]:
    """Return the votes for each marker that any sample covers, and the votes that a pixel needs."""
    pairs = overlaps(markers, stack)
    covers = 2 * pairs.shared > pairs.first_areas[pairs.first]
    covered, cluster = np.unique(pairs.first[covers], return_inverse=True)
    members = pairs.second[covers]
    if scheme == "flat":
        needed = max(int(np.ceil(threshold * stack.total - TIE * stack.total)), 1)
        return cast_votes(stack, cluster, members), np.full(len(covered), needed, np.int64)
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
    pairs = overlaps(masks, stack)
    codes = pairs.first * stack.n_objects + pairs.second
    order = np.argsort(codes)
    wanted = cluster * stack.n_objects + members
    at = np.minimum(np.searchsorted(codes, wanted, sorter=order), max(len(codes) - 1, 0))
    if not len(codes):
        return np.zeros(len(wanted))
    hit = codes[order[at]] == wanted
    return np.where(hit, pairs.iou[order[at]], 0.0)


def _bar(cluster: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first of 0.7, 0.6 .. 0.3 that some member of the cluster reaches."""
    best = np.zeros(int(cluster.max(initial=-1)) + 1)
    np.maximum.at(best, cluster, weight)
    return np.clip(np.floor(best * 10 + 1e-9) / 10, 0.3, 0.7)


def _insert_single_masks(stack: LabelStack, votes: Votes, min_votes: NDArray[np.int64]) -> None:
    """Let one member alone vote for each cluster that would have no mask, in place."""
    cluster_of = votes.cluster_of
    peak = np.maximum.reduceat(votes.counts, votes.offsets[:-1]) if votes.n else min_votes
    here = np.flatnonzero((peak < min_votes)[cluster_of])
    if not len(here):
        return
    cluster, members, weight = cluster_of[here], votes.members[here], votes.weight[here]
    pairs = overlaps(_outlines(stack, members), stack)
    # the pairs of two members of one cluster
    codes = cluster * stack.n_objects + members
    wanted = cluster[pairs.first] * stack.n_objects + pairs.second
    at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    same = codes[at] == wanted
    agreement = np.bincount(pairs.first[same], pairs.iou[same] * weight[at[same]], minlength=len(members)).round(9)
    order = np.lexsort((-agreement, -weight, cluster))
    empty, first = np.unique(cluster[order], return_index=True)
    for c, member in zip(empty.tolist(), members[order[first]].tolist(), strict=True):
        low, high = votes.boxes[c, :3], votes.boxes[c, 3:]
        crop = votes.counts[votes.offsets[c] : votes.offsets[c + 1]].reshape(high - low)
        single = cast_votes(stack, np.zeros(1, np.int64), np.array([member]))
        inner = tuple(slice(a, b) for a, b in zip(single.boxes[0, :3] - low, single.boxes[0, 3:] - low, strict=True))
        crop[:] = 0
        crop[inner][single.counts.reshape(crop[inner].shape) > 0] = min_votes[c]


def _outlines(stack: LabelStack, members: NDArray[np.int64]) -> RunLengths:
    """Return the runs of objects of the stack, numbered anew."""
    return cast_votes(stack, np.arange(len(members)), members).masks(np.ones(len(members), np.int64))


def _settle(
    votes: Votes, min_votes: NDArray[np.int64], labels: NDArray[np.int32], claims: NDArray[np.int32], collisions: str
) -> None:
    """Resolve pixels that several markers claim, in place."""
    total, collided = _collided(votes.counts, min_votes, votes.boxes, votes.offsets, claims)
    labels[claims > 1] = 0
    removed = collided > REMOVED_ABOVE[collisions] * total
    labels[np.concatenate([[False], removed])[labels]] = 0
    if collisions == "grow":
        needed = np.where(removed, UNREACHABLE, min_votes)
        while _grow(votes.counts, needed, votes.boxes, votes.offsets, labels, claims):
            pass


@njit(cache=True, nogil=True)
def _claim(
    counts: Any, min_votes: Any, boxes: Any, offsets: Any, labels: Any, claims: Any
) -> None:  # pragma: no cover - compiled
    for c in range(min_votes.size):
        at = offsets[c]
        for z in range(boxes[c, 0], boxes[c, 3]):
            for y in range(boxes[c, 1], boxes[c, 4]):
                for x in range(boxes[c, 2], boxes[c, 5]):
                    if counts[at] >= min_votes[c]:
                        claims[z, y, x] += 1
                        labels[z, y, x] = c + 1
                    at += 1


@njit(cache=True, nogil=True)
def _collided(
    counts: Any, min_votes: Any, boxes: Any, offsets: Any, claims: Any
) -> tuple[Any, Any]:  # pragma: no cover - compiled
    """Pixels that each marker claims, and how many of them others claim too."""
    total, collided = np.zeros(min_votes.size, np.int64), np.zeros(min_votes.size, np.int64)
    for c in range(min_votes.size):
        at = offsets[c]
        for z in range(boxes[c, 0], boxes[c, 3]):
            for y in range(boxes[c, 1], boxes[c, 4]):
                for x in range(boxes[c, 2], boxes[c, 5]):
                    if counts[at] >= min_votes[c]:
                        total[c] += 1
                        collided[c] += claims[z, y, x] > 1
                    at += 1
    return total, collided


@njit(cache=True, nogil=True)
def _grow(
    counts: Any, min_votes: Any, boxes: Any, offsets: Any, labels: Any, claims: Any
) -> int:  # pragma: no cover - compiled
    """Give each free pixel in collision to the claiming object beside it with most votes; one round."""
    nz, ny, nx = labels.shape
    won = np.zeros_like(labels)
    best = np.zeros_like(labels)
    for c in range(min_votes.size):
        at = offsets[c]
        for z in range(boxes[c, 0], boxes[c, 3]):
            for y in range(boxes[c, 1], boxes[c, 4]):
                for x in range(boxes[c, 2], boxes[c, 5]):
                    votes = counts[at]
                    at += 1
                    if claims[z, y, x] < 2 or labels[z, y, x] != 0 or votes < min_votes[c] or votes <= best[z, y, x]:
                        continue
                    touches = (
                        (z > 0 and labels[z - 1, y, x] == c + 1)
                        or (z < nz - 1 and labels[z + 1, y, x] == c + 1)
                        or (y > 0 and labels[z, y - 1, x] == c + 1)
                        or (y < ny - 1 and labels[z, y + 1, x] == c + 1)
                        or (x > 0 and labels[z, y, x - 1] == c + 1)
                        or (x < nx - 1 and labels[z, y, x + 1] == c + 1)
                    )
                    if touches:
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
