"""A part of the first samples of an image, in 8 bits: enough to see how samples differ."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.io.atomic import replacing
from divseg.results.archive import reading

SIDE, SAMPLES = 128, 3
"""Pixels along a side of the part, at most, and number of samples."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of the first samples of an image, in one plane.

    Attributes
    ----------
    y, x : int
        Upper left corner in the image, in pixels.
    z : int
        Plane of a volume; 0 for an image of one plane.
    samples : float32 array, shape (S, Y, X)
        Samples, in the intensity unit of the image.
    """

    y: int
    x: int
    z: int
    samples: NDArray[np.float32]

    def lies_in(self, shape: tuple[int, ...]) -> bool:
        """Tell whether the part lies in an image of a shape, (Y, X) or (Z, Y, X)."""
        depth, height, width = (1, *shape)[-3:]
        rows, columns = self.samples.shape[1:]
        inside = min(self.y, self.x, self.z) >= 0 and self.z < depth
        return inside and self.y + rows <= height and self.x + columns <= width

    def part_of(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the same part (Y, X) of an image (Y, X) or (Z, Y, X)."""
        plane = image if image.ndim == 2 else image[self.z]
        rows, columns = self.samples.shape[1:]
        return np.asarray(plane[self.y : self.y + rows, self.x : self.x + columns])


def save_crop(path: str | os.PathLike[str], crop: Crop) -> None:
    """Write a crop, its samples in 256 steps from the lowest to the highest value.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    low, high = float(crop.samples.min()), float(crop.samples.max())
    span = np.float64(high) - low
    fractions = (crop.samples.astype(np.float64) - low) / (span if span > 0 else 1.0)
    steps = np.rint(255 * fractions).astype(np.uint8)
    with replacing(path) as file:
        np.savez_compressed(
            file, samples=steps, limits=np.array([low, high]), corner=np.array([crop.z, crop.y, crop.x])
        )


def load_crop(path: Path) -> Crop:
    """Read what :func:`save_crop` wrote.

    Raises
    ------
    FileProblem
        If the file is missing or damaged.
    """
    with reading(path) as arrays:
        (low, high), (z, y, x) = arrays["limits"].tolist(), arrays["corner"].tolist()
        if arrays["samples"].ndim != 3 or arrays["samples"].dtype != np.uint8:
            raise ValueError("its samples are not three-dimensional bytes")
        return Crop(int(y), int(x), int(z), (low + arrays["samples"] * ((high - low) / 255)).astype(np.float32))
