"""``divseg calibrate``: what confidences are worth, from a run on images with ground truth."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from divseg.errors import ConfigError, InputError, counted
from divseg.io import LabelRef, check_inputs, read_labels
from divseg.metrics import Calibration
from divseg.metrics.calibrator import MIN_IMAGES, Outcome, fit_outcomes, outcome
from divseg.metrics.matching import check_threshold
from divseg.results import Marker, RunLayout, RunStore
from divseg.results.open_run import open_run
from divseg.results.reader import read_table
from divseg.results.rows import failure_rows
from divseg.results.writer import file_sha256
from divseg.workflow.engine import Job, Outcomes, Result
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.run import absolute, default_out
from divseg.workflow.sharing import Options
from divseg.workflow.stage import RunContext, RunStage, Stage, UnitContext
from divseg.workflow.units import ImageUnit, file_stat

PER_OBJECT = ("existence", "score", "hit", "area_low", "area_high", "true_area")
PER_IMAGE = ("count_low", "count_high", "n_true")
"""Parts of an :class:`Outcome`: columns of objects.csv and of images.csv."""


@dataclass(frozen=True)
class ConsensusUnit(ImageUnit):
    """The label image and the object table of one image of a run, and its ground truth."""

    truth: LabelRef
    objects: Path = Path()
    sources = ("image", "truth", "objects")

    def stat(self, source: str) -> list[Any]:
        """Return size and times of the file."""
        return file_stat(self.objects) if source == "objects" else super().stat(source)

    def fingerprint(self, source: str) -> str:
        """Return the SHA-256 of the file, or of the pixels of the truth."""
        if source == "truth":
            return super().fingerprint(source)
        return file_sha256(self.objects if source == "objects" else self.file)


def calibrate_run(
    folder: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    iou: float = 0.5,
    options: Options | None = None,
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Calibrate on a run folder whose images have truth.

    An image that cannot be compared with its truth is a row of ``failures.csv`` and stops nothing. What was compared
    with the same files and settings is skipped.

    Parameters
    ----------
    folder : path
        Written by ``divseg run`` or ``divseg fuse``.
    truth : path
        Folder of ground-truth label images; images without one are left out.
    out : path, optional
        Where results go; ``<folder>_calibration`` beside the folder by default. It gets ``calibration.json`` for
        ``divseg run --calibration``, ``objects.csv`` (which objects are right), ``images.csv``, ``failures.csv`` and
        ``run.json``.
    iou : float
        An object is right above this IoU with a true one.
    options, dry_run, reporter
        As for :func:`divseg.workflow.denoise.denoise_folder`.

    Returns
    -------
    Result
        ``result.open().calibration`` is the :class:`divseg.Calibration`.

    Raises
    ------
    DivsegError
        Not a run folder, no truth for it, too few objects or images, or results cannot be written.
    """
    run, iou = open_run(folder), check_threshold(iou)
    if run.command not in ("run", "fuse"):
        raise InputError(
            f"{folder} holds the results of divseg {run.command}, which have no existence; "
            "give a folder of divseg run or fuse"
        )
    target = default_out(folder, "_calibration") if out is None else Path(out).expanduser()
    if target.suffix.lower() == ".json":
        raise ConfigError(
            f"--out {target}: results go to a folder, with the calibration in it; give a name without .json"
        )
    there = [file for name in run.names if (file := run.layout.labels(name)).is_file()]
    found = check_inputs(there or run.folder / "labels", invalid="none", truth=truth, out=target)
    counts = {str(row["image"]): row for row in run.images_table.to_dict("records")}
    units, failures = [], failure_rows(found.problems)
    for ref in found.images.refs:
        if ref.name not in found.truth or ref.name not in counts:
            continue
        objects = run.layout.objects(ref.name)
        if objects.is_file():
            spread = {name: float(counts[ref.name][name]) for name in ("count_q05", "count_q95")}
            units.append(ConsensusUnit(ref, found.truth[ref.name], spread, objects))
        else:
            error = f"{objects} is missing; run again to make it anew"
            failures.append({"image": ref.name, "file": str(ref.path), "stage": "check", "error": error})
    if len(units) < MIN_IMAGES:
        raise InputError(
            f"{counted(len(units), 'image')} of {run.folder} with usable truth in {truth}: too few to calibrate on, "
            f"which takes at least {MIN_IMAGES}; {'; '.join([*found.warnings, *map(str, found.problems)])}"
        )
    settings = {
        "segmenter": run.setting("segmentation", "segmenter"),
        "samples": run.setting("sampling", "samples"),
        **{name: run.setting("fusion", name) for name in ("method", "objective", "existence", "snr", "fuse_with")},
    }
    fit: dict[str, Any] = {"method": str(settings["method"] or ""), "iou": iou, "settings": settings}

    def calibrate(context: RunContext) -> dict[str, Any]:
        names = [unit.name for unit in context.units]
        fit_outcomes(read_outcomes(context.store, names), **fit).save(context.store.calibration)
        return {"calibration": file_sha256(context.store.calibration)}

    def is_there(context: RunContext, outcome: Mapping[str, Any]) -> bool:
        path = context.store.calibration
        return path.is_file() and file_sha256(path) == outcome["calibration"]

    def facts(store: RunStore, outcomes: Outcomes) -> dict[str, Any]:
        made = {"calibration": Calibration.load(store.calibration).describe()} if "calibrate" in outcomes else {}
        return {"config": run.config, "input": str(folder), "truth": str(truth), "iou": iou, **made}

    job = Job(
        command="calibrate",
        units=units,
        stages=lambda _: [
            Stage(
                "compare",
                compare_unit,
                {"iou": iou},
                reads=ConsensusUnit.sources,
                unit_settings=("count_q05", "count_q95"),
            )
        ],
        after=[RunStage("calibrate", calibrate, fit, needs=("compare",), recall=is_there)],
        tools=lambda *_: iou,
        failures=failures,
        facts=facts,
        lines=lambda store, _: _lines(Calibration.load(store.calibration)),
        invocation={"folder": absolute(folder), "truth": absolute(truth), "iou": iou},
    )
    notes = [f"ground truth: {len(units)} of {len(counts)} images", *(f"note: {text}" for text in found.warnings)]
    return carry_out(job, target, options, reporter, notes, dry_run=dry_run, check=lambda unit: _compare(unit, iou))


