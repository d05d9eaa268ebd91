"""Hypotheses of objects, from rough masks to a choice: one Lloyd pass, conflicts, selection, painting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from divseg.consensus.evidence import Evidence
from divseg.consensus.overlaps import contacts, self_contacts
from divseg.consensus.paint import paint
from divseg.consensus.prototypes import Prototypes, prototypes
from divseg.consensus.run_lengths import RunLengths
from divseg.consensus.selection import select
from divseg.consensus.stack import LabelStack

TOUCH = 0.02
"""Hypotheses that share no more than this part of the smaller one never exclude each other."""

ENGULF = 0.3
"""Hypotheses that share more than this part of the smaller one always exclude each other."""

SAME = 0.5
"""Hypotheses that share more of their members (Jaccard index) are the same one."""

MIN_SUPPORT = 0.05
"""Hypotheses held by a smaller share of the samples are not weighed, unless a lower `existence` is asked for."""


@dataclass(frozen=True, eq=False)
class Fused:
    """Label image of a method, shape (Z, Y, X), and the hypotheses it chose from.

    Where there are hypotheses, the labels are their numbers + 1.
    """

    labels: NDArray[np.int32]
    hypotheses: Evidence | None = None


def fuse_masks(stack: LabelStack, masks: RunLengths, target: str, existence: float | None) -> Fused:
    """Refine rough masks by the samples, choose among them, and paint the chosen ones.

    Parameters
    ----------
    stack : LabelStack
    masks : RunLengths
        Rough masks; they may overlap.
    target, existence
        As in :func:`divseg.consensus.selection.select`.
    """
    refined = lloyd(stack, masks, existence)
    evidence = Evidence(refined.runs, stack)
    conflicts = find_conflicts(refined, evidence)
    chosen = select(evidence, conflicts, target, existence)
    labels = paint(refined, chosen, stack.volume)
    return Fused(labels, evidence)


def least_support(stack: LabelStack, existence: float | None) -> tuple[int, int]:
    """Return how many samples, and of which weight together, must hold a hypothesis.

    From eight samples on at least two, however much one of them weighs.
    """
    share = MIN_SUPPORT if existence is None else min(MIN_SUPPORT, existence)
    lonely = stack.n_samples >= 8 and existence is None
    return 2 if lonely else 1, max(1, int(np.ceil(share * stack.total - 1e-9)))


def lloyd(stack: LabelStack, masks: RunLengths, existence: float | None) -> Prototypes:
    """Reassign the objects of all samples to the masks they match best (IoU > 0.5), and let them vote anew.

    Of masks that match mostly the same objects only the one with most of them is kept: the others are the
    same hypothesis, found twice. Those with too little support (:func:`least_support`) are dropped.
    """
    found = contacts(masks, stack)
    hit = found.iou > 0.5
    cluster, members, iou = found.first[hit], found.second[hit], found.iou[hit]
    kept = _supported(stack, cluster, members, found.n_first, existence)
    kept &= ~_repeated(cluster, members, found.n_first, stack)
    # an object votes for one mask only: in two, a part and a whole would blend into a shape that nobody drew
    voting = np.flatnonzero(kept[cluster])
    order = voting[np.lexsort((cluster[voting], -iou[voting], members[voting]))]
    _, best = np.unique(members[order], return_index=True)
    cluster, members = cluster[order[best]], members[order[best]]
    kept &= _supported(stack, cluster, members, found.n_first, existence)
    rank = np.cumsum(kept) - 1
    voting = np.flatnonzero(kept[cluster])
    return prototypes(stack, rank[cluster[voting]], members[voting])


def _supported(
    stack: LabelStack, cluster: NDArray[np.int64], members: NDArray[np.int64], n: int, existence: float | None
) -> NDArray[np.bool_]:
    """Whether each of the n clusters has enough members, and of enough weight."""
    count, weight = least_support(stack, existence)
    enough = np.bincount(cluster, stack.object_units[members], minlength=n) >= weight
    return enough & (np.bincount(cluster, minlength=n) >= count)


def _repeated(cluster: NDArray[np.int64], members: NDArray[np.int64], n: int, stack: LabelStack) -> NDArray[np.bool_]:
    """Clusters that share more members (weighted Jaccard > SAME) with a kept cluster of at least their weight."""
    units = stack.object_units[members]
    weight = np.bincount(cluster, units, minlength=n)
    shape = (n, stack.n_objects)
    table = csr_array((np.ones(len(cluster), np.int64), (cluster, members)), shape=shape)
    shared = coo_array(csr_array((units, (cluster, members)), shape=shape) @ table.T)
    a, b = shared.coords
    same = (a < b) & (shared.data > SAME * (weight[a] + weight[b] - shared.data))
    rivals: dict[int, list[int]] = {}
    for i, j in zip(a[same].tolist(), b[same].tolist(), strict=True):
        rivals.setdefault(i, []).append(j)
        rivals.setdefault(j, []).append(i)
    repeated = np.zeros(n, bool)
    for c in np.lexsort((np.arange(n), -weight)).tolist():
        if not repeated[c]:
            repeated[rivals.get(c, [])] = True
    return repeated


def find_conflicts(hypotheses: Prototypes, evidence: Evidence) -> NDArray[np.int64]:
    """Return the pairs of hypotheses that exclude each other, shape (E, 2).

    Overlap alone does not tell: the masks of touching objects overlap along the uncertain border between
    them. Such objects occur side by side in the samples, while a merged object and its parts do not. So a
    moderate overlap excludes only those that occur together, as distinct objects, in less than half as many
    samples as independent objects would.
    """
    first, second, shared = self_contacts(hypotheses.runs)
    part = shared / np.minimum(hypotheses.runs.areas[first], hypotheses.runs.areas[second])
    close = part > TOUCH
    first, second, part = first[close], second[close], part[close]
    members = evidence.contacts.members
    a, b = members[first], members[second]
    together = evidence.stack.support((a >= 0) & (b >= 0) & (a != b))
    independent = evidence.existence[first] * evidence.existence[second] * evidence.stack.total
    excluded = (part > ENGULF) | (2 * together < independent)
    return np.stack([first[excluded], second[excluded]], axis=1)
