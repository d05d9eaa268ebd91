"""``divseg calibrate --simulate``, and the same inside a run: confidence calibrated without labels.

The fusion says how often the samples agree, not how often they are right. How often they would be right if the model
and the segmenter were is found out by a parametric bootstrap (as in the equivariant bootstrap of Tachella & Pereyra,
arXiv 2310.11838): one posterior sample of an image is taken as truth and segmented, the noise model draws a new noisy
image of it, that goes the whole way of the run, and its objects are compared with the true ones.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divseg.config import RunConfig, refuse_code
from divseg.errors import ConfigError, InputError, OutputError, counted
from divseg.io import ImageRef, check_inputs
from divseg.metrics import Calibration
from divseg.metrics.calibration import SIMULATED
from divseg.metrics.calibrator import TooFewObjects
from divseg.metrics.matching import check_threshold
from divseg.results import RunLayout, RunStore
from divseg.results.open_run import Run, open_run
from divseg.results.writer import file_sha256
from divseg.workflow.channels import channel_unit
from divseg.workflow.choose_segmenter import asked_candidates
from divseg.workflow.comparison import calibration_settings, calibration_stage, describe_fit
from divseg.workflow.engine import Job, Outcomes, Result, perform
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import LogReporter, Reporter
from divseg.workflow.raters import raters_stage
from divseg.workflow.sharing import Options
from divseg.workflow.simulation import SimulationTools, simulated_units, simulation_config, simulation_stages
from divseg.workflow.stage import RunContext, RunStage
from divseg.workflow.training import check_image, smallest_side
from divseg.workflow.units import ImageUnit

if TYPE_CHECKING:
    import pandas as pd

IMAGES = 8
"""Simulated images, if nobody says."""

SIDE, SIDE_IN_RUN = 512, 256
"""Longest side in pixels of what is simulated of an image, by itself and inside a run: there it must not take long.

Where objects are so large that parts of the smaller size hold too few, a run simulates parts of the larger.
"""

IOU = 0.5
"""An object is right above this IoU with a true one."""


@dataclass(frozen=True)
class Simulation:
    """What is simulated: images of a run, and how the run works on them.

    Attributes
    ----------
    images : sequence of ImageUnit
        Images of the run.
    model : Path
        Model folder of the run.
    config : RunConfig
        Settings of the run.
    segmenter : str
        Canonical string of the segmenter.
    count : int
        Simulated images.
    iou : float
        An object is right above this IoU with a true one.
    side : int
        Longest side in pixels of what is simulated of an image.
    """

    images: Sequence[ImageUnit]
    model: Path
    config: RunConfig
    segmenter: str
    count: int
    iou: float = IOU
    side: int = SIDE

    def job(self, invocation: Mapping[str, Any]) -> Job:
        """Return the work: the stages of each simulated image, and the fit to what came of all."""
        from divseg.denoise.model_folder import fingerprint_model

        config = simulation_config(self.config)
        settings = calibration_settings(self.config.model_dump(), self.segmenter)
        fit = {"method": config.fusion.method, "iou": self.iou, "source": SIMULATED, "settings": settings}
        model = {"model": fingerprint_model(self.model)}

        def raters(outcomes: Outcomes | None) -> list[str]:
            return [] if outcomes is None else list(outcomes["raters"]["raters"])

        def tools(_: RunStore, outcomes: Outcomes) -> SimulationTools:
            return SimulationTools(self.model, config, self.segmenter, iou=self.iou, raters=tuple(raters(outcomes)))

        def facts(store: RunStore, outcomes: Outcomes) -> dict[str, Any]:
            made = {"calibration": Calibration.load(store.calibration).describe()} if "calibrate" in outcomes else {}
            return {
                "config": self.config.model_dump(mode="json"),
                "segmenter": self.segmenter,
                "raters": raters(outcomes),
                **made,
            }

        def lines(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
            made = Calibration.load(store.calibration)
            return [*describe_fit(made), f"use it: divseg run ... --calibration {store.folder}"]

        return Job(
            command="simulate",
            units=simulated_units(self.images, self.count, self.side),
            stages=lambda outcomes: simulation_stages(config, self.segmenter, self.iou, raters(outcomes)),
            before=[
                RunStage("model", lambda _: model, model),
                raters_stage(self.model, self.config, self.segmenter, [unit.ref.name for unit in self.images]),
            ],
            after=[calibration_stage(fit)],
            tools=tools,
            facts=facts,
            lines=lines,
            invocation=invocation,
            device=config.sampling.device,
        )


def simulate_run(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    images: int = IMAGES,
    iou: float = IOU,
    allow_code: bool = False,
    options: Options | None = None,
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Calibrate a run without labels, on images simulated by its own model.

    A simulated image that fails is a row of ``failures.csv`` and stops nothing. What was simulated with the same
    model, images and settings is skipped.

    Parameters
    ----------
    folder : path
        Written by ``divseg run``.
    out : path, optional
        Where results go; the folder ``simulated`` in the run folder by default. It gets ``calibration.json`` for
        ``divseg run --calibration``, ``objects.csv`` (which objects are right), ``images.csv``, ``failures.csv`` and
        ``run.json``.
    images : int
        Simulated images, spread over those of the run; if there are fewer, several are made of each. Of large ones a
        part of 512 pixels on a side is simulated.
    iou : float
        An object is right above this IoU with a true one.
    allow_code : bool
        Accept a segmenter ``python:module:function`` that the run's run.json names.
    options, dry_run, reporter
        As for :func:`divseg.workflow.denoise.denoise_folder`.

    Returns
    -------
    Result
        ``result.open().calibration`` is the :class:`divseg.Calibration`, whose source is ``"simulated"``.

    Raises
    ------
    DivsegError
        Not the folder of a run, a run without a model or whose images are gone, too few objects, or results cannot be
        written.
    """
    run, iou = open_run(folder), check_threshold(iou)
    if run.command != "run":
        raise InputError(
            f"{folder} holds the results of divseg {run.command}, which has no model to simulate images with; "
            "give a folder of divseg run"
        )
    if images < 2:
        raise ConfigError(f"images={images}: two simulated images or more are needed to calibrate on")
    simulation = Simulation(*_of_run(run, allow_code), images, iou)
    target = run.layout.simulated if out is None else Path(out).expanduser()
    job = simulation.job({"folder": os.path.abspath(run.folder), "images": images, "iou": iou})
    notes = [f"{counted(images, 'simulated image')} of {counted(len(simulation.images), 'image')} of {run.folder}"]
    side = smallest_side(simulation.config, simulation.model)
    return carry_out(
        job, target, options, reporter, notes, dry_run=dry_run, check=lambda unit: check_image(unit.load(), side)
    )


