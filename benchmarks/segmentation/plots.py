"""All plots of the benchmark, drawn from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.segmentation.curves import calibration_chart, levels_chart, minutes_chart, samples_chart
from benchmarks.segmentation.inputs import Input
from benchmarks.segmentation.pictures import extremes
from benchmarks.segmentation.rows import Book, read_rows
from divseg.io import write_bytes
from divseg.report.style import to_png


def draw_all(folder: Path, books: Sequence[Book], chosen: Mapping[Path, Any]) -> list[Path]:
    """Draw what there are numbers for.

    Parameters
    ----------
    folder : Path
        Where the plots go.
    books : sequence of Book
        Filled.
    chosen : mapping
        For each book's file of rows the inputs, and for each fold the scored pictures and the choices.

    Returns
    -------
    list of Path
        Files that were written.
    """
    rows = _read([(book.rows, chosen[book.rows][0]) for book in books], ("image", "input"))
    most = rows["minutes"].max()
    drawn = {
        "levels": levels_chart(rows[rows["minutes"] == most]),
        "minutes": minutes_chart(rows),
        "samples": samples_chart(
            _read([(book.curve, chosen[book.rows][0]) for book in books], ("image", "input", "samples"))
        ),
        "calibration": calibration_chart(
            _read(
                [(book.objects, chosen[book.rows][0]) for book in books if book.cell.minutes == most],
                ("image", "input", "label"),
            )
        ),
    }
    files = []
    for name, figure in drawn.items():
        if figure is not None:
            files.append(folder / f"{name}.png")
            write_bytes(files[-1], to_png(figure))
    for book in (book for book in books if book.cell.minutes == most):
        inputs, folds = chosen[book.rows]
        figure = extremes(book, inputs, folds)
        if figure is not None:
            files.append(folder / f"{book.rows.stem}.png")
            write_bytes(files[-1], to_png(figure))
    return files


def _read(files: Sequence[tuple[Path, Sequence[Input]]], keys: Sequence[str]) -> pd.DataFrame:
    tables = [table for file, inputs in files if len(table := read_rows(file, inputs, keys))]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
