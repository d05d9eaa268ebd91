"""Whole jobs beside the run of a folder: the demo, training alone, the report again, what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from divseg.config import RunConfig
from divseg.errors import InputError
from divseg.io import check_inputs
from divseg.versions import versions
from divseg.workflow.progress import LogReporter, Reporter
from divseg.workflow.run import RunResult, run_folder, train

if TYPE_CHECKING:
    from divseg.denoise import DivNoising
    from divseg.metrics import Calibration
    from divseg.metrics.calibrator import Outcome

DEMO = RunConfig(train_steps=4000, samples=32, segmenter="local,smooth=1,split=distance,min_size=20")
"""Settings of the demo: about four minutes on two CPU cores."""


def run_demo(out: str | Path, *, train_minutes: float | None = None, reporter: Reporter | None = None) -> RunResult:
    """Write the embedded noisy image and its truth below `out`, and run on them.

    Parameters
    ----------
    out : path
        Folder for ``images/``, ``masks/`` and the run folder ``run/``.
    train_minutes : float, optional
        Training budget instead of the demo's own number of steps.
    reporter : Reporter, optional
        Told what is done.
    """
    from divseg.workflow.demo import write_demo

    reporter = reporter or LogReporter()
    images, masks = write_demo(out)
    reporter.say(f"demo: a real 512x512 image of nuclei with simulated camera noise, in {images}")
    config = DEMO
    if train_minutes is not None:
        config = RunConfig.make(**{**DEMO.model_dump(), "train_steps": None, "train_minutes": train_minutes})
    return run_folder(images, Path(out) / "run", config, truth=masks, reporter=reporter)


def train_folder(
    source: Any, out: str | Path, config: RunConfig, *, resume: bool = False, reporter: Reporter | None = None
) -> DivNoising:
    """Train on the images of a folder and write a model folder with a plot of the training.

    Checkpoints are written to the folder while training runs; with `resume` a training that was cut off goes
    on from the last one.
    """
    from divseg.denoise.model_folder import check_model_folder
    from divseg.report.figures import write_training_plot

    reporter = reporter or LogReporter()
    found = check_inputs(source, axes=config.axes, channel=config.channel, out=out)
    for line in found.lines():
        reporter.say(line)
    model = train(found.images, config, reporter, checkpoints=check_model_folder(out), resume=resume)
    model.save(out)
    write_training_plot(out)
    return model


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

    Raises
    ------
    InputError
        No run folder, no truth for it, or too few objects or images.
    """
    from divseg.metrics.calibrator import fit_outcomes
    from divseg.results.open_run import open_run

    outcomes = run_outcomes(folder, truth, iou=iou)
    config = open_run(folder).config
    settings = {name: config.get(name) for name in ("segmenter", "samples", "group", "method", "target", "existence")}
    made = fit_outcomes(outcomes, method=str(config.get("method", "")), iou=iou, settings=settings)
    made.save(out)
    return made


def run_outcomes(folder: str | Path, truth: str | Path, *, iou: float = 0.5) -> list[Outcome]:
    """Compare every image of a run folder that has truth with it, for calibration; see :func:`calibrate_run`."""
    from divseg.io import read_labels
    from divseg.metrics.calibrator import outcome
    from divseg.results.open_run import open_run

    results = open_run(folder)
    if not (results.layout.table("objects").is_file() and results.layout.table("images").is_file()):
        raise InputError(f"{folder} holds no finished run: objects.csv or images.csv is missing")
    found = check_inputs(Path(folder) / "labels", truth=truth)
    by_image = dict(tuple(results.objects.groupby(results.objects["image"].astype(str))))
    spreads = {
        str(row["image"]): (float(row["count_q05"]), float(row["count_q95"]))
        for row in results.images_table.to_dict("records")
    }
    outcomes = []
    for ref in found.images.refs:
        if ref.name in found.truth and ref.name in spreads:
            labels, true = read_labels(ref.path), found.truth[ref.name].load()
            objects = by_image.get(ref.name, results.objects.iloc[:0])
            outcomes.append(outcome(labels, objects, true, *spreads[ref.name], iou=iou))
    if not outcomes:
        raise InputError(f"{truth}: no truth for any image of {folder}; file names must agree")
    return outcomes


def describe_installation() -> dict[str, Any]:
    """Return versions and devices."""
    import torch

    from divseg.denoise.precision import training_dtype
    from divseg.device import choose_device

    device = choose_device("auto")
    return {
        "versions": versions(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "training precision": str(training_dtype(device)).removeprefix("torch."),
    }


def describe_model(folder: str | Path) -> dict[str, Any]:
    """Return what is in a model folder."""
    from divseg.denoise import DivNoising

    model = DivNoising.load(folder, device="cpu")
    return {
        "network": model.network.config.to_dict(),
        "noise": model.noise.to_dict(),
        "mean": model.mean,
        "sd": model.sd,
        "training": model.training,
    }
