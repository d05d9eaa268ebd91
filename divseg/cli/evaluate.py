"""``divseg evaluate``: label images against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divseg.cli.app import OK
from divseg.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".json", ".md")


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
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{out}: scores are written as {', '.join(SUFFIXES)}; give a file name with one of these")
    from divseg.metrics import THRESHOLDS, evaluate_folders, summarize, to_markdown

    table = evaluate_folders(
        predicted,
        truth,
        thresholds=THRESHOLDS if thresholds is None else _numbers(thresholds),
        partial=partial,
        split_disconnected=split_disconnected,
        penalize_extra=not no_penalize_extra,
    )
    table.insert(0, "input", predicted.resolve().name)
    summary = summarize(table)
    if out is not None:
        _write(out, table, summary)
    print(to_markdown(summary))
    return OK


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--thresholds {text} are no numbers; write them like 0.5,0.75") from None


def _write(out: Path, table: pd.DataFrame, summary: pd.DataFrame) -> None:
    """Write the rows of all images, and the summary where the format has room for both."""
    from divseg.io import write_csv, write_json, write_text
    from divseg.metrics import to_markdown

    kind = out.suffix.lower()
    if kind == ".csv":
        write_csv(out, table)
    elif kind == ".json":
        images = table.drop(columns="input").to_dict("records")
        write_json(out, {"input": table["input"].iloc[0], "summary": summary.to_dict("records")[0], "images": images})
    else:
        write_text(out, f"# Scores\n\n{to_markdown(summary)}\n## Images\n\n{to_markdown(table)}")
