"""``divseg denoise``, ``segment`` and ``fuse``: parts of a run on their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from divseg.cli import options as o
from divseg.cli.show import Show


@o.with_settings(*o.DATA, "samples", "seed", "device", "tile", "precision")
def denoise_command(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or glob of noisy images.")],
    settings: dict[str, Any],
    model: Annotated[Path, typer.Option(help="Model folder, of divseg train or in a run folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    keep_samples: Annotated[
        str, typer.Option(help="Samples that are written themselves, e.g. 0,3,7 or 0-9.", show_default=False)
    ] = "",
    interval: Annotated[
        float | None,
        typer.Option(help="Also write the bounds of this fraction of the samples, e.g. 0.9.", show_default=False),
    ] = None,
    mode: Annotated[bool, typer.Option("--mode", help="Also write the maximum a posteriori.")] = False,
    tta: Annotated[
        bool, typer.Option("--tta", help="Test-time augmentation: draw from turned and flipped images in turn.")
    ] = False,
    jobs: o.Jobs = None,
    executor: o.ExecutorName = None,
    shard: o.Shard = None,
    redo: o.Redo = None,
    dry_run: o.DryRun = False,
    quiet: o.Quiet = False,
) -> int:
    """Denoise images with a trained model, without segmenting.

    Writes the mean of posterior samples and their standard deviation; if asked for, an interval, the mode, and chosen
    samples. Exit code: 0 all well, 1 some images failed (see failures.csv), 2 usage error, 130 interrupted.
    """
    from divseg.workflow.denoise import DenoiseSettings, denoise_folder, sample_numbers

    drawn = {name: settings.pop(name) for name in ("samples", "seed", "precision") if name in settings}
    with Show(quiet) as show:
        result = denoise_folder(
            source,
            model,
            out,
            DenoiseSettings(keep_samples=sample_numbers(keep_samples), interval=interval, mode=mode, tta=tta, **drawn),
            options=o.shared_out(jobs, executor, shard, redo),
            dry_run=dry_run,
            reporter=show,
            **settings,
        )
    return o.end(result)


@o.with_settings(*o.DATA)
def segment_command(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or glob of images.")],
    settings: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    segmenter: Annotated[
        str, typer.Option(help="Segmenter with options, as for divseg run; not auto.")
    ] = "otsu,smooth=1,split=distance",
    jobs: o.Jobs = None,
    executor: o.ExecutorName = None,
    shard: o.Shard = None,
    redo: o.Redo = None,
    dry_run: o.DryRun = False,
    quiet: o.Quiet = False,
) -> int:
    """Segment images as they are, without samples or consensus.

    For denoised images, or as a baseline: `divseg run` segments posterior samples and tells how sure it is of each
    object. Exit code: 0 all well, 1 some images failed (see failures.csv), 2 usage error, 130 interrupted.
    """
    from divseg.workflow.segment import segment_folder

    with Show(quiet) as show:
        result = segment_folder(
            source,
            out,
            segmenter,
            options=o.shared_out(jobs, executor, shard, redo),
            dry_run=dry_run,
            reporter=show,
            **settings,
        )
    return o.end(result)


@o.with_settings("method", "objective", "existence", "calibration", "seed")
def fuse_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of label images.")],
    settings: dict[str, Any],
    out: o.Out = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="How label images lie: stacks (a file an image), raters (a subfolder a rater), images (a subfolder an "
            "image); found out by default.",
            show_default=False,
        ),
    ] = None,
    ndim: Annotated[
        int | None,
        typer.Option(help="Dimensions of a label image, 2 or 3, if files do not tell.", show_default=False),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights like 2,1,1 in the order of folders, files or planes, or a .csv file with the columns "
            "name and weight.",
            show_default=False,
        ),
    ] = None,
    truth: o.Truth = None,
    jobs: o.Jobs = None,
    executor: o.ExecutorName = None,
    shard: o.Shard = None,
    redo: o.Redo = None,
    dry_run: o.DryRun = False,
    quiet: o.Quiet = False,
) -> int:
    """Fuse label images of several raters, networks or samples.

    Writes for each image one label image with a confidence for every object, and tables of objects and images.
    Results go to FOLDER_fused, or to --out. Exit code: 0 all well, 1 some images failed (see failures.csv),
    2 usage error, 130 interrupted.
    """
    from divseg.workflow.fuse import fuse_folder

    with Show(quiet) as show:
        result = fuse_folder(
            folder,
            out,
            layout=layout,
            ndim=ndim,
            weights=weights,
            truth=truth,
            options=o.shared_out(jobs, executor, shard, redo),
            dry_run=dry_run,
            reporter=show,
            **settings,
        )
    return o.end(result)
