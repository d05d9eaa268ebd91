"""``divseg denoise`` and ``divseg segment``: parts of a run on their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from divseg.cli import options as o
from divseg.cli.app import OK, SOME_FAILED
from divseg.cli.show import Show


def denoise_command(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or glob of noisy images.")],
    model: Annotated[Path, typer.Option(help="Model folder, of divseg train or in a run folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    samples: Annotated[int, typer.Option(help="Posterior samples that are averaged.")] = 32,
    keep: Annotated[
        str, typer.Option(help="Samples that are written themselves, e.g. 0,3,7 or 0-9.", show_default=False)
    ] = "",
    interval: Annotated[
        float | None,
        typer.Option(help="Also write the bounds that hold this share of the samples, e.g. 0.9.", show_default=False),
    ] = None,
    mode: Annotated[bool, typer.Option("--mode", help="Also write the maximum a posteriori.")] = False,
    augment: Annotated[bool, typer.Option("--augment", help="Draw from turned and flipped views in turn.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    axes: o.Axes = None,
    channel: o.Channel = None,
    device: o.Device = None,
    tile: o.Tile = None,
    quiet: o.Quiet = False,
) -> int:
    """Denoise images with a trained model, without segmenting.

    Writes the mean of posterior samples and their standard deviation; if asked for an interval, the mode, and chosen
    samples. Exit code: 0 all well, 1 some images failed (see failures.csv), 2 wrong use, 130 interrupted.
    """
    from divseg.workflow.denoise import DenoiseSettings, denoise_folder, sample_numbers

    how = DenoiseSettings(samples, sample_numbers(keep), interval, mode, augment, seed)
    with Show(quiet) as show:
        result = denoise_folder(
            source,
            model,
            out,
            how,
            axes=axes,
            channel=channel,
            device=device or "auto",
            tile=tile,
            reporter=show,
        )
    print(result.text)
    return SOME_FAILED if result.n_failed else OK


def segment_command(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or glob of images.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    segmenter: Annotated[
        str, typer.Option(help="Segmenter with options, as for divseg run; not auto.")
    ] = "otsu,smooth=1,split=distance",
    axes: o.Axes = None,
    channel: o.Channel = None,
    quiet: o.Quiet = False,
) -> int:
    """Segment images as they are, without samples or consensus.

    For denoised images, or as a baseline: `divseg run` segments posterior samples and tells how sure it is of each
    object. Exit code: 0 all well, 1 some images failed (see failures.csv), 2 wrong use, 130 interrupted.
    """
    from divseg.workflow.segment import segment_folder

    with Show(quiet) as show:
        result = segment_folder(source, out, segmenter, axes=axes, channel=channel, reporter=show)
    print(result.text)
    return SOME_FAILED if result.n_failed else OK
