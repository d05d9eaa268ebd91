"""Scores of label images against a ground truth, tables of scores over images, calibration of confidences.

The names are loaded on first use: neither numba nor pandas is imported before it is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divseg.metrics.agreement import agreement_weights as agreement_weights
    from divseg.metrics.calibration import Calibration as Calibration
    from divseg.metrics.calibration_scores import brier as brier
    from divseg.metrics.calibration_scores import d_ece as d_ece
    from divseg.metrics.calibration_scores import interval_coverage as interval_coverage
    from divseg.metrics.calibration_scores import interval_score as interval_score
    from divseg.metrics.calibration_scores import object_hits as object_hits
    from divseg.metrics.calibration_scores import reliability_curve as reliability_curve
    from divseg.metrics.calibrator import calibrate as calibrate
    from divseg.metrics.evaluation import ScoreTable as ScoreTable
    from divseg.metrics.evaluation import evaluate as evaluate
    from divseg.metrics.matching import iou_matrix as iou_matrix
    from divseg.metrics.matching import match as match
    from divseg.metrics.overlap import Overlap as Overlap
    from divseg.metrics.overlap import count_overlap as count_overlap
    from divseg.metrics.scores import THRESHOLDS as THRESHOLDS
    from divseg.metrics.scores import Scores as Scores
    from divseg.metrics.tables import Comparison as Comparison
    from divseg.metrics.tables import bootstrap_interval as bootstrap_interval
    from divseg.metrics.tables import compare as compare
    from divseg.metrics.tables import summarize as summarize
    from divseg.metrics.tables import to_markdown as to_markdown

_PUBLIC = {
    "Calibration": "calibration",
    "Comparison": "tables",
    "Overlap": "overlap",
    "ScoreTable": "evaluation",
    "Scores": "scores",
    "THRESHOLDS": "scores",
    "agreement_weights": "agreement",
    "bootstrap_interval": "tables",
    "brier": "calibration_scores",
    "calibrate": "calibrator",
    "compare": "tables",
    "count_overlap": "overlap",
    "d_ece": "calibration_scores",
    "evaluate": "evaluation",
    "interval_coverage": "calibration_scores",
    "interval_score": "calibration_scores",
    "iou_matrix": "matching",
    "match": "matching",
    "object_hits": "calibration_scores",
    "reliability_curve": "calibration_scores",
    "summarize": "tables",
    "to_markdown": "tables",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'divseg.metrics' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"divseg.metrics.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