def compare_unit(context: UnitContext) -> None:
    """Compare the objects of one image with its truth; keep what came of it as a table and a row."""
    context.step("compare")
    objects, made = _compare(context.unit, context.tools)
    context.write.objects(
        pd.DataFrame({"label": objects["label"], **{name: getattr(made, name) for name in PER_OBJECT}})
    )
    context.write.row |= {
        **context.unit.row(),
        "n_objects": len(made.hit),
        "n_right": int(made.hit.sum()),
        **{name: getattr(made, name) for name in PER_IMAGE},
    }


def _compare(unit: ConsensusUnit, iou: float) -> tuple[pd.DataFrame, Outcome]:
    objects, spread = read_table(unit.objects), (unit.settings["count_q05"], unit.settings["count_q95"])
    return objects, outcome(read_labels(unit.file), objects, unit.truth.load(), *spread, iou=iou)


def read_outcomes(layout: RunLayout, names: Iterable[str]) -> list[Outcome]:
    """Return what came of comparing images with their truth, from a folder that :func:`calibrate_run` wrote."""
    outcomes = []
    for name in names:
        table, row = read_table(layout.objects(name)), Marker.read(layout.marker(name), name).stages["compare"].row
        columns: dict[str, Any] = {
            column: table[column].to_numpy(bool if column == "hit" else float) for column in PER_OBJECT
        }
        outcomes.append(Outcome(**columns, **{column: row[column] for column in PER_IMAGE}))
    return outcomes


def _lines(made: Calibration) -> list[str]:
    check = made.check
    return [
        f"calibrated on {made.n_objects} objects in {made.n_images} images; on left-out images D-ECE "
        f"{check['d_ece_before']:.3f} before, {check['d_ece_after']:.3f} after; {made.coverage:.0%} area intervals "
        f"cover {check['area_coverage_before']:.0%} before, {check['area_coverage_after']:.0%} after"
    ]
