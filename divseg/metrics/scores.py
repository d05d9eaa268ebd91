"""Scores of one label image against its ground truth: SEG, DET, AP, F1, PQ and AJI."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError
from divseg.metrics.matching import check_threshold, heaviest_matching, match
from divseg.metrics.overlap import Overlap, count_overlap, split_pieces

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""IoU thresholds of the Data Science Bowl 2018; mAP is the mean over them."""

SHOWN = ("map", "ap50", "ap75", "seg", "det", "f1", "pq", "aji")
"""Scores that are printed."""

DET_WEIGHTS = (5.0, 10.0, 1.0)
"""Costs of a split, a missed and an extra object in the Cell Tracking Challenge's AOGM-D."""


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """Scores of one label image; all lie in [0, 1] or are NaN if there is nothing to score.

    No objects in prediction and truth: every score is NaN, so that the image has weight 0 in a mean. Objects
    in the prediction alone: AP, F1, PQ and AJI are 0, SEG and DET are NaN (0/0). Objects in the truth alone:
    every score is 0. With partial truth only SEG is defined, and DET if extra objects cost nothing.

    Attributes
    ----------
    n_true, n_pred : int
        Number of reference and predicted objects.
    seg : float
        Mean over the reference objects R of IoU(R, S), where S is the object that covers more than half of R,
        or 0 if none does (Cell Tracking Challenge, SEG).
    det : float
        1 - min(AOGM-D, AOGM-D0) / AOGM-D0 with AOGM-D = 5 splits + 10 missed + 1 extra and AOGM-D0 =
        10 n_true, objects paired as for SEG; an object paired with n references counts n - 1 splits
        (Cell Tracking Challenge, DET; Matula et al. 2015, doi 10.1371/journal.pone.0144959).
    thresholds : float64 array, shape (T,)
        IoU thresholds of the arrays below.
    tp, fp, fn : arrays, shape (T,)
        True positives, false positives and false negatives of the one-to-one matching at IoU >= threshold;
        int64, or float64 NaN with partial truth.
    matched_iou : float64 array, shape (T,)
        Sum of the IoU of the true positives.
    aji : float
        Aggregated Jaccard index (Kumar et al. 2017, doi 10.1109/TMI.2017.2677499): every reference object
        takes the prediction of greatest IoU, several may take the same; areas of unpaired objects join the
        union.
    aji_plus : float
        The same with the one-to-one pairing of greatest total IoU (Graham et al. 2019, HoVer-Net).
    partial : bool
        Only a part of the objects was annotated.
    split_true, split_pred : int
        Objects added by splitting disconnected pieces; 0 unless that was asked for.

    Examples
    --------
    >>> import divseg
    >>> scores = divseg.evaluate([[1, 1, 0, 0], [1, 1, 0, 3]], [[1, 1, 0, 2], [1, 1, 0, 2]], thresholds=0.6)
    >>> scores.n_true, scores.n_pred, scores.tp.tolist(), scores.f1
    (2, 2, [1], 1.0)
    """

    n_true: int
    n_pred: int
    seg: float
    det: float
    aji: float
    aji_plus: float
    thresholds: NDArray[np.float64]
    tp: NDArray[Any]
    fp: NDArray[Any]
    fn: NDArray[Any]
    matched_iou: NDArray[np.float64]
    partial: bool = False
    split_true: int = 0
    split_pred: int = 0
    _sums: dict[str, float] = field(default_factory=dict)
    _at: dict[float, tuple[float, float]] = field(default_factory=dict)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name}={getattr(self, name):.4g}" for name in SHOWN)
        return f"Scores({scores}, n_true={self.n_true}, n_pred={self.n_pred})"

    def _repr_html_(self) -> str:
        names = [*SHOWN, "n_true", "n_pred"]
        values = [*(f"{getattr(self, name):.3f}" for name in SHOWN), self.n_true, self.n_pred]
        rows = ["".join(f"<{tag}>{cell}</{tag}>" for cell in cells) for tag, cells in (("th", names), ("td", values))]
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"

    @property
    def count_error(self) -> float:
        """Predicted minus reference objects; NaN with partial truth."""
        return np.nan if self.partial else self.n_pred - self.n_true

    @property
    def ap(self) -> NDArray[np.float64]:
        """AP at each threshold: TP / (TP + FP + FN), called accuracy in ``stardist.matching``."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def f1_at(self) -> NDArray[np.float64]:
        """F1 at each threshold: 2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def pq_at(self) -> NDArray[np.float64]:
        """PQ at each threshold: sum of IoU over TP / (TP + FP/2 + FN/2)."""
        return _ratio(self.matched_iou, self.tp + (self.fp + self.fn) / 2)

    @property
    def map(self) -> float:
        """Mean of AP over the thresholds (Data Science Bowl 2018); not the ranked AP of COCO."""
        return float(np.mean(self.ap))

    @property
    def ap50(self) -> float:
        """AP at IoU 0.5, independent of `thresholds`."""
        return self._single(0.5)[0]

    @property
    def ap75(self) -> float:
        """AP at IoU 0.75, independent of `thresholds`."""
        return self._single(0.75)[0]

    @property
    def f1(self) -> float:
        """F1 at IoU 0.5."""
        return self._single(0.5)[1]

    @property
    def pq(self) -> float:
        """Panoptic quality at IoU 0.5 (Kirillov et al. 2019, eq. 1)."""
        return self._single(0.5)[2]

    def _single(self, threshold: float) -> tuple[float, float, float]:
        tp, iou = self._at[threshold]
        both = self.n_true + self.n_pred
        top = np.array([tp, 2 * tp, iou])
        low = np.array([both - tp, both, both / 2])
        ap, f1, pq = _ratio(top, low).tolist()
        return ap, f1, pq

    def as_row(self) -> dict[str, Any]:
        """Return a flat row for a table; it also holds the sums from which images can be pooled.

        Returns
        -------
        dict
            ``n_true n_pred count_error seg det ap50 ap75 map f1 pq aji aji_plus partial``; ``thresholds``
            (those that ``map`` is the mean over, as one string); ``seg_sum`` (sum of the SEG IoU over the
            reference objects), ``matched_iou`` (sum of the IoU of true positives at 0.5), ``det_splits
            det_missed det_extra det_cost`` (the parts of AOGM-D, and AOGM-D itself), ``aji_shared aji_union
            aji_plus_shared aji_plus_union`` (pixels); and ``tp50 fp50 fn50 ...`` for every threshold, 0.5 and
            0.75, named by 100 times the IoU. Sums that belong to an undefined score are NaN.
        """
        row: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("n_true", "n_pred", "count_error", "seg", "det", "ap50", "ap75", "map", "f1", "pq")
        }
        row |= {"aji": self.aji, "aji_plus": self.aji_plus, "partial": self.partial}
        row["thresholds"] = " ".join(f"{t:g}" for t in self.thresholds)
        row |= self._sums
        row["matched_iou"] = self._at[0.5][1]
        for threshold, (tp, _) in sorted(self._at.items()):
            name = percent(threshold)
            row |= {f"tp{name}": tp, f"fp{name}": self.n_pred - tp, f"fn{name}": self.n_true - tp}
        return row


