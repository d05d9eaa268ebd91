"""Percentile normalisation, as it is usual before StarDist's prediction.

StarDist's networks are trained on images scaled so that their 1st percentile becomes 0 and their 99.8th becomes 1
(``csbdeep.utils.normalize``). Percentiles are those of NumPy, to the last bit on the CPU; pixels that are outlying
(:mod:`divseg.segment.outlying`), such as a grain of dust, do not count for them, as they do in CSBDeep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.segment.outlying import limits_of, outlying_limits, quantile_ranks

_EPSILON = 1e-20  # of CSBDeep: a constant image becomes 0, not NaN

NUMPY_ON = ("cpu",)
"""Types of devices whose percentiles NumPy finds; on others the pixels are sorted where they are."""


@dataclass(frozen=True)
class Limits:
    """Intensities that become 0 and 1.

    Attributes
    ----------
    low, high : float32 array, shape (B, C)
        Values for each image and channel; an axis of length 1 stands for all.
    least, greatest : array, shape (B, C)
        Extreme values; NaN or infinite if a pixel is.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    least: NDArray[np.generic]
    greatest: NDArray[np.generic]

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Whether all pixels of an image are finite, shape (B,)."""
        finite: NDArray[np.bool_] = (np.isfinite(self.least) & np.isfinite(self.greatest)).all(1)
        return finite

    @property
    def flat(self) -> NDArray[np.bool_]:
        """Whether an image that is not constant has a channel of equal limits, no range to scale by, shape (B,)."""
        varies: NDArray[np.bool_] = self.least.min(1) < self.greatest.max(1)
        return (self.high <= self.low).any(1) & varies


def find_limits(batch: Tensor, percentiles: tuple[float, float], joint: bool) -> Limits:
    """Find the percentiles of images; one transfer from the device for all.

    Parameters
    ----------
    batch : tensor, shape (B, C, Y, X) or (B, C, Z, Y, X)
        Integer or floating point, on any device.
    percentiles : (float, float)
        From 0 to 100.
    joint : bool
        Whether all channels share one pair.
    """
    flat = batch.reshape(len(batch), 1 if joint else batch.shape[1], -1)
    whole = not flat.is_floating_point()  # NumPy's percentiles of integers are float64
    if whole:
        flat = flat.to(torch.float32 if flat.dtype.itemsize <= 2 else torch.float64)
    if flat.device.type in NUMPY_ON:
        # a C-ordered copy: a strided view would be copied once per percentile
        pixels = np.ascontiguousarray(flat.numpy())
        least, greatest = pixels.min(-1), pixels.max(-1)
        if not (np.isfinite(least) & np.isfinite(greatest)).all():
            return Limits(least.astype(np.float32), greatest.astype(np.float32), least, greatest)
        pixels = pixels.astype(np.float64) if whole else pixels
        low, high = np.percentile(pixels, percentiles, axis=-1).astype(np.float32)
        for place in np.ndindex(least.shape):
            if (ends := outlying_limits(pixels[place])) is not None:
                low[place], high[place] = _percentiles_within(pixels[place], ends, percentiles)
        return Limits(low, high, least, greatest)
    last = flat.shape[-1] - 1
    positions = [percent / 100 * last for percent in percentiles]
    places = [0, *quantile_ranks(last + 1), last, *(min(int(p) + step, last) for p in positions for step in (0, 1))]
    # a NaN is sorted to the end
    least, *quantiles, greatest, a, b, c, d = flat.sort(dim=-1).values[..., places].movedim(-1, 0).cpu().numpy()
    if not (np.isfinite(least) & np.isfinite(greatest)).all():
        return Limits(least.astype(np.float32), greatest.astype(np.float32), least, greatest)
    ends = [end.astype(np.float64) if whole else end for end in (a, b, c, d)]
    low, high = (_between(ends[2 * k], ends[2 * k + 1], p - int(p)) for k, p in enumerate(positions))
    for place in np.ndindex(least.shape):
        limits = limits_of(*(float(values[place]) for values in (least, *quantiles, greatest)))
        if limits is not None:
            pixels = flat[place].cpu().numpy()
            low[place], high[place] = _percentiles_within(
                pixels.astype(np.float64) if whole else pixels, limits, percentiles
            )
    return Limits(low, high, least, greatest)


def _percentiles_within(
    pixels: NDArray[np.floating], ends: tuple[float, float], percentiles: tuple[float, float]
) -> NDArray[np.float32]:
    """Return the percentiles of the pixels (N,) between two intensities."""
    return np.asarray(np.percentile(pixels[(pixels >= ends[0]) & (pixels <= ends[1])], percentiles), np.float32)


def normalise(batch: Tensor, limits: Limits) -> Tensor:
    """Scale images (B, C, ...) so that `limits` become 0 and 1; float32 arithmetic in CSBDeep's order."""
    shape = (*limits.low.shape, *[1] * (batch.ndim - 2))
    low, high = (torch.from_numpy(v).to(batch.device).reshape(shape) for v in (limits.low, limits.high))
    return (batch.to(torch.float32) - low) / (high - low + _EPSILON)


def _between(a: NDArray[np.generic], b: NDArray[np.generic], fraction: float) -> NDArray[np.float32]:
    """Interpolate as NumPy's percentiles do: the difference in the type of the data, and from the nearer end."""
    difference = np.subtract(b, a).astype(np.float64)
    value = a + difference * fraction if fraction < 0.5 else b - difference * (1 - fraction)
    return np.asarray(value, np.float32)
