"""``divseg fuse``: label images of any source in, consensus out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from divseg.cli import options as o
from divseg.cli.app import OK, SOME_FAILED
from divseg.cli.show import Show


def fuse_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of label images to fuse.")],
    out: o.Out = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="stacks (files of K label images), raters (a subfolder each, same file names) or images (a "
            "subfolder each); by default what the folder looks like.",
            show_default=False,
        ),
    ] = None,
    ndim: Annotated[
        int | None,
        typer.Option(help="Dimensions of a label image, 2 or 3, where files do not tell.", show_default=False),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights like 2,1,1 in the order of folders, files or planes, or a .csv file with the columns "
            "name and weight.",
            show_default=False,
        ),
    ] = None,
    method: o.Method = None,
    target: o.Target = None,
    existence: o.Existence = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    truth: o.Truth = None,
    calibration: o.Calibration = None,
    quiet: o.Quiet = False,
) -> int:
    """Fuse label images of several raters, networks or samples.

    Writes for each image one label image with a confidence for every object, and tables of objects and images.
    Results go to FOLDER_fused, or to --out. Exit code: 0 all well, 1 some images failed (see failures.csv),
    2 wrong use, 130 interrupted.
    """
    from divseg.workflow.fuse import fuse_folder

    settings: dict[str, Any] = {"method": method, "target": target, "existence": existence}
    with Show(quiet) as show:
        result = fuse_folder(
            folder,
            out,
            layout=layout,
            ndim=ndim,
            weights=weights,
            seed=seed,
            truth=truth,
            calibration=calibration,
            reporter=show,
            **{name: value for name, value in settings.items() if value is not None},
        )
    print(result.text)
    return SOME_FAILED if result.n_failed else OK
