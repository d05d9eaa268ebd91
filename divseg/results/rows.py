"""Rows of the run's tables, and what the user is told at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from divseg.errors import Problem
from divseg.metrics import summarize

GAUSSIAN = "gaussian sigma="
SHOWN = ("map", "ap50", "ap75", "seg", "det", "f1", "pq")


def failure_rows(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Rows of failures.csv for files that the check found wanting."""
    return [
        {"image": Path(p.file).stem, "file": p.file, "stage": "check", "error": f"{p.problem}; {p.remedy}"}
        for p in problems
    ]


def score_summary(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per input of the segmenter, over all images; of the Gaussian smoothings only the best.

    The width of the smoothing is chosen by the mean mAP over the images, with the truth: no user could
    choose better, so the baseline is as strong as it can be.
    """
    if scores.empty:
        return pd.DataFrame()
    table = summarize(scores, by="input")
    order = list(dict.fromkeys(scores["input"]))
    table = table.set_index("input").loc[order].reset_index()
    smooth = table["input"].str.startswith(GAUSSIAN)
    if smooth.any():
        best = int(np.argmax(np.where(smooth, table["map"].fillna(-1), -2)))
        width = str(table["input"].iloc[best]).removeprefix(GAUSSIAN)
        table = table[~smooth | (table.index == best)].copy()
        table["input"] = table["input"].where(table.index != best, f"best gaussian (sigma={width})")
    return table.reset_index(drop=True)


def summary_lines(tables: Mapping[str, pd.DataFrame], page: Path, n_inputs: int) -> list[str]:
    """Return the lines that end a run: numbers, scores, where the report is."""
    images = tables["images"]
    n_objects = int(images["n_objects"].sum()) if len(images) else 0
    lines = [f"{len(images)} of {n_inputs} images done, {n_objects} objects"]
    if "summary" in tables:
        lines += ["", score_table(tables["summary"]), ""]
    return [*lines, f"report: {page}"]


def score_table(summary: pd.DataFrame) -> str:
    """Scores of each input as aligned text."""
    columns = [c for c in SHOWN if c in summary]
    width = max(len(str(v)) for v in ["input", *summary["input"]])
    head = "input".ljust(width) + "".join(c.rjust(8) for c in columns)
    rows = [
        str(row["input"]).ljust(width) + "".join(f"{row[c]:8.3f}" for c in columns) for _, row in summary.iterrows()
    ]
    return "\n".join([head, *rows])