def score_labels(
    pred: ArrayLike,
    truth: ArrayLike,
    *,
    thresholds: float | Iterable[float] = THRESHOLDS,
    partial: bool = False,
    penalize_extra: bool = True,
    split_disconnected: bool = False,
) -> Scores:
    """Score a label image against its ground truth; see :func:`divseg.evaluate`."""
    wanted = check_thresholds(thresholds)
    added = (0, 0)
    if split_disconnected:
        (pred, more_pred), (truth, more_true) = split_pieces(pred, "pred"), split_pieces(truth, "truth")
        added = (more_true, more_pred)
    overlap = count_overlap(pred, truth)
    n_true, n_pred = overlap.n_true, overlap.n_pred
    covering = 2 * overlap.shared > overlap.truth_areas[overlap.truth_index]
    seg_sum = float(overlap.iou[covering].sum())
    paired, takers = int(covering.sum()), len(np.unique(overlap.pred_index[covering]))
    splits, missed, extra = paired - takers, n_true - paired, n_pred - takers
    cost = float(np.dot(DET_WEIGHTS, (splits, missed, extra if penalize_extra else 0)))
    worst = DET_WEIGHTS[1] * n_true
    sums = {
        "seg_sum": seg_sum,
        "det_splits": splits,
        "det_missed": missed,
        "det_extra": extra,
        "det_cost": cost,
    }
    aji, aji_plus = _aji(overlap), _aji_plus(overlap)
    sums |= dict(zip(("aji_shared", "aji_union", "aji_plus_shared", "aji_plus_union"), aji + aji_plus, strict=True))
    at = {t: _matched(overlap, t) for t in {*wanted, 0.5, 0.75}}
    if partial:
        hidden = set(sums) - {"seg_sum"} - (set() if penalize_extra else {"det_splits", "det_missed", "det_cost"})
        sums |= dict.fromkeys(sorted(hidden), np.nan)
        aji = aji_plus = (np.nan, np.nan)
        at = dict.fromkeys(at, (np.nan, np.nan))
    tp = np.array([at[t][0] for t in wanted], float if partial else np.int64)
    return Scores(
        n_true=n_true,
        n_pred=n_pred,
        seg=seg_sum / n_true if n_true else np.nan,
        det=1 - min(cost, worst) / worst if n_true and not (partial and penalize_extra) else np.nan,
        aji=float(_ratio(*map(np.array, aji))),
        aji_plus=float(_ratio(*map(np.array, aji_plus))),
        thresholds=np.array(wanted),
        tp=tp,
        fp=n_pred - tp,
        fn=n_true - tp,
        matched_iou=np.array([at[t][1] for t in wanted]),
        partial=partial,
        split_true=added[0],
        split_pred=added[1],
        _sums=sums,
        _at=at,
    )


