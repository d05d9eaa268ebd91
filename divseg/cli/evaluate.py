"""``divseg evaluate``: label images against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from divseg.cli import options as o
from divseg.cli.app import OK
from divseg.cli.show import Show
from divseg.errors import ConfigError


def evaluate_command(
    predicted: Annotated[Path, typer.Argument(metavar="PREDICTED", help="Folder of label images, or one.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Folder of ground-truth label images, or one.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for tables of scores; without it they are only printed.", show_default=False),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="File for the scores: .csv has those of every image, .json and .md also means and pooled scores.",
            show_default=False,
        ),
    ] = None,
    thresholds: Annotated[
        str | None,
        typer.Option(help="IoU thresholds, e.g. 0.5,0.75 (default 0.5 to 0.95 in steps of 0.05).", show_default=False),
    ] = None,
    partial: Annotated[
        bool | None,
        typer.Option(
            "--partial/--full",
            help="Whether only some objects of the truth are annotated (default: of single planes of a volume).",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="A second folder of label images: the paired difference to it, with a 95 % interval by image.",
            show_default=False,
        ),
    ] = None,
    split_disconnected: Annotated[
        bool, typer.Option("--split-disconnected", help="Take disconnected pieces of one label as objects.")
    ] = False,
    no_penalize_extra: Annotated[
        bool, typer.Option("--no-penalize-extra", help="Do not count objects without a reference in DET.")
    ] = False,
    jobs: o.Jobs = None,
    executor: o.ExecutorName = None,
    shard: o.Shard = None,
    redo: o.Redo = None,
    dry_run: o.DryRun = False,
    quiet: o.Quiet = False,
) -> int:
    """Score label images against ground truth.

    Files belong together by name; folders of the Cell Tracking Challenge are recognised. Prints a row with the
    means over the images, 95 % bootstrap intervals, and scores of all images pooled. With --out, images that cannot
    be scored are rows of failures.csv and the others are scored; what is done is not done again.
    """
    from divseg.metrics import THRESHOLDS, ScoreTable, evaluate, to_markdown
    from divseg.metrics.evaluation import FORMATS, check_format
    from divseg.workflow.evaluate import evaluate_folder
    from divseg.workflow.sharing import Options

    if save is not None:
        check_format(save)
    options: dict[str, Any] = {
        "thresholds": THRESHOLDS if thresholds is None else _numbers(thresholds),
        "partial": partial,
        "split_disconnected": split_disconnected,
        "penalize_extra": not no_penalize_extra,
    }
    shared = o.shared_out(jobs, executor, shard, redo)
    if out is None:
        if dry_run or shared != Options():
            raise ConfigError("--jobs, --executor, --shard, --redo and --dry-run need a folder: give one with --out")
        scores, code = evaluate(predicted, truth, **options), OK
        print(to_markdown(scores.summary))
    elif out.suffix.lower() in FORMATS:
        raise ConfigError(f"--out {out}: results go to a folder; give the name of a file with --save")
    else:
        with Show(quiet) as show:
            result = evaluate_folder(predicted, truth, out, **options, options=shared, dry_run=dry_run, reporter=show)
        code = o.end(result)
        if result.summary.empty:  # a dry run, a shard, or all images failed
            return code
        table = result.open().scores
        scores = ScoreTable(str(table["input"][0]), table.drop(columns="input"))
    if save is not None:
        scores.save(save)
    if against is not None:
        differences = scores.compare(evaluate(against, truth, **options))
        print(f"\n{predicted} minus {against}:\n\n{to_markdown(differences)}")
    return code


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--thresholds {text} are not numbers; write them like 0.5,0.75") from None