def _of_run(run: Run, allow_code: bool) -> tuple[list[ImageUnit], Path, RunConfig, str]:
    """Return images, model folder, settings and segmenter of a run."""
    from divseg.denoise.model_folder import check_model

    asked, segmenter = run.record.get("invocation"), run.record.get("segmenter")
    if not (isinstance(asked, Mapping) and isinstance(asked.get("settings"), Mapping) and isinstance(segmenter, str)):
        raise InputError(f"{run.folder}: its run.json does not say what was run; run the command again")
    if not allow_code:
        refuse_code(segmenter)
    check_model(run.layout.model)
    config = RunConfig.make(**asked["settings"])
    if config.data.volume:
        raise InputError(f"{run.folder}: volumes are not simulated; calibrate with ground truth: --truth MASKS")
    found = check_inputs(asked["source"], **config.data.reading, truth=asked.get("truth"))
    done = set(run.names)
    images = [channel_unit(ref, None, config.data) for ref in found.images.refs if ref.name in done]
    if not images:
        raise InputError(f"{run.folder}: no image of the run is left to simulate from; run again")
    return images, run.layout.model, config, segmenter


def simulation_stage(
    config: RunConfig, units: Sequence[ImageUnit], segmenter: Callable[[Outcomes], str], options: Options
) -> RunStage:
    """Return the stage of a run that calibrates on simulated images, before its own images are worked on.

    Its outcome is None if nothing can be calibrated: the run goes on without.

    Parameters
    ----------
    config : RunConfig
        Settings of the run; ``simulate`` is the number of simulated images.
    units : sequence of ImageUnit
        Images of the run.
    segmenter : callable
        Returns the canonical string of the segmenter, given the outcomes of the stages before.
    options : Options
        How the work is shared out.
    """
    count = config.evaluation.simulate

    def process(context: RunContext) -> dict[str, Any]:
        images, store = list(context.units), context.store
        invocation = {"folder": os.path.abspath(store.folder), "images": count, "iou": IOU}
        shared = Options(options.jobs, options.executor, redo=["simulate"] if "simulate" in options.redo else [])

        def attempt(side: int) -> None:
            simulation = Simulation(images, store.model, config, segmenter(context.outcomes), count, side=side)
            perform(simulation.job(invocation), store.simulated, shared, _Within(context.reporter))

        try:
            try:
                attempt(SIDE_IN_RUN)
            except TooFewObjects as few:
                if few.fraction * _growth([unit.ref for unit in images]) < 1:
                    raise
                attempt(SIDE)
        except OutputError:
            raise
        except InputError as error:
            context.reporter.say(f"note: not calibrated: {error}")
            return {"calibration": None}
        made = RunLayout(store.simulated).calibration
        context.reporter.say(describe_fit(Calibration.load(made))[0])
        return {"calibration": file_sha256(made)}

    def recall(context: RunContext, outcome: Mapping[str, Any]) -> bool:
        made = RunLayout(context.store.simulated).calibration
        return outcome["calibration"] is None or (made.is_file() and file_sha256(made) == outcome["calibration"])

    chosen = {unit.ref.name: unit.ref for unit in simulated_units(units, count, SIDE_IN_RUN)}
    settings = {
        "count": count,
        "files": [[name, list(ref.shape), list(ref.stat()[:2])] for name, ref in chosen.items()],
        "sampling": config.sampling.model_dump(exclude={"device", "tile"}),
        "data": config.data.pixels,
        "fusion": config.fusion.model_dump(exclude={"calibration", "max_false"}),
    }
    needs = ("model", "segmenter") if asked_candidates(config.segmentation.segmenter) is not None else ("model",)
    return RunStage("simulate", process, settings, needs, recall)


def _growth(refs: Sequence[ImageRef]) -> float:
    """Return how many times as many pixels the larger parts have as the smaller ones, in the mean of the images."""
    small, large = (
        sum(math.prod(min(side, n) for n in ref.shape[-2:]) for ref in refs) for side in (SIDE_IN_RUN, SIDE)
    )
    return large / small


class _Within(LogReporter):
    """Writes to the log of the run, and shows in the run's own way how far the simulated images are."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self.reporter = reporter

    def images(self, done: int, total: int, now: str) -> None:
        """Show how many simulated images are finished."""
        self.reporter.images(done, total, f"simulated image {now}")
