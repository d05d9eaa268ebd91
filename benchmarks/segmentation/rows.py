"""Scores of the scored part, a row for each input and picture, in a file that grows picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.segmentation.cell import Cell
from benchmarks.segmentation.grids import Grid
from benchmarks.segmentation.inputs import CALIBRATED, CURVE, Input
from benchmarks.segmentation.source import (
    Choice,
    Labels,
    Source,
    combine,
    consensus,
    label_images,
    member_choice,
    scores,
)
from benchmarks.segmentation.tuning import choose, tuned
from divseg.consensus import Consensus, assess
from divseg.io import config_hash, write_csv, write_json
from divseg.metrics import object_hits

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Numbers of samples of the curve."""
LEAST = 8
"""Samples from which on a combination has means of four among its members."""


def result_of(
    source: Source, row: Input, rows: Sequence[Input], chosen: dict[str, Choice], grid: Grid, samples: int
) -> tuple[list[Labels], Consensus | None, str]:
    """Return what is scored of an input: label images, the consensus if it is one, and the segmenter in words."""
    by_name = {r.name: r for r in rows}
    if row.members:
        choices = {m: member_choice(m, row, chosen) for m in row.members}
        groups = [label_images(source, by_name[m], choice, grid, samples) for m, choice in choices.items()]
        fused, weights = combine(groups, row.fusion, source)
        fused = assess(fused.labels, groups[0])
        text = "; ".join(f"{m} {w:.2f}: {choices[m].spec}" for m, w in zip(row.members, weights, strict=True))
        return [fused.labels], fused, text
    choice = chosen[row.name]
    masks = label_images(source, row, choice, grid, samples)
    if row.result == "fuse":
        fused = consensus(row, masks)
        return [fused.labels], fused, choice.spec
    return masks, None, choice.spec


