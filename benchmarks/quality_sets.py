"""The image sets of the quality table, and the images of each on which methods are scored.

Imports nothing of divseg, so that other tools are run on the same images by whichever Python has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.sets import Picture, load_set

SETS = (
    "dsb2018_fluo-n10",
    "dsb2018_fluo-n20",
    "bbbc039-pg_mid",
    "bbbc039-pg_low",
    "fmd_confocal_pairs-real",
    "text_pages-n70",
)
"""The sets, as SET-LEVEL."""

SCORED = {"dsb2018_fluo": 24, "bbbc039": 6}
"""Number of images on which a set is scored; all of them where a set is not named."""


def split_name(job: str) -> tuple[str, str]:
    """Return set and noise level of ``SET-LEVEL``.

    Raises
    ------
    SystemExit
        If there is no level.
    """
    name, dash, level = job.rpartition("-")
    if not dash:
        raise SystemExit(f"{job!r} is no SET-LEVEL, such as {SETS[0]}")
    return name, level


def evenly(count: int, of: int) -> list[int]:
    """Return `count` evenly spaced numbers below `of`, all of them where `count` is more."""
    count = min(count, of)
    return [int((k + 0.5) * of / count) for k in range(count)]


def scored(pictures: list[Picture], name: str, limit: int | None = None) -> list[Picture]:
    """Return the images of a set on which methods are scored: always the same, evenly chosen.

    Parameters
    ----------
    pictures : list of Picture
        All images of the set.
    name : str
        The set.
    limit : int, optional
        At most so many of them, for trials.
    """
    chosen = [pictures[k] for k in evenly(SCORED.get(name, len(pictures)), len(pictures))]
    return chosen if limit is None else [chosen[k] for k in evenly(limit, len(chosen))]


def load_job(job: str) -> list[Picture]:
    """Return all images of ``SET-LEVEL``.

    Raises
    ------
    SystemExit
        If the set is unknown, is missing, or has no clean images to compare with.
    """
    name, level = split_name(job)
    pictures = load_set(name, level)
    if any(p.clean is None for p in pictures):
        raise SystemExit(f"{job} has no clean images to compare with (sets: {', '.join(SETS)})")
    return pictures


def clean_of(picture: Picture) -> NDArray[np.float32]:
    """Return the clean image; :func:`load_job` has seen to it that there is one."""
    assert picture.clean is not None
    return picture.clean


def prediction_file(folder: Path, job: str, picture: str) -> Path:
    """Return where another tool leaves its denoised image."""
    return folder / job / f"{picture}.npy"


def read_prediction(folder: Path, job: str, picture: Picture) -> NDArray[np.float32] | None:
    """Return the image that another tool has denoised, None where it has not.

    Raises
    ------
    SystemExit
        If the file does not fit the image.
    """
    file = prediction_file(folder, job, picture.name)
    if not file.is_file():
        return None
    image = np.load(file)
    if image.shape != picture.noisy.shape:
        raise SystemExit(f"{file} has the shape {image.shape}, the image {picture.noisy.shape}")
    return image.astype(np.float32)
