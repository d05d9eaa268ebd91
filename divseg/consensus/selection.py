"""Choice among hypotheses for the greatest expected score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from divseg.consensus.evidence import ObjectEvidence
from divseg.consensus.packing import pack

OBJECTIVES = ("map", "ap50", "f1", "pq", "seg")
"""Scores that the selection can maximise."""

MAX_STEPS = 30


def select(
    evidence: ObjectEvidence,
    conflicts: NDArray[np.int64],
    objective: str,
    existence: float | None,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Choose hypotheses, no two of them in conflict, for the greatest expected score.

    SEG is a sum over the chosen objects, so that one set packing is exact. The others are ratios (AP, F1, PQ) or
    means of ratios (mAP) of expected counts, J = mean over t of TP_t / (m + n - TP_t) with m chosen objects, n
    objects in the mean sample and TP_t the sum of the objects' hit rates q_t. Setting the weight of an object to
    the derivative of J in its direction and packing again is Dinkelbach's iteration for one ratio (1967); the
    implied threshold on the hit rate is J / (1 + J) <= 1/2 (Lipton et al., ECML 2014, for F1). The best set of all
    iterations is returned.

    Parameters
    ----------
    evidence : ObjectEvidence
        Statistics of the hypotheses.
    conflicts : int64 array, shape (E, 2)
        Pairs that exclude each other.
    objective : str
        One of OBJECTIVES.
    existence : float or None
        If not None, the hypotheses with at least this existence are candidates, and those of greatest
        mean hit rate over the IoU thresholds are chosen among them, whatever the objective.
    allowed : bool array, shape (n,), optional
        Hypotheses that may be chosen, all by default.

    Returns
    -------
    bool array, shape (n,)
    """
    may = np.ones(evidence.n, bool) if allowed is None else allowed
    if existence is not None:
        enough = may & (evidence.existence >= existence - 1e-9)
        return pack(np.where(enough, evidence.hit_rates.mean(axis=0) + 1e-6, 0.0), conflicts)
    if objective == "seg":
        return pack(np.where(may, evidence.seg_gain, 0.0), conflicts)
    gains, jaccard = _gains(evidence, objective)
    gains = np.where(may, gains, 0.0)
    n_mean = float(evidence.stack.mean(evidence.stack.counts))
    chosen = pack(gains.mean(axis=0), conflicts)
    best, best_score = chosen, _score(gains, chosen, n_mean, jaccard)
    for _ in range(MAX_STEPS):
        weight = _slope(gains, chosen, n_mean, jaccard)
        following = pack(np.where(weight > 1e-12, weight, 0.0), conflicts)
        score = _score(gains, following, n_mean, jaccard)
        if score > best_score + 1e-12:
            best, best_score = following, score
        if np.array_equal(following, chosen):
            break
        chosen = following
    return best


def _gains(evidence: ObjectEvidence, objective: str) -> tuple[NDArray[np.float64], bool]:
    """Return the expected true positives of each object for each ratio, (T, n), and if it is a Jaccard ratio."""
    if objective == "map":
        return evidence.hit_rates, True
    if objective == "ap50":
        return evidence.hit_rates[:1], True
    return (evidence.hit_rates[:1] if objective == "f1" else evidence.iou_rate[None]), False


def _score(gains: NDArray[np.float64], chosen: NDArray[np.bool_], n_mean: float, jaccard: bool) -> float:
    tp = gains[:, chosen].sum(axis=1)
    both = chosen.sum() + n_mean
    if both == 0:
        return 0.0
    return float((tp / (both - tp) if jaccard else 2 * tp / both).mean())


def _slope(gains: NDArray[np.float64], chosen: NDArray[np.bool_], n_mean: float, jaccard: bool) -> NDArray[np.float64]:
    """Return the derivative of the score in the direction of each object."""
    tp = gains[:, chosen].sum(axis=1, keepdims=True)
    both = chosen.sum() + n_mean
    if both == 0:
        return gains.mean(axis=0)
    if jaccard:
        return ((both * gains - tp) / (both - tp) ** 2).mean(axis=0)
    return (2 * (both * gains - tp) / both**2).mean(axis=0)
