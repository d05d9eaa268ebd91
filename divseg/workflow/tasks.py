"""Whole jobs beside the run of a folder: the demo, training alone, the report again, what is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divseg.config import RunConfig
from divseg.errors import InputError
from divseg.io import check_inputs, read
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
    from divseg.report.training import write_training_plot

    reporter = reporter or LogReporter()
    found = check_inputs(source, axes=config.axes, channel=config.channel, out=out)
    for line in found.lines():
        reporter.say(line)
    model = train(found.images, config, reporter, checkpoints=check_model_folder(out), resume=resume)
    model.save(out)
    write_training_plot(out)
    return model


def rebuild_report(folder: str | Path) -> Path:
    """Write the report of a run folder again, with the noisy images where they still are."""
    from divseg.report import write_report

    path = Path(folder) / "run.json"
    if not path.is_file():
        raise InputError(f"{folder} is no run folder: it has no run.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    if (command := record.get("command", "run")) != "run":
        raise InputError(f"{folder} holds the results of divseg {command}, which has no report")
    inputs = {row["name"]: row for row in record.get("inputs", [])}
    config = record.get("config", {})

    def load(name: str) -> Any:
        images = read(inputs[name]["path"], axes=config.get("axes"), channel=config.get("channel"))
        return images[images.names.index(name)].data

    return write_report(folder, load=load)


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
    from divseg.results.reader import read_results

    outcomes = run_outcomes(folder, truth, iou=iou)
    config = read_results(folder).run.get("config", {})
    settings = {name: config.get(name) for name in ("segmenter", "samples", "group", "method", "target", "existence")}
    made = fit_outcomes(outcomes, method=str(config.get("method", "")), iou=iou, settings=settings)
    made.save(out)
    return made


def run_outcomes(folder: str | Path, truth: str | Path, *, iou: float = 0.5) -> list[Outcome]:
    """Compare every image of a run folder that has truth with it, for calibration; see :func:`calibrate_run`."""
    from divseg.io import read_labels
    from divseg.metrics.calibrator import outcome
    from divseg.results.reader import read_results

    results = read_results(folder)
    if "objects" in results.missing or "images" in results.missing:
        raise InputError(f"{folder} holds no finished run: objects.csv or images.csv is missing")
    found = check_inputs(Path(folder) / "labels", truth=truth)
    by_image = dict(tuple(results.objects.groupby(results.objects["image"].astype(str))))
    spreads = {
        str(row["image"]): (float(row["count_q05"]), float(row["count_q95"]))
        for row in results.images.to_dict("records")
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
        "std": model.std,
        "training": model.training,
    }
