"""Scores of label images against a ground truth, tables of scores over images, calibration of confidences.

The names are loaded on first use: neither numba nor pandas is imported before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from divseg.packages import public_names

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
    "Calibration": "divseg.metrics.calibration",
    "Comparison": "divseg.metrics.tables",
    "Overlap": "divseg.metrics.overlap",
    "ScoreTable": "divseg.metrics.evaluation",
    "Scores": "divseg.metrics.scores",
    "THRESHOLDS": "divseg.metrics.scores",
    "agreement_weights": "divseg.metrics.agreement",
    "bootstrap_interval": "divseg.metrics.tables",
    "brier": "divseg.metrics.calibration_scores",
    "calibrate": "divseg.metrics.calibrator",
    "compare": "divseg.metrics.tables",
    "count_overlap": "divseg.metrics.overlap",
    "d_ece": "divseg.metrics.calibration_scores",
    "evaluate": "divseg.metrics.evaluation",
    "interval_coverage": "divseg.metrics.calibration_scores",
    "interval_score": "divseg.metrics.calibration_scores",
    "iou_matrix": "divseg.metrics.matching",
    "match": "divseg.metrics.matching",
    "object_hits": "divseg.metrics.calibration_scores",
    "reliability_curve": "divseg.metrics.calibration_scores",
    "summarize": "divseg.metrics.tables",
    "to_markdown": "divseg.metrics.tables",
}

__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = public_names(__name__, _PUBLIC)
