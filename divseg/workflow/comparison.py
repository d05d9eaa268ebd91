"""What came of comparing the objects of images with their truth: written, read, and calibrated on."""

from __future__ import annotations

from collections import Counter
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

AGREEMENT = 0.5
"""Part of the objects of the first truth that another must have as well: the majority."""


def calibration_settings(config: Mapping[str, Any], segmenter: str | None) -> dict[str, Any]:
    """Return what a calibration holds only for: the segmenter, and settings of the run."""
    fusion, sampling = config.get("fusion") or {}, config.get("sampling") or {}
    return {
        "segmenter": segmenter,
        "samples": sampling.get("samples"),
        **{name: fusion.get(name) for name in ("method", "objective", "existence", "snr", "fuse_with")},
    }


def write_outcomes(
    context: UnitContext, labels: pd.Series, made: Mapping[str, Outcome], agreed: Mapping[str, int]
) -> None:
    """Write what came of comparing the objects of an image with each of its truths.

    The row of images.csv tells of the first truth, objects.csv of all, by name in the column ``truth``.

    Parameters
    ----------
    context : UnitContext
        The image.
    labels : Series
        Labels of its objects.
    made : mapping of str to Outcome
        By name of the truth.
    agreed : mapping of str to int
        How many objects of the first truth each truth has as well.
    """
    tables = [
        pd.DataFrame({"label": labels, "truth": name, **{column: getattr(o, column) for column in PER_OBJECT}})
        for name, o in made.items()
    ]
    context.write.objects(pd.concat(tables, ignore_index=True))
    context.write.info["truths"] = {
        name: {"agreed": agreed[name], **{column: getattr(o, column) for column in PER_IMAGE}}
        for name, o in made.items()
    }
    first = next(iter(made.values()))
    context.write.row |= {
        **context.unit.row(),
        "n_objects": len(first.hit),
        "n_right": int(first.hit.sum()),
        **{column: getattr(first, column) for column in PER_IMAGE},
    }


def read_outcomes(layout: RunLayout, names: Iterable[str]) -> tuple[list[Outcome], list[int]]:
    """Return what came of comparing images with their truths, from the folder of ``divseg calibrate``.

    Truths that have less than half of the objects of the first one, over all images, are left out: they are of
    something else.

    Returns
    -------
    outcomes : list of Outcome
        One for each image and truth.
    images : list of int
        Position of the image of each.
    """
    tables = {name: read_table(layout.objects(name)) for name in names}
    infos = {name: Marker.read(layout.marker(name), name).stages["compare"].info["truths"] for name in tables}
    agreed: Counter[str] = Counter()
    for info in infos.values():
        agreed.update({truth: row["agreed"] for truth, row in info.items()})
    own = {next(iter(info)) for info in infos.values()}
    most = sum(agreed[truth] for truth in own)
    outcomes, images = [], []
    for i, (name, table) in enumerate(tables.items()):
        for truth, row in infos[name].items():
            if agreed[truth] < AGREEMENT * most:
                continue
            rows = table[table["truth"] == truth] if len(table) else table
            values: dict[str, Any] = {
                column: rows[column].to_numpy(bool if column == "hit" else float) for column in PER_OBJECT
            }
            outcomes.append(Outcome(**values, **{column: row[column] for column in PER_IMAGE}))
            images.append(i)
    return outcomes, images


def calibration_stage(fit: Mapping[str, Any]) -> RunStage:
    """Return the stage that fits a calibration to what came of comparing images with their truth, and writes it."""

    def calibrate(context: RunContext) -> dict[str, Any]:
        outcomes, images = read_outcomes(context.store, [unit.name for unit in context.units])
        fit_outcomes(outcomes, images=images, **fit).save(context.store.calibration)
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
