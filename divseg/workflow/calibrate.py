"""``divseg calibrate``: what confidences are worth, from a run on images with ground truth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from divseg.errors import ConfigError, InputError, counted
from divseg.io import LabelRef, check_inputs, read_labels
from divseg.io.image_source import file_stat
from divseg.metrics import Calibration
from divseg.metrics.calibration import LABELS
from divseg.metrics.calibrator import MIN_IMAGES, NEEDED_OF_IMAGE, Outcome, outcome
from divseg.metrics.matching import check_threshold
from divseg.metrics.risk import check_promise
from divseg.results import RunStore
from divseg.results.open_run import open_run
from divseg.results.reader import read_table
from divseg.results.rows import failure_rows
from divseg.results.writer import file_sha256
from divseg.workflow.comparison import calibration_settings, calibration_stage, describe_fit, write_outcomes
from divseg.workflow.engine import Job, Outcomes, Result
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.run import absolute, default_out
from divseg.workflow.sharing import Options
from divseg.workflow.stage import Stage, UnitContext
from divseg.workflow.units import ImageUnit


@dataclass(frozen=True)
class ConsensusUnit(ImageUnit):
    """The label image and the object table of one image of a run, and its ground truth."""

    truth: LabelRef
    objects: Path = Path()
    sources = ("image", "truth", "objects")

    def stat(self, source: str) -> list[Any]:
        """Return size and times of the file."""
        return list(file_stat(self.objects)) if source == "objects" else super().stat(source)

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
    max_false: float | None = None,
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
    max_false : float, optional
        Tell the cut-off of ``p_true`` above which at most this fraction of the objects kept is expected to be false.
    options, dry_run, reporter
        As for :func:`divseg.workflow.denoise.denoise_folder`.

    Returns
    -------
    Result
        ``result.open().calibration`` is the :class:`divseg.Calibration`.

    Raises
    ------
    DivsegError
        Not a run folder, no truth for it, too few objects or images, too few images to promise `max_false`, or
        results cannot be written.
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
    found = check_inputs(there or run.folder / "labels", ask=(), invalid="none", truth=truth, out=target)
    counts = {str(row["image"]): row for row in run.images_table.to_dict("records")}
    units, failures = [], failure_rows(found.problems)
    for ref in found.images.refs:
        if ref.name not in found.truth or ref.name not in counts:
            continue
        objects = run.layout.objects(ref.name)
        if objects.is_file():
            spread = {name: float(counts[ref.name][name]) for name in NEEDED_OF_IMAGE}
            units.append(ConsensusUnit(ref, found.truth[ref.name], spread, objects=objects))
        else:
            error = f"{objects} is missing; run again to make it anew"
            failures.append({"image": ref.name, "file": str(ref.path), "stage": "check", "error": error})
    if len(units) < MIN_IMAGES:
        raise InputError(
            f"{counted(len(units), 'image')} of {run.folder} with usable truth in {truth}: too few to calibrate on, "
            f"which takes at least {MIN_IMAGES}; {'; '.join([*found.warnings, *map(str, found.problems)])}"
        )
    if max_false is not None:
        check_promise(len(units), max_false)
    settings = calibration_settings(run.config, run.segmenter)
    fit = {"method": str(settings["method"] or ""), "iou": iou, "source": LABELS, "settings": settings}

    def facts(store: RunStore, outcomes: Outcomes) -> dict[str, Any]:
        made = {"calibration": Calibration.load(store.calibration).describe()} if "calibrate" in outcomes else {}
        return {"config": run.config, "input": str(folder), "truth": str(truth), "iou": iou, **made}

    def lines(store: RunStore, _: Any) -> list[str]:
        made = Calibration.load(store.calibration)
        shown = describe_fit(made)
        if max_false is not None:
            cut = made.cutoff(max_false)
            shown.append(
                f"objects with p_true above {made.p_true(cut):.3f} (existence times mean IoU above {cut:.3f}): at most "
                f"{max_false:.1%} of those kept of a new image are expected to be false; use it: divseg run ... "
                f"--calibration {store.folder} --max-false {max_false:g}"
            )
        return shown

    job = Job(
        command="calibrate",
        units=units,
        stages=lambda _: [
            Stage(
                "compare",
                compare_unit,
                {"iou": iou},
                reads=ConsensusUnit.sources,
                unit_settings=NEEDED_OF_IMAGE,
            )
        ],
        after=[calibration_stage(fit)],
        tools=lambda *_: iou,
        failures=failures,
        facts=facts,
        lines=lines,
        invocation={"folder": absolute(folder), "truth": absolute(truth), "iou": iou, "max_false": max_false},
    )
    notes = [f"ground truth: {len(units)} of {len(counts)} images", *(f"note: {text}" for text in found.warnings)]
    return carry_out(job, target, options, reporter, notes, dry_run=dry_run, check=lambda unit: _compare(unit, iou))


def compare_unit(context: UnitContext) -> None:
    """Compare the objects of one image with its truth; keep what came of it as a table and a row."""
    context.step("compare")
    labels, made = _compare(context.unit, context.tools)
    write_outcomes(context, labels, {"labels": made}, {"labels": made.n_true})


def _compare(unit: ConsensusUnit, iou: float) -> tuple[pd.Series, Outcome]:
    objects = read_table(unit.objects)
    made = outcome(read_labels(unit.file), objects, unit.truth.load(), unit.settings, iou=iou)
    return objects["label"], made
