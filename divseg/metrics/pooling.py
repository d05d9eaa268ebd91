"""Scores of many images together, from the sums that each image's score row carries."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.errors import InputError
from divseg.metrics.scores import DET_WEIGHTS, percent


def pooled_scores(rows: pd.DataFrame) -> dict[str, float]:
    """Pool the images of one method.

    Counts are summed over the rows before the ratio is taken, so that images weigh by their objects, and an
    image without any weighs nothing. SEG is the mean over the reference objects of all images, DET caps the
    summed AOGM-D by the summed AOGM-D0: both as the Cell Tracking Challenge scores a sequence.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows as from :meth:`divseg.metrics.Scores.as_row`, perhaps read back from CSV.

    Returns
    -------
    dict
        ``map_pooled ap50_pooled ap75_pooled seg_pooled det_pooled f1_pooled pq_pooled aji_pooled
        aji_plus_pooled``; NaN where the sums are absent, undefined or zero.

    Raises
    ------
    InputError
        Rows with different IoU thresholds.
    """
    return {
        "map_pooled": float(np.mean([_ap(rows, t) for t in _thresholds(rows)])),
        "ap50_pooled": _ap(rows, "50"),
        "ap75_pooled": _ap(rows, "75"),
        "seg_pooled": _over(rows, "seg_sum", "n_true"),
        "det_pooled": _det(rows),
        "f1_pooled": _f1(rows),
        "pq_pooled": _pq(rows),
        "aji_pooled": _over(rows, "aji_shared", "aji_union"),
        "aji_plus_pooled": _over(rows, "aji_plus_shared", "aji_plus_union"),
    }


def _thresholds(rows: pd.DataFrame) -> list[str]:
    """Column endings of the thresholds that mAP is the mean over."""
    if "thresholds" not in rows:
        return ["50"]  # no counts either: the mean of one NaN
    texts = list(dict.fromkeys(rows["thresholds"].astype(str)))
    if len(texts) > 1:
        raise InputError(
            f"rows with IoU thresholds {texts[0]!r} and {texts[1]!r} cannot be pooled: "
            "evaluate all images with the same ones"
        )
    return [percent(float(word)) for word in texts[0].split()]


def _sums(rows: pd.DataFrame, *names: str) -> NDArray[np.float64]:
    """Sum columns over the rows that have all of them; NaN if there is no such row."""
    numbers = rows.reindex(columns=list(names)).apply(pd.to_numeric, errors="coerce").dropna()
    if numbers.empty:
        return np.full(len(names), np.nan)
    return numbers.sum().to_numpy(dtype=float)


def _quotient(top: float, low: float) -> float:
    return float(top / low) if low > 0 else np.nan


def _over(rows: pd.DataFrame, top: str, low: str) -> float:
    return _quotient(*_sums(rows, top, low))


def _ap(rows: pd.DataFrame, name: str) -> float:
    tp, fp, fn = _sums(rows, f"tp{name}", f"fp{name}", f"fn{name}")
    return _quotient(tp, tp + fp + fn)


def _f1(rows: pd.DataFrame) -> float:
    tp, fp, fn = _sums(rows, "tp50", "fp50", "fn50")
    return _quotient(2 * tp, 2 * tp + fp + fn)


def _pq(rows: pd.DataFrame) -> float:
    iou, tp, fp, fn = _sums(rows, "matched_iou", "tp50", "fp50", "fn50")
    return _quotient(iou, tp + (fp + fn) / 2)


def _det(rows: pd.DataFrame) -> float:
    cost, n_true = _sums(rows, "det_cost", "n_true")
    worst = DET_WEIGHTS[1] * n_true
    return 1 - _quotient(min(cost, worst), worst)
