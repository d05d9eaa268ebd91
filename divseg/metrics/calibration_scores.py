"""Scores of confidences and intervals: D-ECE, Brier score, coverage, interval score."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError
from divseg.metrics.matching import check_threshold
from divseg.metrics.overlap import count_overlap


def object_hits(pred: ArrayLike, truth: ArrayLike, iou: float = 0.5) -> pd.DataFrame:
    """Mark the predicted objects that are true positives.

    Pairs are taken one to one, in order of falling IoU ("greedy"), as long as their IoU is above `iou`. From
    0.5 on, an object has at most one partner and the order does not matter.

    Parameters
    ----------
    pred, truth : array-like of integers or bool, same shape, 2-D or 3-D
        Label images, 0 = background.
    iou : float
        A hit has an IoU greater than this, in (0, 1].

    Returns
    -------
    pandas.DataFrame
        One row for each predicted object, by ascending label: ``label``, ``hit`` (bool), ``iou`` (with its
        partner, or the best with any reference object if it has none), ``truth_label`` and ``truth_area``
        in pixels (of the partner; 0 and NaN without one).

    Raises
    ------
    InputError
        Different shapes, not integers, negative labels, impossible `iou`.
    """
    limit = check_threshold(iou)
    overlap = count_overlap(pred, truth)
    best, area = np.zeros(overlap.n_pred), np.full(overlap.n_pred, np.nan)
    np.maximum.at(best, overlap.pred_index, overlap.iou)
    partner = np.zeros(overlap.n_pred, overlap.truth_labels.dtype)
    hit, taken = np.zeros(overlap.n_pred, bool), np.zeros(overlap.n_true, bool)
    order = np.argsort(-overlap.iou, kind="stable")
    for pair in order[overlap.iou[order] > limit]:
        p, t = overlap.pred_index[pair], overlap.truth_index[pair]
        if not hit[p] and not taken[t]:
            hit[p] = taken[t] = True
            best[p], partner[p], area[p] = overlap.iou[pair], overlap.truth_labels[t], overlap.truth_areas[t]
    columns = {
        "label": overlap.pred_labels,
        "hit": hit,
        "iou": best,
        "truth_label": partner,
        "truth_area": area,
    }
    return pd.DataFrame(columns).sort_values("label", ignore_index=True)


def reliability_curve(confidence: ArrayLike, hit: ArrayLike, *, bins: int = 10, adaptive: bool = False) -> pd.DataFrame:
    """Compare confidence with the fraction of hits, bin by bin.

    Parameters
    ----------
    confidence : array-like of float, shape (N,)
        Probability that each object exists, in [0, 1].
    hit : array-like of bool, shape (N,)
        Whether it does, as from `object_hits`.
    bins : int
        Number of bins: equally wide over [0, 1], closed on the right (0 belongs to the first).
    adaptive : bool
        Bins with about equally many objects instead; equal confidences stay together, so there may be fewer.

    Returns
    -------
    pandas.DataFrame
        One row for each bin that holds objects: ``low high`` (its edges), ``n``, ``confidence`` (mean),
        ``precision`` (fraction of hits).

    Raises
    ------
    InputError
        Different lengths, confidences outside [0, 1], hits other than 0 and 1, fewer than one bin.
    """
    values, hits = _confidences(confidence, hit)
    if bins < 1:
        raise InputError(f"bins={bins} is impossible: at least one bin is needed")
    columns = ["low", "high", "n", "confidence", "precision"]
    if not len(values):
        return pd.DataFrame({name: pd.Series(dtype=int if name == "n" else float) for name in columns})
    edges = np.arange(bins + 1) / bins
    if adaptive:
        inner = np.sort(values)[-(-len(values) * np.arange(1, bins) // bins) - 1]  # last value of each bin
        edges = np.unique(np.concatenate([[0.0], inner[inner < values.max()], [1.0]]))
    position = np.maximum(np.searchsorted(edges, values, side="left") - 1, 0)
    n = np.bincount(position, minlength=len(edges) - 1)
    used = n > 0
    sums = [np.bincount(position, weights=w, minlength=len(n))[used] / n[used] for w in (values, hits)]
    return pd.DataFrame(dict(zip(columns, [edges[:-1][used], edges[1:][used], n[used], *sums], strict=True)))


def d_ece(confidence: ArrayLike, hit: ArrayLike, *, bins: int = 10, adaptive: bool = False) -> float:
    """Return the detection expected calibration error, D-ECE.

    It is the sum over bins of n_b / n * abs(mean confidence - precision).

    Parameters
    ----------
    confidence, hit, bins, adaptive
        As for `reliability_curve`.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN without objects. It ignores missed objects, and a constant
        confidence can make it 0: report it together with the Brier score and an accuracy.

    Notes
    -----
    Küppers et al. 2020, CVPR workshops, "Multivariate confidence calibration for object detection"
    (arXiv 2004.13546), with the confidence as the only binned quantity.
    """
    curve = reliability_curve(confidence, hit, bins=bins, adaptive=adaptive)
    if curve.empty:
        return np.nan
    return float(np.average((curve["confidence"] - curve["precision"]).abs(), weights=curve["n"]))


def brier(confidence: ArrayLike, hit: ArrayLike) -> float:
    """Brier score: mean squared difference of confidence and hit (Brier 1950).

    Parameters
    ----------
    confidence, hit
        As for `reliability_curve`.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN without objects.
    """
    values, hits = _confidences(confidence, hit)
    return float(np.mean((values - hits) ** 2)) if len(values) else np.nan


def interval_coverage(low: ArrayLike, high: ArrayLike, value: ArrayLike) -> float:
    """Fraction of true values that lie within their interval, ends included.

    Parameters
    ----------
    low, high, value : array-like of float, shape (N,)
        Intervals and true values; entries with a NaN among the three are left out (objects without a
        partner).

    Returns
    -------
    float
        To be compared with the nominal coverage; NaN without entries.

    Raises
    ------
    InputError
        Different lengths, or an interval with low above high.
    """
    below, above, true = _intervals(low, high, value)
    return float(np.mean((below <= true) & (true <= above))) if len(true) else np.nan


def interval_score(low: ArrayLike, high: ArrayLike, value: ArrayLike, *, coverage: float = 0.9) -> float:
    """Mean interval score of Winkler: width, plus 2 / alpha times the distance by which a value is missed.

    Parameters
    ----------
    low, high, value : array-like of float, shape (N,)
        As for `interval_coverage`.
    coverage : float
        Nominal coverage 1 - alpha of the intervals, between 0 and 1.

    Returns
    -------
    float
        In the unit of the values, smaller is better; NaN without entries.

    Raises
    ------
    InputError
        Different lengths, an interval with low above high, or impossible coverage.

    Notes
    -----
    Gneiting and Raftery 2007, doi 10.1198/016214506000001437, eq. 43.
    """
    if not 0 < coverage < 1:
        raise InputError(f"coverage={coverage} is impossible: give a number between 0 and 1, for example 0.9")
    below, above, true = _intervals(low, high, value)
    missed = np.maximum(below - true, 0) + np.maximum(true - above, 0)
    return float(np.mean(above - below + 2 / (1 - coverage) * missed)) if len(true) else np.nan


def _same_length(**arrays: ArrayLike) -> list[NDArray[np.float64]]:
    flat = []
    for name, values in arrays.items():
        try:
            flat.append(np.asarray(values, float).ravel())
        except (TypeError, ValueError):
            raise InputError(f"{name} must hold numbers only") from None
    lengths = {name: len(values) for name, values in zip(arrays, flat, strict=True)}
    if len(set(lengths.values())) > 1:
        words = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise InputError(f"different numbers of entries: {words}; give one of each for every object")
    return flat


def _confidences(confidence: ArrayLike, hit: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values, hits = _same_length(confidence=confidence, hit=hit)
    for array, good, name, words in (
        (values, (values >= 0) & (values <= 1), "confidence", "between 0 and 1"),
        (hits, (hits == 0) | (hits == 1), "hit", "true or false"),
    ):
        if not good.all():
            raise InputError(f"{name} holds {array[~good][0]:g}; every entry must be {words}")
    return values, hits


def _intervals(low: ArrayLike, high: ArrayLike, value: ArrayLike) -> list[NDArray[np.float64]]:
    arrays = _same_length(low=low, high=high, value=value)
    complete = ~np.isnan(arrays).any(axis=0)
    below, above, true = (array[complete] for array in arrays)
    if (wrong := below > above).any():
        raise InputError(
            f"an interval runs from {below[wrong][0]:g} down to {above[wrong][0]:g}; low must not exceed high"
        )
    return [below, above, true]
