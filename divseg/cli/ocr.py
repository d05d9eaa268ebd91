"""``divseg ocr``: the text of noisy pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from divseg.cli import options as o
from divseg.cli.show import Show


@o.with_settings("axes", "channel", "planes", "project", "invalid", "samples", "seed", "device", "tile", "precision")
def ocr_command(
    source: Annotated[str, typer.Argument(metavar="IMAGES", help="Folder, file or glob of noisy images of text.")],
    settings: dict[str, Any],
    model: Annotated[Path, typer.Option(help="Model folder, of divseg train or in a run folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. [default: IMAGES_text]", show_default=False)
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="Text engine: rapidocr, tesseract with options such as tesseract,lang=deu,psm=6, or auto."),
    ] = "auto",
    group: Annotated[
        int | None,
        typer.Option(
            help="Samples averaged for each reading; 1 reads every sample by itself. [default: a quarter of them]",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            help="Enlargement of the pages for the engine; by default the one at which it reads the mean image best.",
            show_default=False,
        ),
    ] = None,
    doubtful: Annotated[float, typer.Option(help="Words below this confidence are shown as doubtful.")] = 0.8,
    jobs: o.Jobs = None,
    executor: o.ExecutorName = None,
    shard: o.Shard = None,
    redo: o.Redo = None,
    dry_run: o.DryRun = False,
    quiet: o.Quiet = False,
) -> int:
    """Read the text of noisy pages on many posterior samples, with confidence.

    Writes the text, a table of its words with confidence and alternatives, and a page that shows the doubtful ones.
    Exit code: 0 all well, 1 some images failed (see failures.csv), 2 usage error, 130 interrupted.
    """
    from divseg.workflow.ocr import ReadSettings, read_folder
    from divseg.workflow.run import default_out

    drawn = {name: settings.pop(name) for name in ("samples", "seed", "precision") if name in settings}
    with Show(quiet) as show:
        result = read_folder(
            source,
            model,
            default_out(source, "_text") if out is None else out,
            ReadSettings(engine=engine, group=group, scale=scale, doubtful=doubtful, **drawn),
            options=o.shared_out(jobs, executor, shard, redo),
            dry_run=dry_run,
            reporter=show,
            **settings,
        )
    return o.end(result)
