"""``divseg run``: a folder of noisy images to consensus label images, tables, scores and a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divseg.config import Data, RunConfig
from divseg.errors import ConfigError, InputError
from divseg.io import ImageList, InputReport, check_inputs
from divseg.io.sources import Source
from divseg.metrics import Calibration
from divseg.metrics.calibration import SIMULATED
from divseg.results import RunLayout, RunStore
from divseg.results.kept import Kept
from divseg.results.queues import review_queue, track_points
from divseg.results.rows import failure_rows, left_out_rows, score_summary, summary_lines
from divseg.workflow.channels import channel_unit, without_channels
from divseg.workflow.check import check_settings
from divseg.workflow.choose_segmenter import asked_candidates, choice_stage
from divseg.workflow.engine import Job, Outcomes, Result, perform
from divseg.workflow.image_stages import RunTools, image_stages
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.series import series_stage
from divseg.workflow.sharing import Options
from divseg.workflow.simulate import simulation_stage
from divseg.workflow.stage import RunContext, RunStage, Stage
from divseg.workflow.training import check_image, model_stage, smallest_side, training_seconds
from divseg.workflow.units import ImageUnit
from divseg.workflow.volumes import in_3d

TRIAL_STEPS = 5
"""Training steps of a dry run's trial."""

if TYPE_CHECKING:
    import pandas as pd


