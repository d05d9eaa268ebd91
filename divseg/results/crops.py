"""A part of the first samples of an image, in 8 bits: enough to see how samples differ."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from divseg.errors import DAMAGE, FileProblem, one_line
from divseg.io.arrays import read_arrays
from divseg.io.atomic import replacing

SIDE, SAMPLES = 128, 3
"""Pixels along a side of the part, at most, and number of samples."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of the first samples of an image.

    Attributes
    ----------
    y, x : int
        Upper left corner in the image, in pixels.
    samples : float32 array, shape (S, Y, X)
        Samples, in the intensity unit of the image.
    """

    y: int
    x: int
    samples: NDArray[np.float32]


def save_crop(path: str | os.PathLike[str], crop: Crop) -> None:
    """Write a crop, its samples in 256 steps from the lowest to the highest value.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    low, high = float(crop.samples.min()), float(crop.samples.max())
    steps = np.rint((crop.samples - low) * (255 / (high - low) if high > low else 0.0)).astype(np.uint8)
    with replacing(path) as file:
        np.savez_compressed(file, samples=steps, limits=np.array([low, high]), corner=np.array([crop.y, crop.x]))


def load_crop(path: Path) -> Crop:
    """Read what :func:`save_crop` wrote.

    Raises
    ------
    FileProblem
        If the file is missing or damaged.
    """
    try:
        arrays = read_arrays(path)
        if not isinstance(arrays, dict):
            raise ValueError("it is not an archive")
        (low, high), (y, x) = arrays["limits"].tolist(), arrays["corner"].tolist()
        if arrays["samples"].ndim != 3 or arrays["samples"].dtype != np.uint8:
            raise ValueError("its samples are not three-dimensional bytes")
        return Crop(int(y), int(x), (low + arrays["samples"] * ((high - low) / 255)).astype(np.float32))
    except DAMAGE as error:
        raise FileProblem(path, f"it cannot be read ({one_line(error)})", "run again") from error
