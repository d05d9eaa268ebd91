"""The commands of ``divseg``, each a call into the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from divseg.cli import options as o
from divseg.cli.app import OK, command
from divseg.cli.app import app as app
from divseg.cli.evaluate import evaluate_command
from divseg.cli.models import models
from divseg.cli.noise_model import noise_model
from divseg.cli.ocr import ocr_command
from divseg.cli.parts import denoise_command, fuse_command, segment_command
from divseg.cli.show import Show
from divseg.errors import ConfigError

app.add_typer(models, name="models")
app.add_typer(noise_model, name="noise-model")

_TRAINING = ("noise", "network", "train_steps", "train_minutes", "seed", "device")


@command
@o.with_settings(
    *o.DATA,
    "together",
    "measure",
    *_TRAINING,
    "samples",
    "tile",
    "precision",
    "segmenter",
    "fuse_with",
    "method",
    "objective",
    "existence",
    "snr",
    "calibration",
    "max_false",
    "simulate",
    "keep",
    "compare",
    "baseline_sigmas",
)
def run_command(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or glob of noisy images.")],
    settings: dict[str, Any],
    out: o.Out = None,
    truth: o.Truth = None,
    model: o.Model = None,
    config: o.Config = None,
    allow_code: o.AllowCode = False,
    preset: o.Preset = None,
    jobs: o.Jobs = None,
    executor: o.ExecutorName = None,
    shard: o.Shard = None,
    redo: o.Redo = None,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    dry_run: o.DryRun = False,
    quiet: o.Quiet = False,
) -> int:
    """Segment a folder of noisy images, with confidence.

    Writes consensus label images, tables, scores and a report.
    Trains on the images themselves (or uses --model), draws samples of the clean image, segments each, and
    fuses the masks. Running the same command again goes on where it stopped; with other settings, only what they
    change is done again. Exit code: 0 all well, 1 some images failed (see failures.csv), 2 usage error, 130
    interrupted, 143 terminated.
    """
    from divseg.workflow.run import run

    if preset is not None:
        settings = {"preset": preset, **settings}
    with Show(quiet) as show:
        result = run(
            source,
            out,
            truth=truth,
            model=model,
            config=config,
            allow_code=allow_code,
            **o.options(jobs, executor, shard, redo),
            dry_run=dry_run,
            report=report,
            reporter=show,
            **settings,
        )
    return o.end(result)


@command
def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the demo's images and results.")] = Path("demo_divseg"),
    # an option made from a setting when the module is loaded, which mypy cannot read as a type
    train_minutes: o.setting("train_minutes") = None,  # type: ignore[valid-type]
    quiet: o.Quiet = False,
) -> int:
    """Do it all on an embedded real image of nuclei.

    Scores the results against the image's ground truth. Takes about four minutes on two CPU cores.
    """
    from divseg.workflow.demo import run_demo

    with Show(quiet) as show:
        result = run_demo(out, train_minutes=train_minutes, reporter=show)
    return o.end(result)


@command
@o.with_settings(*o.DATA, *_TRAINING)
def train_command(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or glob of noisy images.")],
    settings: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    config: o.Config = None,
    allow_code: o.AllowCode = False,
    preset: o.Preset = None,
    redo: o.Redo = None,
    dry_run: o.DryRun = False,
    quiet: o.Quiet = False,
) -> int:
    """Train on noisy images, write a model folder.

    The folder is for `divseg run --model`. Checkpoints are written to it while training runs; after an interruption
    the same command goes on from the last one. Exit code: 0 all well, 1 some images failed (see failures.csv), 2 usage
    error, 130 interrupted.
    """
    from divseg.config import RunConfig
    from divseg.workflow.train import train_folder

    if preset is not None:
        settings = {"preset": preset, **settings}
    chosen = RunConfig.from_toml(config, allow_code=allow_code, **settings) if config else RunConfig.make(**settings)
    with Show(quiet) as show:
        result = train_folder(source, out, chosen, redo=tuple(redo or ()), dry_run=dry_run, reporter=show)
    return o.end(result)


command(denoise_command)
command(segment_command)
command(fuse_command)
command(evaluate_command)
command(ocr_command)


@command
def finalize_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that shards have worked on.")],
    allow_code: o.AllowCode = False,
    quiet: o.Quiet = False,
) -> int:
    """Make tables and report after work in shards.

    Images that no shard has finished are rows of failures.csv, and the exit code is 1.
    """
    from divseg.workflow.finalize import finalize

    with Show(quiet) as show:
        result = finalize(folder, allow_code=allow_code, reporter=show)
    return o.end(result)


@command
def calibrate_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by divseg run.")],
    truth: Annotated[Path | None, typer.Option(help="Folder of ground-truth label images.", show_default=False)] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Without ground truth: on images that the run's own model simulates.")
    ] = False,
    images: Annotated[int | None, typer.Option(help="Simulated images. [default: 8]", show_default=False)] = None,
    out: o.Out = None,
    iou: Annotated[float, typer.Option(help="Objects are right above this IoU with a true one.")] = 0.5,
    max_false: Annotated[
        float | None,
        typer.Option(
            help="Tell the cut-off above which at most this fraction of the objects is expected to be false.",
            show_default=False,
        ),
    ] = None,
    allow_code: o.AllowCode = False,
    jobs: o.Jobs = None,
    executor: o.ExecutorName = None,
    shard: o.Shard = None,
    redo: o.Redo = None,
    dry_run: o.DryRun = False,
    quiet: o.Quiet = False,
) -> int:
    """Learn what confidences are worth, on images with truth or on simulated ones.

    With --truth, results go to RUN_calibration; with --simulate to the folder simulated in RUN, both or to --out: a
    folder for `divseg run --calibration` on the same images or further ones of the kind.
    Exit code: 0 all well, 1 some images failed (see failures.csv), 2 usage error, 130 interrupted.
    """
    from divseg.workflow.calibrate import calibrate_run
    from divseg.workflow.simulate import IMAGES, simulate_run

    if (truth is None) != simulate:
        raise ConfigError("give either --truth MASKS, to calibrate with ground truth, or --simulate, to do without")
    if simulate and max_false is not None:
        raise ConfigError("--max-false needs ground truth (--truth MASKS): simulated images can promise nothing")
    if not simulate and images is not None:
        raise ConfigError("--images is the number of simulated images: it belongs to --simulate")
    shared = o.shared_out(jobs, executor, shard, redo)
    with Show(quiet) as show:
        common: dict[str, Any] = {"iou": iou, "options": shared, "dry_run": dry_run, "reporter": show}
        if truth is None:
            count = IMAGES if images is None else images
            result = simulate_run(folder, out, images=count, allow_code=allow_code, **common)
        else:
            result = calibrate_run(folder, truth, out, max_false=max_false, **common)
    return o.end(result)


@command
def report_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by divseg run.")],
) -> int:
    """Write the report of a run folder again."""
    from divseg.report import write_report

    print(write_report(folder))
    return OK


@command
def info_command(
    model: Annotated[Path | None, typer.Argument(help="Model folder to describe.", show_default=False)] = None,
) -> int:
    """Describe the installation, or a model folder."""
    from divseg.workflow.info import describe_installation, describe_model

    print(json.dumps(describe_model(model) if model else describe_installation(), indent=2))
    return OK
