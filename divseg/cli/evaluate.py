"""``divseg evaluate``: label images against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from divseg.cli.app import OK
from divseg.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".json", ".md")
_THIS, _OTHER = "this", "other"


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
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{out}: scores are written as {', '.join(SUFFIXES)}; give a file name with one of these")
    import pandas as pd

    from divseg.metrics import THRESHOLDS, evaluate_folders, summarize, to_markdown

    options: dict[str, Any] = {
        "thresholds": THRESHOLDS if thresholds is None else _numbers(thresholds),
        "partial": partial,
        "split_disconnected": split_disconnected,
        "penalize_extra": not no_penalize_extra,
    }
    table = evaluate_folders(predicted, truth, **options)
    table.insert(0, "input", predicted.resolve().name)
    summary = summarize(table)
    if out is not None:
        _write(out, table, summary)
    print(to_markdown(summary))
    if against is not None:
        other = evaluate_folders(against, truth, **options)
        other.insert(0, "input", _OTHER)
        table["input"] = _THIS
        print(f"\n{predicted} minus {against}:\n\n{to_markdown(_paired(pd.concat([table, other])))}")
    return OK


def _paired(table: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences of this folder to the other, a row for each score."""
    import pandas as pd

    from divseg.metrics import compare

    rows = []
    for score in ("map", "ap50", "ap75", "seg", "det", "f1", "pq"):
        if table[score].notna().any():
            c = compare(table, _THIS, _OTHER, score)
            row = {"score": score, "difference": c.difference, "from": c.low, "to": c.high}
            rows.append(row | {"share better": c.improved, "images": c.n_images})
    return pd.DataFrame(rows)


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
