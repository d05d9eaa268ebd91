"""What default runs say of their own results, against the truth: nothing of it was learned from labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import divseg
from benchmarks.sets import Picture
from divseg.metrics import d_ece, evaluate, object_hits

LIMIT = 0.05
"""Largest error of expected scores and of confidences that counts as right."""


def confidence_row(job: str, out: Path, pictures: list[Picture]) -> dict[str, float | str]:
    """Return what a run expects and what is true, of all its images.

    Parameters
    ----------
    job : str
        The set.
    out : Path
        Run folder.
    pictures : list of Picture
        Its images with their truth.
    """
    run = divseg.open_run(out)
    # without a calibration, for lack of simulated objects, the raw figures are all there is
    images = run.images_table.set_index("image")
    images = images.assign(
        **{name: np.nan for name in ("calibrated_map", "count_low", "count_high") if name not in images}
    )
    parts, true, counted = [], [], []
    for picture in pictures:
        truth = np.asarray(picture.masks)
        hits = object_hits(np.asarray(run.labels[picture.name]), truth)
        mine = run.objects[run.objects["image"] == picture.name]
        parts.append(mine.merge(hits[["label", "hit", "truth_area"]], on="label"))
        true.append(evaluate(run.labels[picture.name], truth).map)
        low, high = images.loc[picture.name, ["count_low", "count_high"]]
        counted.append(low <= len(np.unique(truth)) - 1 <= high)
    objects = pd.concat(parts)
    objects = objects.assign(**{name: np.nan for name in ("p_true", "area_low", "area_high") if name not in objects})
    found = objects[objects["hit"]]
    covered = found["truth_area"].between(found["area_low"], found["area_high"])
    return {
        "set": job,
        "true": float(np.mean(true)),
        "raw": float(images["expected_map"].mean()),
        "calibrated": float(images["calibrated_map"].mean()),
        "D-ECE of existence": _error(objects["existence"], objects["hit"]),
        "D-ECE of p_true": _error(objects["p_true"], objects["hit"]),
        "areas covered": float(covered.mean()) if found["area_low"].notna().any() else np.nan,
        "counts covered": float(np.mean(counted)) if images["count_low"].notna().any() else np.nan,
    }


def _error(confidence: pd.Series, hit: pd.Series) -> float:
    values: NDArray[np.float64] = confidence.to_numpy(float)
    return d_ece(values, hit.to_numpy(bool)) if np.isfinite(values).all() else np.nan


def confidence_table(rows: list[dict[str, float | str]]) -> str:
    """Return the table of confidences."""
    frame = pd.DataFrame(rows)
    near = (frame["calibrated"] - frame["true"]).abs() <= LIMIT
    raw = (frame["raw"] - frame["true"]).abs() <= LIMIT
    small, small_raw = frame["D-ECE of p_true"] <= LIMIT, frame["D-ECE of existence"] <= LIMIT
    names = list(frame.columns[1:])
    lines = [f"| set | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    lines += [f"| {row['set']} | " + " | ".join(f"{row[name]:.3f}" for name in names) + " |" for row in rows]
    words = (
        "mAP that is expected, raw (the samples as truth) and calibrated on simulated images, beside the true one: "
        f"within {LIMIT:g} on {near.sum()} of {len(frame)} sets (raw {raw.sum()}). D-ECE at most {LIMIT:g} on "
        f"{small.sum()} (of the existence {small_raw.sum()}). Areas of right objects, and counts, that the 90 % "
        "intervals cover. Empty where too few objects were simulated to calibrate on."
    )
    return words + "\n\n" + "\n".join(lines)
