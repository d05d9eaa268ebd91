"""What came of comparing the objects of images with their truth: written, read, and calibrated on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from divseg.metrics import Calibration
from divseg.metrics.calibration import SIMULATED
from divseg.metrics.calibrator import Outcome, fit_outcomes
from divseg.results import Marker, RunLayout
from divseg.results.reader import read_table
from divseg.results.writer import file_sha256
from divseg.workflow.stage import RunContext, RunStage, UnitContext

PER_OBJECT = ("existence", "score", "iou", "hit", "area_low", "area_high", "true_area")
PER_IMAGE = ("count_low", "count_high", "n_true", "expected_map", "expected_seg", "map", "seg")
"""Parts of an :class:`Outcome`: columns of objects.csv and of images.csv."""


def calibration_settings(config: Mapping[str, Any], segmenter: str | None) -> dict[str, Any]:
    """Return what a calibration holds only for: the segmenter, and settings of the run."""
    fusion, sampling = config.get("fusion") or {}, config.get("sampling") or {}
    return {
        "segmenter": segmenter,
        "samples": sampling.get("samples"),
        **{name: fusion.get(name) for name in ("method", "objective", "existence", "snr", "fuse_with")},
    }


def write_outcome(context: UnitContext, labels: pd.Series, made: Outcome) -> None:
    """Write what came of comparing the objects of an image, which have these labels, with its truth."""
    context.write.objects(pd.DataFrame({"label": labels, **{name: getattr(made, name) for name in PER_OBJECT}}))
    context.write.row |= {
        **context.unit.row(),
        "n_objects": len(made.hit),
        "n_right": int(made.hit.sum()),
        **{name: getattr(made, name) for name in PER_IMAGE},
    }


def read_outcomes(layout: RunLayout, names: Iterable[str]) -> list[Outcome]:
    """Return what came of comparing images with their truth, from the folder of ``divseg calibrate``."""
    outcomes = []
    for name in names:
        table, row = read_table(layout.objects(name)), Marker.read(layout.marker(name), name).stages["compare"].row
        values: dict[str, Any] = {
            column: table[column].to_numpy(bool if column == "hit" else float) for column in PER_OBJECT
        }
        outcomes.append(Outcome(**values, **{column: row[column] for column in PER_IMAGE}))
    return outcomes


def calibration_stage(fit: Mapping[str, Any]) -> RunStage:
    """Return the stage that fits a calibration to what came of comparing images with their truth, and writes it."""

    def calibrate(context: RunContext) -> dict[str, Any]:
        outcomes = read_outcomes(context.store, [unit.name for unit in context.units])
        fit_outcomes(outcomes, **fit).save(context.store.calibration)
        return {"calibration": file_sha256(context.store.calibration)}

    return RunStage("calibrate", calibrate, fit, needs=("compare",), recall=_is_there)


def _is_there(context: RunContext, outcome: Mapping[str, Any]) -> bool:
    path = context.store.calibration
    return path.is_file() and file_sha256(path) == outcome["calibration"]


def describe_fit(made: Calibration) -> list[str]:
    """Return the lines that end ``divseg calibrate``."""
    check, what = made.check, "simulated images" if made.source == SIMULATED else "images"
    return [
        f"calibrated on {made.n_objects} objects in {made.n_images} {what}; on left-out images D-ECE "
        f"{check['d_ece_before']:.3f} before, {check['d_ece_after']:.3f} after; {made.coverage:.0%} area intervals "
        f"cover {check['area_coverage_before']:.0%} before, {check['area_coverage_after']:.0%} after"
    ]
