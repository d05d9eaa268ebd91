"""The file of the intensities of all objects of all samples of an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from divseg.io.atomic import replacing
from divseg.metrics.posterior import Moments
from divseg.results.archive import reading


def save_moments(path: str | os.PathLike[str], samples: Sequence[Sequence[Moments]]) -> None:
    """Write the intensities of the objects of each sample, in each of its channels.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    channels = len(samples[0]) if samples else 1
    empty = [np.zeros((channels, 0), np.float32)]
    with replacing(path) as file:
        np.savez_compressed(
            file,
            objects=np.array([len(sample[0].mean) for sample in samples], np.int64),
            mean=np.concatenate(empty + [np.stack([channel.mean for channel in sample]) for sample in samples], axis=1),
            std=np.concatenate(empty + [np.stack([channel.std for channel in sample]) for sample in samples], axis=1),
        )


def load_moments(path: Path) -> list[list[Moments]]:
    """Read what :func:`save_moments` wrote.

    Raises
    ------
    FileProblem
        If the file is missing or damaged.
    """
    with reading(path) as arrays:
        ends = np.cumsum(arrays["objects"])
        mean, std = (arrays[name].astype(np.float32) for name in ("mean", "std"))
        if not (mean.shape == std.shape and mean.ndim == 2 and mean.shape[1] == (int(ends[-1]) if len(ends) else 0)):
            raise ValueError("its arrays do not fit together")
        parts = (np.split(of, ends[:-1], axis=1) for of in (mean, std))
        return [[Moments(*channel) for channel in zip(*sample, strict=True)] for sample in zip(*parts, strict=True)]