def percent(threshold: float) -> str:
    """Name a threshold as in the columns of a score table: 0.5 is "50"."""
    return f"{100 * threshold:.7g}"


def check_thresholds(thresholds: float | Iterable[float]) -> list[float]:
    """Return IoU thresholds as a list, each in (0, 1].

    Raises
    ------
    InputError
        There are none, or one is not a number above 0 and up to 1.
    """
    values = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    if not values:
        raise InputError("there are no IoU thresholds: give at least one, for example 0.5")
    return [check_threshold(value) for value in values]


def _matched(overlap: Overlap, threshold: float) -> tuple[float, float]:
    pairs = match(overlap, threshold)
    return len(pairs), float(overlap.iou[pairs].sum())


def _aji(overlap: Overlap) -> tuple[float, float]:
    """Pixels of intersection and union; of equal IoU the pair met first in raster order is taken."""
    order = np.lexsort((-overlap.iou, overlap.truth_index))
    return _joined(overlap, order[np.unique(overlap.truth_index[order], return_index=True)[1]])


def _aji_plus(overlap: Overlap) -> tuple[float, float]:
    return _joined(overlap, heaviest_matching(overlap.pred_index, overlap.truth_index, overlap.iou))


def _joined(overlap: Overlap, pairs: NDArray[np.int64]) -> tuple[float, float]:
    """Intersection and union summed over pairs, areas of objects in no pair added to the union."""
    alone_pred, alone_true = np.ones(overlap.n_pred, bool), np.ones(overlap.n_true, bool)
    alone_pred[overlap.pred_index[pairs]] = alone_true[overlap.truth_index[pairs]] = False
    outside = overlap.pred_areas[alone_pred].sum() + overlap.truth_areas[alone_true].sum()
    return int(overlap.shared[pairs].sum()), int(overlap.union[pairs].sum() + outside)


def _ratio(top: NDArray[Any], low: NDArray[Any]) -> NDArray[np.float64]:
    """Divide; 0/0 is NaN, without a warning."""
    return np.divide(top, low, out=np.full(np.shape(top), np.nan), where=np.asarray(low) != 0)
