"""The commands of ``divseg``, each a call into the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from divseg.cli import options as o
from divseg.cli.app import OK, SOME_FAILED, command
from divseg.cli.app import app as app
from divseg.cli.denoise import denoise_command, segment_command
from divseg.cli.evaluate import evaluate_command
from divseg.cli.fuse import fuse_command
from divseg.cli.models import models
from divseg.cli.noise_model import noise_model
from divseg.cli.show import Show

app.add_typer(models, name="models")
app.add_typer(noise_model, name="noise-model")


def _config(path: Path | None, **settings: Any) -> Any:
    """Read settings from the file; the options that were given win over it."""
    from divseg.config import RunConfig

    given = {name: value for name, value in settings.items() if value is not None}
    return RunConfig.from_toml(path, **given) if path else RunConfig.make(**given)


@command
def run_command(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or glob of noisy images.")],
    out: o.Out = None,
    truth: o.Truth = None,
    model: o.Model = None,
    config: o.Config = None,
    preset: o.Preset = None,
    axes: o.Axes = None,
    channel: o.Channel = None,
    noise: o.Noise = None,
    network: o.Network = None,
    train_steps: o.TrainSteps = None,
    train_minutes: o.TrainMinutes = None,
    samples: o.Samples = None,
    seed: o.Seed = None,
    device: o.Device = None,
    tile: o.Tile = None,
    segmenter: o.Segmenter = None,
    voters: o.Voters = None,
    spread: o.Spread = None,
    group: o.Group = None,
    method: o.Method = None,
    target: o.Target = None,
    existence: o.Existence = None,
    calibration: o.Calibration = None,
    dry_run: Annotated[bool, typer.Option(help="Check the input, say what would be done, and stop.")] = False,
    quiet: o.Quiet = False,
) -> int:
    """Segment a folder of noisy images, with confidence.

    Writes consensus label images, tables, scores and a report.
    Trains on the images themselves (or uses --model), draws samples of the clean image, segments each, and
    fuses the masks. Running the same command again goes on where it stopped. Exit code: 0 all well, 1 some
    images failed (see failures.csv), 2 wrong use, 130 interrupted.
    """
    from divseg.workflow.run import run_folder

    settings = _config(
        config,
        preset=preset,
        axes=axes,
        channel=channel,
        noise=noise,
        network=network,
        train_steps=train_steps,
        train_minutes=train_minutes,
        samples=samples,
        seed=seed,
        device=device,
        tile=tile,
        segmenter=segmenter,
        voters=voters,
        spread=spread,
        group=group,
        method=method,
        target=target,
        existence=existence,
        calibration=calibration,
    )
    with Show(quiet) as show:
        result = run_folder(source, out, settings, truth=truth, model=model, dry_run=dry_run, reporter=show)
    if result.text:
        print(result.text)
    return SOME_FAILED if result.n_failed else OK


@command
def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the demo's images and results.")] = Path("demo_divseg"),
    train_minutes: o.TrainMinutes = None,
    quiet: o.Quiet = False,
) -> int:
    """Do it all on an embedded real image of nuclei.

    Scores the results against the image's ground truth. Takes about four minutes on two CPU cores.
    """
    from divseg.workflow.tasks import run_demo

    with Show(quiet) as show:
        result = run_demo(out, train_minutes=train_minutes, reporter=show)
    print(result.text)
    return SOME_FAILED if result.n_failed else OK


@command
def train_command(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or glob of noisy images.")],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    config: o.Config = None,
    preset: o.Preset = None,
    axes: o.Axes = None,
    channel: o.Channel = None,
    noise: o.Noise = None,
    network: o.Network = None,
    train_steps: o.TrainSteps = None,
    train_minutes: o.TrainMinutes = None,
    seed: o.Seed = None,
    device: o.Device = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in the model folder.")] = False,
    quiet: o.Quiet = False,
) -> int:
    """Train on noisy images, write a model folder.

    The folder is for `divseg run --model`. Checkpoints are written to it while training runs.
    """
    from divseg.workflow.tasks import train_folder

    settings = _config(
        config,
        preset=preset,
        axes=axes,
        channel=channel,
        noise=noise,
        network=network,
        train_steps=train_steps,
        train_minutes=train_minutes,
        seed=seed,
        device=device,
    )
    with Show(quiet) as show:
        model = train_folder(source, out, settings, resume=resume, reporter=show)
    print(f"{out}: {model.noise.describe()}; {model.training['kl_per_pixel']:.4f} nats per pixel in the latents")
    return 0


command(denoise_command)
command(segment_command)
command(fuse_command)
command(evaluate_command)


@command
def calibrate_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by divseg run.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Folder of ground-truth label images.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("calibration.json"),
    iou: Annotated[float, typer.Option(help="Objects are right above this IoU with a true one.")] = 0.5,
) -> int:
    """Learn what confidences are worth, from a run on images with truth.

    The file is for `divseg run --calibration` on further images of the kind.
    """
    from divseg.workflow.tasks import calibrate_run

    made = calibrate_run(folder, truth, out, iou=iou)
    check = made.check
    print(
        f"{out}: from {made.n_objects} objects in {made.n_images} images; on left-out images D-ECE "
        f"{check['d_ece_before']:.3f} before, {check['d_ece_after']:.3f} after; {made.coverage:.0%} area intervals "
        f"cover {check['area_coverage_before']:.0%} before, {check['area_coverage_after']:.0%} after"
    )
    return 0


@command
def report_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by divseg run.")],
) -> int:
    """Write the report of a run folder again."""
    from divseg.report import write_report

    print(write_report(folder))
    return 0


@command
def info_command(
    model: Annotated[Path | None, typer.Argument(help="Model folder to describe.", show_default=False)] = None,
) -> int:
    """Describe the installation, or a model folder."""
    from divseg.workflow.tasks import describe_installation, describe_model

    print(json.dumps(describe_model(model) if model else describe_installation(), indent=2))
    return 0
