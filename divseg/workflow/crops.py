"""The part of an image of which samples are kept for the report, and its samples as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.results.crops import SAMPLES, SIDE, Crop

if TYPE_CHECKING:
    import torch

SIGMA, BRIGHTEST = 2.0, 99.0
"""Smoothing in pixels, and percentile above which intensities count as equal, when the part is looked for."""


class CropWatch:
    """Keeps a part of the first samples of an image that pass by.

    The part is where the smoothed noisy image varies most, which is where objects and background share the space.

    Parameters
    ----------
    noisy : array, shape (Y, X) or (Z, Y, X)
        Noisy image; of a volume the plane in the middle counts.
    """

    def __init__(self, noisy: NDArray[np.generic]) -> None:
        self.z = 0 if noisy.ndim == 2 else len(noisy) // 2
        side_y, side_x = (min(SIDE, side) for side in noisy.shape[-2:])
        self.y, self.x = busiest_corner(noisy if noisy.ndim == 2 else noisy[self.z], (side_y, side_x))
        part = slice(self.y, self.y + side_y), slice(self.x, self.x + side_x)
        self._part = part if noisy.ndim == 2 else (self.z, *part)
        self._samples: list[NDArray[np.float32]] = []

    def add(self, batch: torch.Tensor) -> None:
        """Look at a batch of samples, (B, Y, X) or (B, Z, Y, X)."""
        room = SAMPLES - len(self._samples)
        self._samples.extend(sample[self._part].cpu().numpy() for sample in batch[: max(0, room)])

    @property
    def crop(self) -> Crop:
        """What was kept."""
        return Crop(self.y, self.x, self.z, np.stack(self._samples).astype(np.float32))


def busiest_corner(image: NDArray[np.generic], sides: tuple[int, int]) -> tuple[int, int]:
    """Return the upper left corner (Y, X) of the rectangle in which a smoothed image has the largest variance."""
    smooth = np.asarray(ndi.gaussian_filter(np.asarray(image, np.float64), SIGMA))
    smooth = np.minimum(smooth, np.percentile(smooth, BRIGHTEST))
    smooth -= smooth.mean()
    first, second = (_sums(values, sides) / (sides[0] * sides[1]) for values in (smooth, smooth**2))
    y, x = np.unravel_index(int(np.argmax(second - first**2)), first.shape)
    return int(y), int(x)


def _sums(values: NDArray[np.float64], sides: tuple[int, int]) -> NDArray[np.float64]:
    """Return the sum over each rectangle, by its upper left corner (Crow, SIGGRAPH 1984)."""
    table = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = sides
    return np.asarray(table[h:, w:] - table[:-h, w:] - table[h:, :-w] + table[:-h, :-w])
