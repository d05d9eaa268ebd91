"""From posterior frequencies to probabilities: calibration on images with ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from divseg.errors import InputError
from divseg.metrics.calibration import LABELS, SIMULATED, Calibration, Curve, check_columns, object_score
from divseg.metrics.calibration_scores import brier, d_ece, interval_coverage, object_hits, reliability_curve
from divseg.metrics.matching import check_threshold
from divseg.metrics.risk import fit_risk
from divseg.metrics.scores import THRESHOLDS, score_labels

MIN_OBJECTS, MIN_IMAGES = 100, 5
"""Fewest predicted objects and images to calibrate on."""

LEAST = {LABELS: (MIN_OBJECTS, MIN_IMAGES), SIMULATED: (20, 2)}
"""The same by source: more simulated images can always be had, labelled ones are chance."""

NEEDED_OF_IMAGE = ("count_q05", "count_q95", "expected_map", "expected_seg")
"""Columns of images.csv that calibration reads."""

MEASURES = ("d_ece", "brier", "area_coverage", "count_coverage", "map_error", "seg_error")
"""What is measured of a calibration."""

FOLDS = 5
"""Parts of the images that are left out in turn, to measure the calibration on new images."""


class TooFewObjects(InputError):
    """Too few objects, or images, to calibrate on; `fraction` is what there is of the objects that are needed."""

    def __init__(self, message: str, fraction: float) -> None:
        super().__init__(message)
        self.fraction = fraction

    def __reduce__(self) -> tuple[Any, ...]:  # so that it survives the way back from a worker process
        return type(self), (self.args[0], self.fraction)


class Fusion(Protocol):
    """What calibration reads of a :class:`divseg.Consensus`."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Label image."""

    @property
    def objects(self) -> pd.DataFrame:
        """A row per label, with the columns NEEDED."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """Objects of each sample."""

    @property
    def expected(self) -> dict[str, float]:
        """Scores with each sample in turn as truth."""

    @property
    def method(self) -> str:
        """Fusion method."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One image with ground truth: what the consensus says of its objects, and what is true.

    Attributes
    ----------
    existence, score : float64 arrays, shape (n,)
        Fraction of samples that hold each object, and what its confidence is computed from (:func:`object_score`).
    iou : float64 array, shape (n,)
        IoU with the true partner, or the best with any true object.
    hit : bool array, shape (n,)
        Whether the object is a true positive.
    area_low, area_high, true_area : float64 arrays, shape (n,)
        5 and 95 % quantiles over the members, and area of the true partner (NaN without one).
    count_low, count_high : float
        5 and 95 % quantiles of the number of objects over the samples.
    n_true : int
        True number of objects.
    expected_map, expected_seg : float
        mAP and SEG with the samples as truth.
    map, seg : float
        True mAP and SEG.
    """

    existence: NDArray[np.float64]
    score: NDArray[np.float64]
    iou: NDArray[np.float64]
    hit: NDArray[np.bool_]
    area_low: NDArray[np.float64]
    area_high: NDArray[np.float64]
    true_area: NDArray[np.float64]
    count_low: float
    count_high: float
    n_true: int
    expected_map: float
    expected_seg: float
    map: float
    seg: float


def calibrate(
    results: Iterable[Fusion], truths: Iterable[ArrayLike], *, iou: float = 0.5, coverage: float = 0.9
) -> Calibration:
    """Learn from images with ground truth how often objects of a given posterior frequency are right.

    The fraction of samples that hold an object is not a probability of being right: errors common to all samples (of
    the segmenter, of the model) do not show in it. A monotone map (isotonic regression) from existence times mean
    IoU to the fraction of true positives corrects that, and conformal margins make the intervals of
    areas and counts cover as often as they should.

    Parameters
    ----------
    results : iterable of Consensus
        One for each image.
    truths : iterable of integer arrays
        Ground-truth label image of each, 0 = background.
    iou : float
        An object is right if its IoU with a true one is greater than this.
    coverage : float
        Fraction of true values that the intervals should cover, between 0 and 1.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        Fewer than 100 objects or 5 images; different numbers of results and truths; results of different methods;
        shapes that differ.

    Notes
    -----
    Isotonic regression: Zadrozny & Elkan, KDD 2002, doi 10.1145/775047.775151. Conformalised quantile regression:
    Romano, Patterson & Candes, NeurIPS 2019 (arXiv 1905.03222), theorem 1 with a margin of its own for each end,
    on the logarithm. Objects are pooled over images, so the guarantee is for a random object of images like these.

    Examples
    --------
    Of six images with 25 objects each, half of the objects that only some of the samples hold are true:

    >>> import numpy as np, divseg
    >>> grid = np.kron(np.arange(1, 26).reshape(5, 5), np.pad(np.ones((4, 4), int), 1))
    >>> results, truths = [], []
    >>> for _ in range(6):
    ...     samples = np.stack([grid * ((grid <= 15) | (k < 4)) for k in range(8)])
    ...     results.append(divseg.fuse(samples, existence=0.25))
    ...     truths.append(grid * (grid <= 20))
    >>> calibration = divseg.calibrate(results, truths)
    >>> objects = calibration.apply(results[0].objects)
    >>> objects.groupby("existence")["p_true"].mean().round(2).to_dict()
    {0.5: 0.5, 1.0: 0.99}
    """
    results, truths = list(results), list(truths)
    if len(results) != len(truths):
        raise InputError(f"{len(results)} results but {len(truths)} truths: give one truth for each result")
    methods = sorted({result.method for result in results})
    if len(methods) > 1:
        raise InputError(f"results of different methods ({', '.join(methods)}) cannot be calibrated together")
    outcomes = []
    for result, truth in zip(results, truths, strict=True):
        outcomes.append(compare_result(result, truth, iou=iou))
    return fit_outcomes(outcomes, method=methods[0] if methods else "", iou=iou, coverage=coverage)


def compare_result(result: Fusion, truth: ArrayLike, *, iou: float = 0.5) -> Outcome:
    """Compare a consensus with its truth; arguments as for :func:`calibrate`."""
    low, high = np.quantile(np.asarray(result.counts, float), (0.05, 0.95)).tolist()
    row = dict(zip(NEEDED_OF_IMAGE, (low, high, result.expected["map"], result.expected["seg"]), strict=True))
    return outcome(result.labels, result.objects, truth, row, iou=iou)


def outcome(
    labels: NDArray[np.integer],
    objects: pd.DataFrame,
    truth: ArrayLike,
    row: Mapping[str, float],
    *,
    iou: float = 0.5,
) -> Outcome:
    """Compare one image's consensus with its truth.

    Parameters
    ----------
    labels, objects, truth, iou
        As in :class:`Fusion` and :func:`calibrate`.
    row : mapping
        What :data:`NEEDED_OF_IMAGE` names of the row of ``images.csv``.
    """
    check_columns(objects)
    hits = object_hits(labels, truth, iou).set_index("label")
    if set(hits.index) != set(objects["label"]):
        raise InputError("the object table and the label image do not belong together: they hold different labels")
    hits, scores = hits.loc[objects["label"]], score_labels(labels, truth)
    low, high, expected_map, expected_seg = (float(row[name]) for name in NEEDED_OF_IMAGE)
    return Outcome(
        objects["existence"].to_numpy(float),
        object_score(objects),
        hits["iou"].to_numpy(float),
        hits["hit"].to_numpy(bool),
        objects["area_q05"].to_numpy(float),
        objects["area_q95"].to_numpy(float),
        hits["truth_area"].to_numpy(float),
        low,
        high,
        int(np.count_nonzero(np.unique(np.asarray(truth)))),
        expected_map,
        expected_seg,
        scores.map,
        scores.seg,
    )


def fit_outcomes(
    outcomes: Sequence[Outcome],
    *,
    method: str,
    source: str = LABELS,
    images: Sequence[int] | None = None,
    iou: float = 0.5,
    coverage: float = 0.9,
    settings: Mapping[str, Any] | None = None,
) -> Calibration:
    """Calibrate on outcomes; see :func:`calibrate`.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One for each image and truth.
    method, source, settings
        As in :class:`Calibration`.
    images : sequence of int, optional
        Number of the image of each outcome, if images have several truths: all of them weigh the same, and the check
        leaves out all of an image together.
    iou, coverage
        As for :func:`calibrate`.
    """
    iou = check_threshold(iou)
    if not 0 < coverage < 1:
        raise InputError(f"coverage={coverage} is impossible: give a number between 0 and 1, for example 0.9")
    images = range(len(outcomes)) if images is None else images
    sizes, (least, fewest) = {i: len(o.hit) for i, o in zip(images, outcomes, strict=True)}, LEAST[source]
    n_objects = sum(sizes.values())
    if len(sizes) < fewest or n_objects < least:
        more = "give more images with truth" if source == LABELS else "simulate more images"
        kind = "images" if source == LABELS else "simulated images"
        raise TooFewObjects(
            f"{n_objects} objects in {len(sizes)} {kind} are too few to calibrate on: with less than {least} objects "
            f"or {fewest} images the result would be chance; {more}",
            n_objects / least,
        )
    made = replace(_fit(outcomes, source, iou, coverage, method), n_images=len(sizes), n_objects=n_objects)
    pairs = _left_out(outcomes, images, made)
    check, reliability = measure_calibration(pairs), _reliability(pairs)
    return replace(made, check=check, reliability=reliability, settings=dict(settings or {}))


def measure_calibration(pairs: Sequence[tuple[Calibration, Outcome]]) -> dict[str, float]:
    """Measure calibration on images with ground truth, before and after.

    Parameters
    ----------
    pairs : sequence of (Calibration, Outcome)
        Images, each with a calibration that was made without it.

    Returns
    -------
    dict of str to float
        :data:`MEASURES`, each ``_before`` and ``_after``; before, the
        confidence is the existence, the intervals are the quantiles over the samples, and scores are expected with the
        samples as truth. The error of a score is that of its mean over the images, expected minus true. NaN if there is
        nothing to measure.
    """
    if not pairs:
        return {f"{name}_{when}": np.nan for name in MEASURES for when in ("before", "after")}
    hit = np.concatenate([o.hit for _, o in pairs])
    before = np.concatenate([o.existence for _, o in pairs])
    after = np.concatenate([c.p_true(o.score) for c, o in pairs])
    area = np.concatenate([np.stack([o.area_low, o.area_high, o.true_area]) for _, o in pairs], axis=1)
    missing = [np.full((2, len(o.hit)), np.nan) for _, o in pairs]
    limits = [c.area_intervals(o.area_low, o.area_high) or u for (c, o), u in zip(pairs, missing, strict=True)]
    wide = np.concatenate([np.stack(tuple(pair)) for pair in limits], axis=1)
    counts = np.array([[o.count_low, o.count_high, o.n_true] for _, o in pairs]).T
    ranges = np.array([c.count_interval(o.count_low, o.count_high) or (np.nan, np.nan) for c, o in pairs])
    return {
        "d_ece_before": d_ece(before, hit),
        "d_ece_after": d_ece(after, hit),
        "brier_before": brier(before, hit),
        "brier_after": brier(after, hit),
        "area_coverage_before": interval_coverage(area[0], area[1], area[2]),
        "area_coverage_after": interval_coverage(wide[0], wide[1], area[2]),
        "count_coverage_before": interval_coverage(counts[0], counts[1], counts[2]),
        "count_coverage_after": interval_coverage(ranges[:, 0], ranges[:, 1], counts[2]),
        **_score_errors(pairs),
    }


def _score_errors(pairs: Sequence[tuple[Calibration, Outcome]]) -> dict[str, float]:
    errors = {}
    for name in ("map", "seg"):
        true = np.array([getattr(o, name) for _, o in pairs])
        before = np.array([getattr(o, f"expected_{name}") for _, o in pairs])
        after = np.array([c.expected(o.score)[name] for c, o in pairs])
        for when, expected in (("before", before), ("after", after)):
            both = ~np.isnan(expected + true)
            errors[f"{name}_error_{when}"] = float(np.mean((expected - true)[both])) if both.any() else np.nan
    return errors


def _fit(outcomes: Sequence[Outcome], source: str, iou: float, coverage: float, method: str) -> Calibration:
    score, hit = (np.concatenate([getattr(o, name) for o in outcomes]) for name in ("score", "hit"))
    overlap = np.concatenate([o.iou for o in outcomes])
    low, high, true = (
        np.concatenate([getattr(o, n) for o in outcomes]) for n in ("area_low", "area_high", "true_area")
    )
    paired = ~np.isnan(low + high + true)
    side = (1 + coverage) / 2  # each end may be missed by half of what the interval may
    below = conformal_margin(np.log(low[paired]) - np.log(true[paired]), side)
    above = conformal_margin(np.log(true[paired]) - np.log(high[paired]), side)
    missed = [
        max(np.log1p(o.count_low) - np.log1p(o.n_true), np.log1p(o.n_true) - np.log1p(o.count_high)) for o in outcomes
    ]
    n_true = sum(o.n_true for o in outcomes)
    return Calibration(
        source=source,
        iou=iou,
        coverage=coverage,
        method=method,
        n_images=len(outcomes),
        n_objects=len(hit),
        p_true=fit_curve(score, hit),
        overlap=tuple(fit_curve(score, overlap >= t) for t in THRESHOLDS),
        found=float(np.count_nonzero(overlap >= THRESHOLDS[0]) / n_true) if n_true else np.nan,
        area=None if below is None or above is None else (below, above),
        count=conformal_margin(np.array(missed), coverage),
        risk=fit_risk([o.score for o in outcomes], [o.hit for o in outcomes]) if source == LABELS else None,
    )


def _left_out(
    outcomes: Sequence[Outcome], images: Sequence[int], made: Calibration
) -> list[tuple[Calibration, Outcome]]:
    """Calibrate on four fifths of the images, for every fifth, to measure on it; never an image in both."""
    pairs: list[tuple[Calibration, Outcome]] = []
    for part in range(FOLDS):
        rest = [o for i, o in zip(images, outcomes, strict=True) if i % FOLDS != part]
        if not any(len(o.hit) for o in rest):
            continue
        fitted = _fit(rest, made.source, made.iou, made.coverage, made.method)
        pairs += [(fitted, o) for i, o in zip(images, outcomes, strict=True) if i % FOLDS == part]
    return pairs


def _reliability(pairs: Sequence[tuple[Calibration, Outcome]]) -> dict[str, list[list[float]]]:
    if not pairs:
        return {}
    hit = np.concatenate([o.hit for _, o in pairs])
    values = {
        "existence": np.concatenate([o.existence for _, o in pairs]),
        "p_true": np.concatenate([c.p_true(o.score) for c, o in pairs]),
    }
    columns = ["confidence", "precision", "n"]
    return {name: reliability_curve(v, hit)[columns].to_numpy(float).tolist() for name, v in values.items()}


def fit_curve(score: ArrayLike, hit: ArrayLike) -> Curve:
    """Fit the probability of a hit as a monotone function of a score.

    Parameters
    ----------
    score : array-like of float, shape (N,)
        Finite.
    hit : array-like of bool, shape (N,)

    Returns
    -------
    Curve
        Knots lie at the mean score of each level of the isotonic regression.

    Notes
    -----
    Pool adjacent violators, then a level of n objects with h hits gets (h + 1/2) / (n + 1), the posterior mean
    under Jeffreys' prior, so that three hits out of three do not become certainty; levels are pooled again where that
    breaks the order, and joined by straight lines (centred isotonic regression, Oron & Flournoy 2017,
    doi 10.1080/19466315.2017.1286256).
    """
    score, hit = np.asarray(score, float), np.asarray(hit, float)
    values, n = np.unique(score, return_counts=True)
    hits = np.bincount(np.searchsorted(values, score), hit, minlength=len(values))
    level = _levels(hits / n, n)
    count = np.bincount(level, n)
    fraction = (np.bincount(level, hits) + 0.5) / (count + 1)
    centre = np.bincount(level, values * n) / count
    again = _levels(fraction, count)
    weight = np.bincount(again, count)
    x = np.bincount(again, centre * count) / weight
    y = np.bincount(again, fraction * count) / weight
    return Curve(x.tolist(), np.maximum.accumulate(y).tolist())


def _levels(fraction: NDArray[np.float64], weight: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the level 0.. of the isotonic regression that each value belongs to."""
    blocks = isotonic_regression(fraction, weights=weight.astype(float)).blocks
    return np.repeat(np.arange(len(blocks) - 1), np.diff(blocks))


def conformal_margin(misses: NDArray[np.float64], coverage: float) -> float | None:
    """Return the margin that makes an interval cover a new value with the probability `coverage`.

    Parameters
    ----------
    misses : float64 array, shape (n,)
        By how much each true value lies outside its interval; negative inside.
    coverage : float
        In (0, 1).

    Returns
    -------
    float or None
        The ceil((n + 1) * coverage)-th smallest miss; None if n is too small for that (Romano et al., NeurIPS
        2019, eq. 5).
    """
    n = len(misses)
    rank = int(np.ceil((n + 1) * coverage - 1e-9))
    return float(np.sort(misses)[rank - 1]) if 1 <= rank <= n else None
