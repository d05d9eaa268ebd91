"""``divseg calibrate``: what confidences are worth, from a run on images with ground truth."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from divseg.errors import InputError
from divseg.io import check_inputs, read_labels
from divseg.metrics import Calibration
from divseg.metrics.calibrator import Outcome, fit_outcomes, outcome
from divseg.results.open_run import Run, open_run


def calibrate_run(folder: str | Path, truth: str | Path, out: str | Path, *, iou: float = 0.5) -> Calibration:
    """Calibrate on a run folder whose images have truth, and write the calibration.

    Parameters
    ----------
    folder : path
        Written by ``divseg run``.
    truth : path
        Folder of ground-truth label images; images without one are left out.
    out : path
        JSON file for ``divseg run --calibration``.
    iou : float
        An object is right above this IoU with a true one.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        Not a run folder, no truth for it, or too few objects or images.
    """
    run = open_run(folder)
    outcomes = run_outcomes(run, truth, iou=iou)
    config = run.config
    fusion = config.get("fusion", {})
    settings = {
        "segmenter": config.get("segmentation", {}).get("segmenter"),
        "samples": config.get("sampling", {}).get("samples"),
        **{name: fusion.get(name) for name in ("method", "objective", "existence", "fuse_with")},
    }
    made = fit_outcomes(outcomes, method=str(fusion.get("method", "")), iou=iou, settings=settings)
    made.save(out)
    return made


def run_outcomes(run: Run, truth: str | Path, *, iou: float = 0.5) -> list[Outcome]:
    """Compare every image of a run that has truth with it, for calibration; see :func:`calibrate_run`."""
    objects, images = run.objects, run.images_table
    found = check_inputs([file for name in run.names if (file := run.layout.labels(name)).is_file()], truth=truth)
    by_image = dict(tuple(objects.groupby(objects["image"].astype(str))))
    spreads = {
        str(row["image"]): (float(row["count_q05"]), float(row["count_q95"])) for row in images.to_dict("records")
    }
    outcomes = []
    for ref in found.images.refs:
        if ref.name in found.truth and ref.name in spreads:
            labels, true = read_labels(ref.path), found.truth[ref.name].load()
            table: pd.DataFrame = by_image.get(ref.name, objects.iloc[:0])
            outcomes.append(outcome(labels, table, true, *spreads[ref.name], iou=iou))
    if not outcomes:
        raise InputError(f"{truth}: no truth for any image of {run.folder}; file names must agree")
    return outcomes
