"""Classical smoothing of a noisy image, with strengths relative to the noise model.

The errors of different kinds of smoothing and of the posterior samples differ, so a segmentation that they have in
common is more likely correct than one found with a single kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.denoise.noise import NoiseModel

GAUSSIAN_SIGMA, MEDIAN_SIZE, TV_WEIGHT, NL_MEANS_H, STABILISED_NL_MEANS_H = 1.0, 3, 1.0, 0.7, 0.6
"""Strengths: in pixels the first two, in standard deviations of the noise the others."""


@dataclass(frozen=True)
class NoiseLine:
    """Variance of the noise as ``slope * signal + intercept`` over the signals of an image."""

    slope: float
    intercept: float
    low: float
    high: float

    def variance(self, signal: float) -> float:
        """Variance of the noise at a signal."""
        return max(self.slope * min(max(signal, self.low), self.high) + self.intercept, 1e-6)

    @property
    def flat(self) -> bool:
        """Whether the noise hardly depends on the signal."""
        return self.slope <= 0 or self.variance(self.high) < 1.2 * self.variance(self.low)


def smoothed(
    image: NDArray[np.float32], noise: NoiseModel, distance: float = 1.0
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield smoothed versions of an image under their names.

    Gaussian, median, total variation (Chambolle 2004), non-local means (Buades et al. 2005), and non-local means after
    the generalised Anscombe transform, which stabilises the variance (Starck, Murtagh and Bijaoui 1998,
    equation 2.13).

    Parameters
    ----------
    image : array, shape (Y, X) or (Z, Y, X), float32
        Noisy image in intensity units. Non-local means look for alike pixels in each plane on its own.
    noise : NoiseModel
        Gives the variance of the noise at a signal.
    distance : float
        Distance of the planes of a volume in units of the pixel size.

    Yields
    ------
    name : str
        Kind of smoothing.
    smooth : array, shape of the image, float32
        Smoothed image in intensity units.
    """
    from skimage.restoration import denoise_tv_chambolle

    line = _line(image, noise)
    yield (
        "gaussian",
        ndi.gaussian_filter(image, [GAUSSIAN_SIGMA / step for step in (distance, 1.0, 1.0)[-image.ndim :]]),
    )
    yield "median", ndi.median_filter(image, MEDIAN_SIZE)
    stable = stabilise(image, line)
    total = denoise_tv_chambolle(stable, weight=TV_WEIGHT, max_num_iter=100)
    yield "total variation", restore(total, image, line)
    std = line.variance(float(image.mean())) ** 0.5
    means = _non_local_means(image, h=NL_MEANS_H * std, sigma=std, patch_size=5, patch_distance=6)
    yield "non-local means", means.astype(np.float32)
    means = _non_local_means(stable, h=STABILISED_NL_MEANS_H, sigma=1.0, patch_size=7, patch_distance=9)
    yield "stabilised non-local means", restore(means, image, line)


def _non_local_means(image: NDArray[np.floating], **options: float) -> NDArray[np.float64]:
    from skimage.restoration import denoise_nl_means

    planes = image.reshape(-1, *image.shape[-2:])
    done = [denoise_nl_means(plane, fast_mode=True, **options) for plane in planes]
    return np.stack(done).astype(np.float64, copy=False).reshape(image.shape)


def _line(image: NDArray[np.float32], noise: NoiseModel) -> NoiseLine:
    """Return the line through the noise model's variance at a low and a high signal of the image."""
    low, high = (float(v) for v in np.percentile(ndi.gaussian_filter(image, 2), [1, 99.5]))
    signals = torch.tensor([[[low, high]]], device=noise.device)
    with torch.no_grad():
        first, last = noise.variance(signals).flatten().tolist()
    slope = (last - first) / max(high - low, 1e-6)
    return NoiseLine(slope, first - slope * low, low, high)


def stabilise(image: NDArray[np.float32], line: NoiseLine) -> NDArray[np.float64]:
    """Return the image on a scale on which the noise has a standard deviation of about one everywhere."""
    x = image.astype(np.float64)
    if line.flat:
        return x / line.variance(float(x.mean())) ** 0.5
    inside = line.slope * x + 0.375 * line.slope**2 + line.intercept
    return np.asarray(2 / line.slope * np.sqrt(np.maximum(inside, 0)))


def restore(stable: NDArray[np.float64], image: NDArray[np.float32], line: NoiseLine) -> NDArray[np.float32]:
    """Undo :func:`stabilise`, algebraically."""
    if line.flat:
        return (stable * line.variance(float(image.mean(dtype=np.float64))) ** 0.5).astype(np.float32)
    signal = ((stable * line.slope / 2) ** 2 - 0.375 * line.slope**2 - line.intercept) / line.slope
    return signal.astype(np.float32)
