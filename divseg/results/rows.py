"""Rows of the run's tables, and what the user is told at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from divseg.errors import Problem
from divseg.io import Image
from divseg.metrics import summarize

if TYPE_CHECKING:
    from divseg.metrics import Calibration
    from divseg.workflow.image import ImageResult

GAUSSIAN = "gaussian sd="
SHOWN = ("map", "ap50", "ap75", "seg", "det", "f1", "pq")


def failure_rows(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Rows of failures.csv for files that the check found wanting."""
    return [
        {"image": Path(p.file).stem, "file": p.file, "stage": "check", "error": f"{p.problem}; {p.remedy}"}
        for p in problems
    ]


def image_row(
    image: Image, result: ImageResult, seconds: float, calibration: Calibration | None = None
) -> dict[str, Any]:
    """Row of images.csv: what is known of one image and its consensus."""
    size, fused = image.pixel_size, result.consensus
    counts = np.asarray(fused.counts, dtype=float)
    objects = fused.objects
    low, middle, high = np.quantile(counts, [0.05, 0.5, 0.95])
    interval = None if calibration is None else calibration.count_interval(float(low), float(high))
    return {
        "file": str(image.path),
        "plane": " ".join(f"{axis}={index}" for axis, index in image.plane),
        "height": image.shape[-2],
        "width": image.shape[-1],
        "pixel_size_y": None if size is None else size.y,
        "pixel_size_x": None if size is None else size.x,
        "pixel_unit": None if size is None else size.unit,
        "n_objects": len(objects),
        "count_mean": float(counts.mean()),
        "count_q05": float(low),
        "count_q50": float(middle),
        "count_q95": float(high),
        **({} if interval is None else {"count_low": interval[0], "count_high": interval[1]}),
        "area_mean": float(objects["area"].mean()) if len(objects) else None,
        "existence_mean": float(objects["existence"].mean()) if len(objects) else None,
        "sd_mean": float(result.sd.mean()),
        **{f"expected_{name}": value for name, value in fused.expected.items()},
        "noise_correlation_x": result.noise_correlation[0],
        "noise_correlation_y": result.noise_correlation[1],
        "warnings": "\n".join(result.warnings),
        "seconds": round(seconds, 2),
    }


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
        table["input"] = table["input"].where(table.index != best, f"best gaussian (sd={width})")
    return table.reset_index(drop=True)


def summary_text(tables: Mapping[str, pd.DataFrame], summary: pd.DataFrame, page: Path, n_inputs: int) -> str:
    """Return the lines that end a run: numbers, scores, where things are."""
    images, failures = tables["images"], tables["failures"]
    lines = [f"{len(images)} of {n_inputs} images done, {int(images['n_objects'].sum()) if len(images) else 0} objects"]
    if len(failures):
        lines.append(f"{len(failures)} failed: see {page.parent / 'failures.csv'}")
    if len(summary):
        lines += ["", score_table(summary), ""]
    lines.append(f"report: {page}")
    return "\n".join(lines)


def score_table(summary: pd.DataFrame) -> str:
    """Scores of each input as aligned text."""
    columns = [c for c in SHOWN if c in summary]
    width = max(len(str(v)) for v in ["input", *summary["input"]])
    head = "input".ljust(width) + "".join(c.rjust(8) for c in columns)
    rows = [
        str(row["input"]).ljust(width) + "".join(f"{row[c]:8.3f}" for c in columns) for _, row in summary.iterrows()
    ]
    return "\n".join([head, *rows])
