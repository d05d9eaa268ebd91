"""Percentile normalisation, as it is usual before StarDist's prediction.

StarDist's networks are trained on images scaled so that their 1st percentile becomes 0 and their 99.8th becomes 1
(``csbdeep.utils.normalize``). Percentiles are those of NumPy, to the last bit on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_EPSILON = 1e-20  # of CSBDeep: a constant image becomes 0, not NaN


@dataclass(frozen=True)
class Limits:
    """Intensities that become 0 and 1.

    Attributes
    ----------
    low, high : float32 array
        One value for each channel, or one for all.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @property
    def flat(self) -> bool:
        """Whether the two are equal in a channel, so that there is no range to scale by."""
        return bool((self.high <= self.low).any())


def find_limits(image: Tensor, percentiles: tuple[float, float], joint: bool) -> Limits:
    """Find the percentiles of one image.

    Parameters
    ----------
    image : tensor, shape (C, Y, X) or (C, Z, Y, X)
        Integer or floating point, on any device.
    percentiles : (float, float)
        From 0 to 100.
    joint : bool
        Whether all channels share one pair.
    """
    flat = image.reshape(1 if joint else image.shape[0], -1)
    if not flat.is_floating_point():
        flat = flat.double()  # NumPy's percentiles of integers are float64
    if flat.device.type == "cpu":
        # a C-ordered copy: a strided view would be copied once per percentile
        values = np.percentile(np.ascontiguousarray(flat.numpy()), percentiles, axis=1)
    else:
        values = _percentiles(flat, percentiles)
    low, high = values.astype(np.float32)
    return Limits(low, high)


def normalise(image: Tensor, limits: Limits) -> Tensor:
    """Scale one image (C, ...) so that `limits` become 0 and 1; float32 arithmetic in CSBDeep's order."""
    shape = (-1, *[1] * (image.ndim - 1))
    low, high = (torch.from_numpy(v).to(image.device).reshape(shape) for v in (limits.low, limits.high))
    return (image.to(torch.float32) - low) / (high - low + _EPSILON)


def _percentiles(flat: Tensor, percentiles: tuple[float, float]) -> NDArray[np.floating]:
    """Return NumPy's linear percentiles of the rows, shape (2, rows), from values sorted on their device."""
    ordered = flat.sort(dim=1).values
    rows = []
    for percent in percentiles:
        position = percent / 100 * (flat.shape[1] - 1)
        below = int(position)
        above = min(below + 1, flat.shape[1] - 1)
        a, b = (ordered[:, i].cpu().numpy() for i in (below, above))
        # the difference is taken in the type of the data, and from the nearer end, as NumPy does
        fraction, difference = position - below, (b - a).astype(np.float64)
        rows.append(a + difference * fraction if fraction < 0.5 else b - difference * (1 - fraction))
    return np.stack(rows)
