"""Every input gets the segmenter and the setting that are best for it on the tuning part; the same effort for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.segmentation.grids import Grid
from benchmarks.segmentation.inputs import Input
from benchmarks.segmentation.source import Choice, Source, consensus, label_images
from divseg import evaluate
from divseg.io import write_csv

COLUMNS = ["input", "definition", "setting", "spec", "image", "map"]


def tune_picture(source: Source, rows: Iterable[Input], grid: Grid, samples: int, most: int) -> list[dict[str, object]]:
    """Score every candidate of every input on one picture of the tuning part.

    Parameters
    ----------
    source : Source
        The picture.
    rows : iterable of Input
        Those with a tuning of their own.
    grid : Grid
        Candidates of the segmenter.
    samples : int
        Posterior samples that there are.
    most : int
        Samples, or groups of samples, that are segmented for tuning.
    """
    truth, name, rows = source.picture.masks, source.picture.name, list(rows)
    scored: list[dict[str, object]] = []
    for number, row in enumerate(rows):
        for setting in row.settings:
            for spec in grid.specs:
                masks = label_images(source, row, Choice(setting, spec), grid, samples, most)
                if row.result == "fuse":
                    masks = [consensus(row, masks).labels]
                score = float(np.mean([evaluate(m, truth).map for m in masks]))
                values = [row.name, row.definition, str(setting), spec, name, score]
                scored.append(dict(zip(COLUMNS, values, strict=True)))
        source.keep_only({key[0] for later in rows[number + 1 :] for key in later.images})
    return scored


def choose(table: pd.DataFrame, rows: Sequence[Input], images: Iterable[str]) -> dict[str, Choice]:
    """Choose setting and segmenter of each input by the mean mAP over some pictures.

    Parameters
    ----------
    table : DataFrame
        From :func:`tune_picture`.
    rows : sequence of Input
        All inputs; those that share another's tuning get its choice, combinations get none.
    images : iterable of str
        Names of the pictures that count.
    """
    part = table[table["image"].isin(list(images))]
    chosen: dict[str, Choice] = {}
    for row in rows:
        if row.members or row.tuned_as:
            continue
        mine = part[(part["input"] == row.name) & (part["definition"] == row.definition)]
        if mine.empty:
            raise SystemExit(f"nothing to tune {row.name!r} on: the tuning part holds no image")
        means = mine.groupby(["setting", "spec"], sort=False)["map"].mean()
        setting, spec = means.fillna(-1).idxmax()
        by_text = {str(value): value for value in row.settings}
        chosen[row.name] = Choice(by_text[setting], spec, float(means.max()))
    for row in rows:
        if row.tuned_as:
            chosen[row.name] = chosen[row.tuned_as]
    return chosen


def tuned(
    file: Path,
    names: Sequence[str],
    source_of: Callable[[str], Source],
    rows: Sequence[Input],
    grid: Grid,
    *,
    samples: int,
    most: int,
    progress: Callable[[str], None],
) -> pd.DataFrame:
    """Return the tuning scores of pictures, from a file if it holds them already; new ones are added to it.

    Parameters
    ----------
    file : Path
        CSV.
    names : sequence of str
        Of the pictures of the tuning part.
    source_of : callable
        Returns a picture's source.
    rows, grid, samples, most
        As for :func:`tune_picture`.
    progress : callable
        Receives a line on which picture begins.
    """
    table = (
        pd.read_csv(file, keep_default_na=False, na_values=[""]) if file.is_file() else pd.DataFrame(columns=COLUMNS)
    )
    table["setting"] = table["setting"].astype(str)
    own = [row for row in rows if not row.members and not row.tuned_as]
    for name in names:
        there = set(table.loc[table["image"] == name, "definition"])
        missing = [row for row in own if row.definition not in there]
        if not missing:
            continue
        progress(f"tune on {name}: {len(missing)} inputs, {len(grid.specs)} candidates")
        source = source_of(name)
        new = pd.DataFrame(tune_picture(source, missing, grid, samples, most))
        table = pd.concat([table, new], ignore_index=True) if len(table) else new
        write_csv(file, table)
        source.forget()
    return table