def score_picture(
    source: Source, wanted: Sequence[Input], rows: Sequence[Input], chosen: dict[str, Choice], grid: Grid, samples: int
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Score inputs on one picture.

    Returns
    -------
    list of dict
        A row for each input.
    DataFrame
        Existence of each object of some consensuses, and whether the truth has it.
    """
    scored, objects = [], []
    truth, name = source.picture.masks, source.picture.name
    for row in wanted:
        masks, fused, spec = result_of(source, row, rows, chosen, grid, samples)
        setting = chosen[row.name].setting if row.name in chosen else None
        head = {"image": name, "input": row.name, "kind": row.kind, "definition": row.definition}
        scored.append({**head, "setting": str(setting), "spec": spec, **scores(masks, truth)})
        if fused is not None and row.name in CALIBRATED:
            hits = object_hits(fused.labels, truth)
            existence = fused.objects["existence"].to_numpy()
            objects.append(hits.assign(image=name, input=row.name, definition=row.definition, existence=existence))
    return scored, pd.concat(objects, ignore_index=True) if objects else pd.DataFrame()


def curve_picture(
    source: Source,
    wanted: Sequence[Input],
    rows: Sequence[Input],
    chosen: dict[str, Choice],
    grid: Grid,
    most: int,
) -> list[dict[str, Any]]:
    """Score some inputs with 1, 2, 4, ... samples."""
    by_name = {row.name: row for row in rows}

    def label(row: Input, count: int) -> list[Labels]:
        if row.name == "MMSE":  # of so many samples, not of all that there are
            return [source.labels(("mmse", count), grid, chosen[row.name].spec)]
        return label_images(source, row, chosen[row.name], grid, count)

    scored = []
    for row in (r for r in wanted if r.name in CURVE):
        for count in (c for c in COUNTS if c <= most):
            if row.members:
                if count < LEAST:
                    continue
                masks = [combine([label(by_name[m], count) for m in row.members], row.fusion, source)[0].labels]
            elif row.images[0][0] == "group" and count < row.images[0][1]:
                continue
            else:
                masks = label(row, count)
                masks = masks if row.name == "MMSE" else [consensus(row, masks).labels]
            scored.append(
                {
                    "image": source.picture.name,
                    "input": row.name,
                    "definition": row.definition,
                    "samples": count,
                    **scores(masks, source.picture.masks),
                }
            )
    return scored


class Book:
    """Files of one cell and segmenter, named by a hash of everything that makes its rows.

    Parameters
    ----------
    out : Path
        Folder of the benchmark.
    cell : Cell
    grid : Grid
    tuning_samples : int
        Samples that are segmented for tuning.
    """

    def __init__(self, out: Path, cell: Cell, grid: Grid, tuning_samples: int) -> None:
        self.cell, self.grid, self.most = cell, grid, tuning_samples
        self.config: dict[str, Any] = {
            "set": cell.name,
            "level": cell.level,
            "segmenter": grid.name,
            "network": grid.digest,
            "candidates": grid.specs,
            "minutes": cell.minutes,
            "variant": cell.variant,
            "seed": cell.seed,
            "model": cell.digest,
            "samples": cell.samples,
            "tuning_samples": tuning_samples,
            "tuned_on": [list(fold.tune) for fold in cell.folds],
        }
        safe = grid.name.replace(":", "_").replace("=", "").replace(",", "_").replace("/", "_")
        stem = f"{cell.name}-{cell.level}-{safe}-{cell.minutes:g}min-{config_hash(self.config)[:8]}"
        self.rows, self.tuning = out / "rows" / f"{stem}.csv", out / "tuning" / f"{stem}.csv"
        self.objects, self.curve = out / "objects" / f"{stem}.csv", out / "curve" / f"{stem}.csv"
        write_json(self.rows.with_suffix(".json"), self.config)

    @property
    def head(self) -> dict[str, Any]:
        """Columns that tell this book's rows from others'."""
        return {k: self.config[k] for k in ("set", "level", "segmenter", "minutes", "variant")}

    def fill(
        self,
        rows: Sequence[Input],
        progress: Callable[[str], None],
        *,
        only: Sequence[str] | None = None,
        curve: int = 0,
    ) -> list[tuple[tuple[str, ...], dict[str, Choice]]]:
        """Tune and score whatever is not there yet.

        Parameters
        ----------
        rows : sequence of Input
        progress : callable
            Receives a line on what begins.
        only : sequence of str, optional
            Names of the rows that are tuned and scored; of combinations with ``fixed`` members these need not be there.
        curve : int
            Largest number of samples of the curve; 0 = no curve.

        Returns
        -------
        list of (tuple of str, dict)
            For each fold the scored pictures and what was chosen for each input.
        """
        cell, chosen_by_fold = self.cell, []
        wanted = [row for row in rows if only is None or row.name in only]
        for fold in cell.folds:
            options = {"samples": cell.samples, "most": self.most, "progress": progress}
            table = tuned(self.tuning, fold.tune, cell.source, wanted, self.grid, **options)
            chosen = choose(table, wanted, fold.tune)
            chosen_by_fold.append((fold.score, chosen))
            for name in fold.score:
                self._score(name, wanted, rows, chosen, progress)
                if curve:
                    self._curve(name, rows, chosen, curve, progress)
        return chosen_by_fold

    def _score(
        self,
        name: str,
        wanted: Sequence[Input],
        rows: Sequence[Input],
        chosen: dict[str, Choice],
        progress: Callable[[str], None],
    ) -> None:
        missing = missing_rows(self.rows, name, wanted)
        if not missing:
            return
        progress(f"score {name}: {len(missing)} inputs")
        source = self.cell.source(name)
        new, objects = score_picture(source, missing, rows, chosen, self.grid, self.cell.samples)
        if len(objects):
            append(self.objects, objects.assign(**self.head))
        append(self.rows, pd.DataFrame([{**self.head, **row} for row in new]))

    def _curve(
        self, name: str, rows: Sequence[Input], chosen: dict[str, Choice], most: int, progress: Callable[[str], None]
    ) -> None:
        missing = missing_rows(self.curve, name, [r for r in rows if r.name in CURVE])
        if not missing:
            return
        progress(f"curve {name}")
        new = curve_picture(self.cell.source(name, most), missing, rows, chosen, self.grid, most)
        append(self.curve, pd.DataFrame([{**self.head, **row} for row in new]))


def missing_rows(file: Path, image: str, rows: Sequence[Input]) -> list[Input]:
    """Return the inputs that a file does not have, as they are defined now, for a picture."""
    if not file.is_file():
        return list(rows)
    table = pd.read_csv(file, usecols=["image", "definition"], dtype=str)
    there = set(table.loc[table["image"] == image, "definition"])
    return [row for row in rows if row.definition not in there]


def read_rows(file: Path, rows: Sequence[Input], keys: Sequence[str] = ("image", "input")) -> pd.DataFrame:
    """Read the rows of the inputs as they are defined now, in their order; of several with equal `keys`, the last."""
    if not file.is_file():
        return pd.DataFrame()
    table = pd.read_csv(file, keep_default_na=False, na_values=[""])
    order = {row.definition: number for number, row in enumerate(rows)}
    table = table[table["definition"].isin(order)].drop_duplicates(list(keys), keep="last")
    return table.sort_values("definition", key=lambda d: d.map(order), kind="stable", ignore_index=True)


def append(file: Path, new: pd.DataFrame) -> None:
    """Add rows to a CSV file; the file is replaced as a whole, so that it is never half written."""
    old = pd.read_csv(file, keep_default_na=False, na_values=[""]) if file.is_file() else None
    write_csv(file, new if old is None else pd.concat([old, new], ignore_index=True))
