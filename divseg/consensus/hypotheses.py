"""Hypotheses of objects, from rough masks to a label image: reassignment, conflicts, selection, rasterization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from divseg.consensus.cluster_masks import ClusterMasks, cluster_masks
from divseg.consensus.evidence import ObjectEvidence
from divseg.consensus.overlaps import overlaps, self_overlaps
from divseg.consensus.rasterize import rasterize
from divseg.consensus.run_lengths import RunLengths
from divseg.consensus.selection import select
from divseg.consensus.stack import LabelStack
from divseg.consensus.witnesses import Witnesses

TOUCH = 0.02
"""Hypotheses never exclude each other if they share at most this fraction of the smaller one."""

ENGULF = 0.3
"""Hypotheses always exclude each other if they share more than this fraction of the smaller one."""

DUPLICATE = 0.5
"""Hypotheses are duplicates if the Jaccard index of their members is greater."""

SUPPORT = 0.05
"""Fraction of the samples that must hold a hypothesis, unless a lower `existence` is asked for."""


@dataclass(frozen=True, eq=False)
class FusionResult:
    """Label image of a method, shape (Z, Y, X), and the hypotheses it chose from.

    If there are hypotheses, the labels are their numbers + 1.
    """

    labels: NDArray[np.int32]
    hypotheses: ObjectEvidence | None = None


def fuse_masks(
    stack: LabelStack,
    masks: RunLengths,
    objective: str,
    existence: float | None,
    witnesses: Witnesses | None = None,
) -> FusionResult:
    """Refine rough masks by the samples, choose among them, and rasterize the chosen ones.

    Parameters
    ----------
    stack : LabelStack
    masks : RunLengths
        Rough masks; they may overlap.
    objective, existence
        As in :func:`divseg.consensus.selection.select`.
    witnesses : Witnesses, optional
        Only what they hold is chosen.
    """
    refined = reassign(stack, masks, existence)
    evidence = ObjectEvidence(refined.runs, stack)
    allowed = None
    if witnesses is not None:
        allowed = ~witnesses.too_rare(ObjectEvidence(refined.runs, witnesses.stack).existence)
    chosen = select(evidence, find_conflicts(evidence), objective, existence, allowed)
    labels = rasterize(refined, chosen, stack.volume)
    return FusionResult(labels, evidence)


def min_support(stack: LabelStack, existence: float | None) -> tuple[int, int]:
    """Return how many samples must hold a hypothesis, and their total weight in units.

    At least two if there are eight or more, whatever their weights.
    """
    fraction = SUPPORT if existence is None else min(SUPPORT, existence)
    several = stack.n_samples >= 8 and existence is None
    return 2 if several else 1, max(1, int(np.ceil(fraction * stack.total - 1e-9)))


def reassign(stack: LabelStack, masks: RunLengths, existence: float | None) -> ClusterMasks:
    """Reassign the objects of all samples to the masks they match best (IoU > 0.5), and let them vote anew.

    Of masks that match mostly the same objects only the one with most of them is kept: the others are
    duplicates. Those with too little support (:func:`min_support`) are dropped.
    """
    pairs = overlaps(masks, stack)
    hit = pairs.iou > 0.5
    cluster, members, iou = pairs.first[hit], pairs.second[hit], pairs.iou[hit]
    keep = _supported(stack, cluster, members, pairs.n_first, existence)
    keep &= ~_duplicates(cluster, members, pairs.n_first, stack)
    # an object votes for one mask only: in two, a part and a whole would blend into a shape that no sample has
    voting = np.flatnonzero(keep[cluster])
    order = voting[np.lexsort((cluster[voting], -iou[voting], members[voting]))]
    _, best = np.unique(members[order], return_index=True)
    cluster, members = cluster[order[best]], members[order[best]]
    keep &= _supported(stack, cluster, members, pairs.n_first, existence)
    rank = np.cumsum(keep) - 1
    voting = np.flatnonzero(keep[cluster])
    return cluster_masks(stack, rank[cluster[voting]], members[voting])


def _supported(
    stack: LabelStack, cluster: NDArray[np.int64], members: NDArray[np.int64], n: int, existence: float | None
) -> NDArray[np.bool_]:
    """Return for each of the n clusters whether its members are enough and weigh enough."""
    count, weight = min_support(stack, existence)
    enough = np.bincount(cluster, stack.object_units[members], minlength=n) >= weight
    return enough & (np.bincount(cluster, minlength=n) >= count)


def _duplicates(cluster: NDArray[np.int64], members: NDArray[np.int64], n: int, stack: LabelStack) -> NDArray[np.bool_]:
    """Return for each cluster whether it is a duplicate of another one that is kept and has at least its weight."""
    units = stack.object_units[members]
    weight = np.bincount(cluster, units, minlength=n)
    shape = (n, stack.n_objects)
    table = csr_array((np.ones(len(cluster), np.int64), (cluster, members)), shape=shape)
    shared = coo_array(csr_array((units, (cluster, members)), shape=shape) @ table.T)
    a, b = shared.coords
    same = (a < b) & (shared.data > DUPLICATE * (weight[a] + weight[b] - shared.data))
    rivals: dict[int, list[int]] = {}
    for i, j in zip(a[same].tolist(), b[same].tolist(), strict=True):
        rivals.setdefault(i, []).append(j)
        rivals.setdefault(j, []).append(i)
    duplicate = np.zeros(n, bool)
    for c in np.lexsort((np.arange(n), -weight)).tolist():
        if not duplicate[c]:
            duplicate[rivals.get(c, [])] = True
    return duplicate


def find_conflicts(evidence: ObjectEvidence) -> NDArray[np.int64]:
    """Return the pairs of hypotheses that exclude each other, shape (E, 2).

    Overlap alone is not enough: the masks of touching objects overlap along the uncertain border between
    them. Such objects occur side by side in the samples, while a merged object and its parts do not. So a
    moderate overlap excludes only those that occur together, as distinct objects, in less than half as many
    samples as independent objects would.
    """
    first, second, shared = self_overlaps(evidence.runs)
    part = shared / np.minimum(evidence.runs.areas[first], evidence.runs.areas[second])
    close = part > TOUCH
    first, second, part = first[close], second[close], part[close]
    members = evidence.overlaps.members
    a, b = members[first], members[second]
    together = evidence.stack.support((a >= 0) & (b >= 0) & (a != b))
    independent = evidence.existence[first] * evidence.existence[second] * evidence.stack.total
    excluded = (part > ENGULF) | (2 * together < independent)
    return np.stack([first[excluded], second[excluded]], axis=1)
