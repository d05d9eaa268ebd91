"""Rows of the tables of a run, and the text that ends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.errors import Problem, some
from divseg.io import Image, PixelSize
from divseg.io.sources import LeftOut, stem
from divseg.metrics import summarize

if TYPE_CHECKING:
    from divseg.consensus import Consensus
    from divseg.metrics import Calibration

GAUSSIAN, BEST_GAUSSIAN = "gaussian sigma=", "best gaussian (sigma={})"
"""Inputs of the segmenter: a smoothed image, and in the summary the best of them."""

SHOWN = ("map", "ap50", "ap75", "seg", "det", "f1", "pq")
"""Scores that are shown to people; the tables hold more."""


def failure_rows(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Return rows of failures.csv for files that cannot be used."""
    return [
        {"image": stem(p.file), "file": p.file, "stage": "check", "error": f"{p.problem}; {p.remedy}"} for p in problems
    ]


def left_out_rows(files: Iterable[LeftOut]) -> list[dict[str, str]]:
    """Return what run.json says of files among the images that are not taken as images."""
    return [{"file": str(f.file), "reason": f.reason} for f in files]


def pixel_columns(shape: tuple[int, ...], size: PixelSize | None) -> dict[str, Any]:
    """Return the columns of images.csv that tell the shape, (Y, X) or (Z, Y, X), and the pixel size."""
    return {
        **({"depth": shape[0], "pixel_size_z": None if size is None else size.z} if len(shape) == 3 else {}),
        "height": shape[-2],
        "width": shape[-1],
        "pixel_size_y": None if size is None else size.y,
        "pixel_size_x": None if size is None else size.x,
        "pixel_unit": None if size is None else size.unit,
    }


def defect_columns(image: Image) -> dict[str, Any]:
    """Return the columns of images.csv that tell of pixels without data and defective ones; only what there is.

    ``invalid`` is the fraction of the pixels that are no data, ``outliers`` the number of pixels that were mended.
    """
    found = {"invalid": image.invalid, "outliers": image.outliers}
    return {name: value for name, value in found.items() if value}


def consensus_columns(
    consensus: Consensus, calibration: Calibration | None = None, weights: NDArray[np.float64] | None = None
) -> dict[str, Any]:
    """Return the columns of images.csv that tell what a fusion found.

    Parameters
    ----------
    consensus : Consensus
        Fused label image.
    calibration : Calibration, optional
        Adds the calibrated interval of the count, and ``calibrated_map``, ``_seg`` and ``_count``.
    weights : float array, shape (K,), optional
        Weights of the K label images in mean and quantiles of their counts; all the same by default.
    """
    counts, objects = np.asarray(consensus.counts, dtype=float), consensus.objects
    if weights is None:
        mean, quantiles = counts.mean(), np.quantile(counts, (0.05, 0.5, 0.95))
    else:
        from divseg.consensus.weights import weighted_quantiles

        mean, quantiles = np.dot(counts, weights), weighted_quantiles(counts, weights, (0.05, 0.5, 0.95))
    low, middle, high = quantiles.tolist()
    interval = None if calibration is None else calibration.count_interval(low, high)
    return {
        "n_objects": len(objects),
        "count_mean": float(mean),
        "count_q05": low,
        "count_q50": middle,
        "count_q95": high,
        **({} if interval is None else {"count_low": interval[0], "count_high": interval[1]}),
        **({} if calibration is None else _calibrated(calibration, objects)),
        "area_mean": float(objects["area"].mean()) if len(objects) else None,
        "existence_mean": float(objects["existence"].mean()) if len(objects) else None,
        **{f"expected_{name}": value for name, value in consensus.expected.items()},
    }


def _calibrated(calibration: Calibration, objects: pd.DataFrame) -> dict[str, Any]:
    from divseg.metrics.calibration import object_score

    return {f"calibrated_{name}": value for name, value in calibration.expected(object_score(objects)).items()}


def score_summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each input of the segmenter, over all images; of the Gaussian smoothings only the best.

    The width of the smoothing is the one of the highest mean mAP over the images, so it is chosen with the ground
    truth: nobody could choose better without it, and the baseline is as strong as it can be.
    """
    if scores.empty:
        return pd.DataFrame()
    table = summarize(scores, by="input")
    smooth = table["input"].str.startswith(GAUSSIAN)
    if smooth.any():
        best = int(np.argmax(np.where(smooth, table["map"].fillna(-1), -2)))
        width = str(table["input"].iloc[best]).removeprefix(GAUSSIAN)
        table = table[~smooth | (table.index == best)].copy()
        table["input"] = table["input"].where(table.index != best, BEST_GAUSSIAN.format(width))
    return table.reset_index(drop=True)


def summary_lines(tables: Mapping[str, pd.DataFrame], page: Path | None, n_inputs: int) -> list[str]:
    """Return the lines that end a run: numbers, scores, where the report is."""
    images = tables["images"]
    n_objects = int(images["n_objects"].sum()) if len(images) else 0
    empty = list(images["image"][images["n_objects"] == 0]) if len(images) else []
    nothing = f"; nothing found in {some(empty)}" if empty else ""
    lines = [f"{len(images)} of {n_inputs} images done, {n_objects} objects{nothing}"]
    if "summary" in tables:
        lines += ["", score_table(tables["summary"]), ""]
    return lines if page is None else [*lines, f"report: {page}"]


def score_table(summary: pd.DataFrame) -> str:
    """Return the scores of each input as aligned text."""
    columns = [c for c in SHOWN if c in summary]
    width = max(len(str(v)) for v in ["input", *summary["input"]])
    head = "input".ljust(width) + "".join(c.rjust(8) for c in columns)
    rows = [
        str(row["input"]).ljust(width) + "".join(f"{row[c]:8.3f}" for c in columns) for _, row in summary.iterrows()
    ]
    return "\n".join([head, *rows])
