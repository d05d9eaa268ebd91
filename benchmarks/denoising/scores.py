"""Scores of one denoised image: PSNR, SSIM, and how much its samples differ and where."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from benchmarks.denoising.methods import Denoised
from benchmarks.sets import psnr

FAILED = "*"
"""In place of an image's name: the method cannot be had, and the note says why."""


@dataclass(frozen=True)
class Row:
    """One image and method; NaN if a figure has no meaning.

    Attributes
    ----------
    psnr, ssim : float
        Of the denoised image, in dB and from -1 to 1.
    single : float
        PSNR of the first sample.
    diversity : float
        Root of the mean variance of the samples, in units of the range of their mean image.
    rank : float
        Spearman's rank correlation of the samples' standard deviation with the absolute error of their mean.
    """

    job: str
    image: str
    method: str
    minutes: float
    psnr: float = math.nan
    ssim: float = math.nan
    single: float = math.nan
    diversity: float = math.nan
    rank: float = math.nan
    seconds: float = math.nan
    training_seconds: float = math.nan
    note: str = ""


def fitted(image: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the image with the scale and offset of least squared error to the target."""
    x, y = image.astype(np.float64), target.astype(np.float64)
    spread = x.var()
    scale = 0.0 if spread == 0 else float(((x - x.mean()) * (y - y.mean())).mean() / spread)
    return (x - x.mean()) * scale + y.mean()


def score(
    job: str, image: str, method: str, minutes: float, made: Denoised, target: NDArray[np.float32] | None, affine: bool
) -> Row:
    """Return the row of one denoised image."""
    figures: dict[str, float] = {"seconds": made.seconds}
    if made.samples is not None:
        std = made.samples.std(axis=0, ddof=1)
        span = float(np.ptp(made.image))
        figures["diversity"] = float(np.sqrt(np.mean(std.astype(np.float64) ** 2))) / max(span, 1e-12)
    if target is not None:
        shown = fitted(made.image, target) if affine else made.image.astype(np.float64)
        figures["psnr"] = psnr(shown, target)
        figures["ssim"] = float(
            structural_similarity(shown, target.astype(np.float64), data_range=float(np.ptp(target)))
        )
        if made.samples is not None:
            first = made.samples[0]
            figures["single"] = psnr(fitted(first, target) if affine else first, target)
            figures["rank"] = float(spearmanr(std.ravel(), np.abs(shown - target).ravel()).statistic)
    return Row(job, image, method, minutes, **figures)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table, none if there is no file."""
    if not path.is_file():
        return []
    kinds = {"str": str, "float": float}
    with path.open(encoding="utf-8", newline="") as file:
        return [Row(**{f.name: kinds[str(f.type)](line[f.name]) for f in fields(Row)}) for line in csv.DictReader(file)]


def add_row(path: Path, row: Row) -> None:
    """Append a row to a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))
    print(f"{row.job} {row.image} {row.method}: {row.psnr:.2f} dB {row.note}".rstrip(), flush=True)
