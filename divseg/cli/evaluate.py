"""``divseg evaluate``: label images against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from divseg.cli.app import OK
from divseg.errors import ConfigError


def evaluate_command(
    predicted: Annotated[Path, typer.Argument(metavar="PREDICTED", help="Folder of label images, or one.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Folder of ground-truth label images, or one.")],
    out: Annotated[
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
) -> int:
    """Score label images against ground truth.

    Files belong together by name; folders of the Cell Tracking Challenge are recognised. Prints a row with the
    means over the images, 95 % bootstrap intervals, and scores of all images pooled.
    """
    from divseg.metrics import THRESHOLDS, evaluate, to_markdown
    from divseg.metrics.evaluation import check_format

    if out is not None:
        check_format(out)
    options: dict[str, Any] = {
        "thresholds": THRESHOLDS if thresholds is None else _numbers(thresholds),
        "partial": partial,
        "split_disconnected": split_disconnected,
        "penalize_extra": not no_penalize_extra,
    }
    scores = evaluate(predicted, truth, **options)
    if out is not None:
        scores.save(out)
    print(to_markdown(scores.summary))
    if against is not None:
        differences = scores.compare(evaluate(against, truth, **options))
        print(f"\n{predicted} minus {against}:\n\n{to_markdown(differences)}")
    return OK


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--thresholds {text} are not numbers; write them like 0.5,0.75") from None