def run(
    source: Source,
    out: str | os.PathLike[str] | None = None,
    *,
    truth: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    config: RunConfig | str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    executor: str | None = None,
    shard: tuple[int, int] | None = None,
    redo: Sequence[str] = (),
    dry_run: bool = False,
    finalize: bool = False,
    report: bool = True,
    allow_code: bool = False,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Result:
    """Take a folder of noisy images to consensus label images, tables, scores and a report.

    What an earlier run with the same settings finished is skipped, stage by stage.

    Parameters
    ----------
    source : path, glob or list of those
        The noisy images.
    out : path, optional
        Run folder; ``<source>_divseg`` beside the source by default.
    truth : path, optional
        Ground-truth label images; the report then has scores of the consensus and of all baselines.
    model : path, optional
        Model folder to use instead of training.
    config : RunConfig or path of a TOML file, optional
        Settings.
    jobs : int, optional
        Images that are worked on at the same time, each by a process of its own; by default one on a CPU, whose cores
        one image keeps busy, and four for each GPU if cores and images suffice.
    executor : str, optional
        ``"serial"``, ``"processes"``, or ``"dask"`` with options (:func:`divseg.workflow.executors.make_executor`);
        processes if `jobs` is above 1. Results do not depend on it.
    shard : (int, int), optional
        Part I of N, from 1: only these images are worked on; :func:`finalize` then makes tables and report.
    redo : sequence of str
        Stages that are done again, with those that depend on them: model, segmenter, simulate, denoise, segment, fuse,
        measure, export, baselines, score, report.
    dry_run : bool
        Only check the input and print what would be done.
    finalize : bool
        Only make tables and report of what is done.
    allow_code : bool
        Accept a segmenter ``python:module:function`` that the TOML file names.
    report : bool
        Write ``report.html``; ``divseg report`` can do it later.
    reporter : Reporter, optional
        Told what is done; by default everything goes to the ``divseg`` logger.
    **settings
        Settings by name, such as ``samples=64``; they win over `config`.

    Returns
    -------
    Result
        ``result.open()`` is the run folder as an object.

    Raises
    ------
    DivsegError
        If no image can be processed, or results cannot be written. An image that fails on its own is a
        row of ``failures.csv`` instead.

    Examples
    --------
    >>> import tempfile
    >>> from divseg.io import write_image
    >>> from divseg.workflow.demo import demo_image
    >>> folder = tempfile.mkdtemp()
    >>> write_image(folder + "/images/nuclei.tif", demo_image()[0][:96, :96])
    >>> quick = {"network": "flat,filters=8,latents=8", "train_steps": 30, "samples": 2}
    >>> result = run(folder + "/images", folder + "/run", report=False, segmenter="otsu,smooth=2", **quick)
    >>> result.n_images, result.open().labels["nuclei"].shape
    (1, (96, 96))
    """
    settings_of_run = _config(config, settings, allow_code)
    chosen = check_settings(settings_of_run)  # a wrong setting is told before any work
    folder = default_out(source) if out is None else Path(out).expanduser()
    found = check_inputs(source, **settings_of_run.data.reading, truth=truth, out=folder)
    _without_channels(found, settings_of_run.data)
    options = Options(jobs, executor, shard, redo, finalize)

    def trial(place: Path, unit: ImageUnit) -> None:
        """Do an image after a few steps of training, to see how long things take."""
        short = settings_of_run.replace(train_steps=TRIAL_STEPS, train_minutes=None)
        alone = replace(found, images=ImageList([unit.ref]), problems=[])
        perform(
            _job(source, alone, short, None if chosen is None else chosen.name, truth, model, Options(), False), place
        )

    def seconds(store: RunStore) -> float:
        return 0.0 if model is not None else training_seconds(settings_of_run, store)

    if settings_of_run.data.volume and settings_of_run.evaluation.simulate:
        found.warnings.append("volumes are not simulated: without --calibration, existence is not calibrated")
    job = _job(source, found, settings_of_run, None if chosen is None else chosen.name, truth, model, options, report)
    side = smallest_side(settings_of_run, model) if dry_run else 0
    return carry_out(
        job,
        folder,
        options,
        reporter,
        found.lines(),
        dry_run=dry_run,
        check=lambda unit: check_image(unit.load(), side),
        trial=trial,
        training=seconds,
    )


def _without_channels(found: InputReport, data: Data) -> None:
    """Make images that lack a channel that is to be denoised together or measured a problem.

    Raises
    ------
    InputError
        If that is so of all.
    """
    refs, problems = without_channels(found.images.refs, data)
    if not refs:
        raise InputError(f"none of the images can be used: {problems[0]}")
    found.images = ImageList(refs)
    found.problems += dict.fromkeys(problems)
    found.n_unusable += len(dict.fromkeys(problems))


def _config(
    config: RunConfig | str | os.PathLike[str] | None, settings: Mapping[str, Any], allow_code: bool
) -> RunConfig:
    if isinstance(config, RunConfig):
        return config.replace(**settings)
    if config is None:
        return RunConfig.make(**settings)
    return RunConfig.from_toml(Path(config), allow_code=allow_code, **settings)


def default_out(source: Source, suffix: str = "_divseg") -> Path:
    """Return the folder beside the source that results go to.

    Raises
    ------
    InputError
        If there is no such source.
    ConfigError
        If the source is not one folder.
    """
    path = Path(source).expanduser() if isinstance(source, str | os.PathLike) else None
    if path is not None and not path.exists() and not any(c in str(path) for c in "*?["):
        raise InputError(f"{source}: there is no such file or folder")
    if path is None or not path.is_dir():
        raise ConfigError("say where results go with --out: the input is not one folder")
    path = path.resolve()
    return path.with_name(path.name + suffix)


def _job(
    source: Source,
    found: InputReport,
    config: RunConfig,
    segmenter: str | None,
    truth: str | os.PathLike[str] | None,
    model: str | os.PathLike[str] | None,
    options: Options,
    report: bool = True,
) -> Job:
    units = [channel_unit(ref, found.truth.get(ref.name), config.data) for ref in found.images.refs]
    before = [model_stage(units, config, None if model is None else Path(model))]
    volume = config.data.volume
    if segmenter is None:
        asked = config.segmentation.segmenter
        specs = asked_candidates(in_3d(asked) if volume else asked, 3 if volume else 2) or []
        before.append(choice_stage(config, specs, [unit.name for unit in units]))
    # images are simulated in planes alone
    simulated = bool(config.evaluation.simulate) and config.fusion.calibration is None and not volume
    kept = Kept.of(config.output.keep)

    def calibration_file(store: RunStore, outcomes: Outcomes) -> str | Path | None:
        if simulated and outcomes.get("simulate", {}).get("calibration") is not None:
            return RunLayout(store.simulated).calibration
        return config.fusion.calibration

    def name(outcomes: Outcomes | None) -> str:
        if segmenter is not None:
            return segmenter
        return "auto" if outcomes is None else str(outcomes["segmenter"]["segmenter"])

    def stages(outcomes: Outcomes | None) -> list[Stage]:
        return image_stages(config, name(outcomes), truth is not None, simulated=simulated)

    def facts(store: RunStore, outcomes: Outcomes) -> dict[str, Any]:
        from divseg.denoise.model_folder import read_training

        return {
            "config": config.model_dump(mode="json"),
            "segmenter": name(outcomes),
            "device": _device(store, units),
            "seed": config.sampling.seed,
            "input": str(source),
            "training": read_training(store.model),
            "calibration": None
            if (file := calibration_file(store, outcomes)) is None
            else Calibration.load(file).describe(),
        }

    if simulated:
        before.append(simulation_stage(config, units, name, options))

    series = series_stage(units, "fuse")

    def derive(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        if "objects" not in tables:
            return {}
        points = {"tracks": track_points(tables["objects"], tables["images"])} if "tracks" in kept else {}
        return {"review": review_queue(tables["objects"]), **points}

    def lines(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
        shown = summary_lines(tables, store.report if report else None, len(units) + found.n_unusable)
        return [*shown, *_expectation(store, tables), *_time_of_choice(store)]

    return Job(
        command="run",
        units=units,
        stages=stages,
        before=before,
        tools=lambda store, outcomes: RunTools(store.model, config, name(outcomes), calibration_file(store, outcomes)),
        failures=failure_rows(found.problems),
        left_out=left_out_rows(found.left_out),
        facts=facts,
        summarize=score_summary,
        derive=derive,
        parquet="parquet" in kept,
        after=[
            *([] if series is None else [series]),
            *([report_stage([*(s.name for s in before), *(s.name for s in stages(None))])] if report else []),
        ],
        lines=lines,
        invocation={
            "source": absolute(source),
            "truth": absolute(truth),
            "model": absolute(model),
            "settings": config.model_dump(mode="json"),
        },
        device=config.sampling.device,
    )


def _expectation(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Tell how many objects and what mAP a calibrated run expects to be right."""
    made, objects = store.read_run().get("calibration"), tables.get("objects")
    if made is None or objects is None or "p_true" not in objects:
        return []
    source = "simulated images" if made["source"] == SIMULATED else "labelled images"
    right, score = objects["p_true"].sum(), tables["images"]["calibrated_map"].mean()
    return [f"expected right: {right:.0f} of {len(objects)} objects, mAP {score:.2f} (calibrated on {source})"]


def _time_of_choice(store: RunStore) -> list[str]:
    """Tell how long the choice of the segmenter took, if there was one."""
    seconds = store.read_run()["timings"]
    if "segmenter_s" not in seconds:
        return []
    took, parts = seconds["segmenter_s"], [seconds.get(f"{name}_s", 0.0) for name in ("model", "segmenter", "images")]
    return [f"choosing the segmenter: {took:.0f} s, {took / max(sum(parts), 1e-9):.0%} of the time of all steps"]


def _device(store: RunStore, units: Sequence[ImageUnit]) -> str | None:
    """Return the device that drew the samples; None if there are none yet."""
    for unit in units:
        if (done := store.read_marker(unit.name).stages.get("denoise")) is not None:
            return done.info.get("device")
    return None


def report_stage(needs: Sequence[str]) -> RunStage:
    """Return the stage that writes the report, unless the one that is there tells of the same results."""

    def write(context: RunContext) -> dict[str, Any]:
        from divseg.report import write_report

        write_report(context.store.folder)
        return {}

    return RunStage(
        "report", write, needs=(*needs, "failures"), recall=lambda context, _: context.store.report.is_file()
    )


def absolute(source: Source | None) -> str | list[str] | None:
    """Return paths, globs or lists of those such that they mean the same from another folder."""
    if source is None:
        return None
    if isinstance(source, str | os.PathLike):
        return os.path.abspath(os.path.expanduser(os.fspath(source)))
    return [os.path.abspath(os.path.expanduser(os.fspath(part))) for part in source]
