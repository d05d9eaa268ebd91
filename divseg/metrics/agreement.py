"""How far groups of label images agree with each other: weights without ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from divseg.errors import InputError
from divseg.metrics.scores import score_labels

MAX_MEMBERS = 6
"""Most label images of a group that are compared with another group."""


def agreement_weights(groups: Sequence[Sequence[ArrayLike]], *, first: float | None = None) -> list[float]:
    """Return the fraction of the votes of each group of label images, by its mean agreement with the other groups.

    A group whose objects no other group confirms counts little. It is the idea of views that differ in their errors
    (Blum and Mitchell, COLT 1998) with the simplest weights: a group's mean mAP with the others.

    Parameters
    ----------
    groups : sequence of sequences of integer arrays
        Label images of one image, 0 = background; a group holds those that came about in one way.
    first : float, optional
        Fraction of the votes of the first group, whatever it agrees with, from 0 to 1; the others divide the rest.

    Returns
    -------
    list of float
        Weight of each group, with sum 1.

    Raises
    ------
    InputError
        No groups, or an empty one; an impossible fraction.
    """
    if not groups or not all(len(group) for group in groups):
        raise InputError("weights by agreement need at least one label image in every group")
    if first is not None and not 0 <= first <= 1:
        raise InputError(f"first={first!r} is not a fraction of the votes: give a number from 0 to 1")
    if len(groups) == 1:
        return [1.0]
    count = len(groups)
    agreement = np.zeros((count, count))
    for a in range(count):
        for b in range(a + 1, count):
            pairs = zip(_spread(groups[a], groups[b]), _spread(groups[b], groups[a]), strict=True)
            scores = [np.nan_to_num(score_labels(x, y).map, nan=1.0) for x, y in pairs]  # both empty: they agree
            agreement[a, b] = agreement[b, a] = np.mean(scores)
    total = agreement.sum(axis=1) + 1e-6
    if first is not None:
        total[1:] *= (1 - first) / total[1:].sum()
        total[0] = first
    return [float(w) for w in total / total.sum()]


def _spread(group: Sequence[ArrayLike], other: Sequence[ArrayLike]) -> list[ArrayLike]:
    """As many members of a group as both lists need, spread evenly and repeated if they are few."""
    count = min(MAX_MEMBERS, max(len(group), len(other)))
    return [group[i] for i in np.linspace(0, len(group) - 1, count).round().astype(int)]
