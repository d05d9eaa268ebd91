"""The file of the intensities of all objects of all samples of an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from divseg.io.atomic import replacing
from divseg.metrics.posterior import Moments
from divseg.results.archive import reading


def save_moments(path: str | os.PathLike[str], samples: Sequence[Moments]) -> None:
    """Write the intensities of the objects of each sample.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    empty = [np.zeros(0, np.float32)]
    with replacing(path) as file:
        np.savez_compressed(
            file,
            objects=np.array([len(moments.mean) for moments in samples], np.int64),
            mean=np.concatenate(empty + [moments.mean for moments in samples]),
            std=np.concatenate(empty + [moments.std for moments in samples]),
        )


def load_moments(path: Path) -> list[Moments]:
    """Read what :func:`save_moments` wrote.

    Raises
    ------
    FileProblem
        If the file is missing or damaged.
    """
    with reading(path) as arrays:
        ends = np.cumsum(arrays["objects"])
        mean, std = (arrays[name].astype(np.float32) for name in ("mean", "std"))
        if not mean.shape == std.shape == (int(ends[-1]) if len(ends) else 0,):
            raise ValueError("its arrays do not fit together")
        return [Moments(*parts) for parts in zip(np.split(mean, ends[:-1]), np.split(std, ends[:-1]), strict=True)]
