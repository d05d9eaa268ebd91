"""Photon-transfer estimates from noisy images alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.denoise.noise.limits import LimitFinder
from divseg.errors import InputError

BLOCK = 8
"""Side in pixels of the blocks, of which each gives one mean and one variance of the noise."""

_KERNEL = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6.0
"""Second difference along both axes with unit gain for independent noise: blind to constants and slopes."""


@dataclass(frozen=True)
class PhotonTransfer:
    """Variance of the noise against the signal, ``variance = a * signal + b``, with the points it was fitted to.

    Attributes
    ----------
    a, b : float
        Slope in intensity units, and variance at signal 0 in squared intensity units.
    low, high : float
        Range of the signals.
    signal, variance, weight : array, shape (bins,)
        Mean signal, variance and number of blocks or pixels of each bin of the signal.
    floor, ceiling : float or None
        Limits of the detector, None if the images do not reach them.
    min_variance : float or None
        Variance of the darkest pixels, if it was measured: that of the noise is not smaller.
    notes : tuple of str
        Warnings about the data.
    """

    a: float
    b: float
    low: float
    high: float
    signal: NDArray[np.float64]
    variance: NDArray[np.float64]
    weight: NDArray[np.float64]
    floor: float | None = None
    ceiling: float | None = None
    min_variance: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def lower_bound(self) -> float:
        """Smallest variance: that of the darkest pixels, or a tenth of the line's at `low`."""
        return self.min_variance if self.min_variance is not None else 0.1 * (self.a * self.low + self.b)

    def variance_at(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance on the line, but not below the lower bound."""
        return np.maximum(self.a * signal + self.b, self.lower_bound)

    @property
    def deviation(self) -> float:
        """Root mean square of the relative deviation of the bins from the line, a measure of its error."""
        model = np.maximum(self.a * self.signal + self.b, 1e-12)
        return float(np.sqrt(np.average(np.square(self.variance / model - 1.0), weights=self.weight)))

    @property
    def std(self) -> float:
        """Standard deviation of the noise, from the weighted mean of the variances: one number for Gaussian noise."""
        return float(np.sqrt(np.average(self.variance, weights=self.weight)))


def _block_points(image: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return mean, variance of the noise, smallest and largest pixel of the valid blocks, shape (4, blocks)."""
    image = image.astype(np.float64)
    rows, cols = (image.shape[0] - 2) // BLOCK, (image.shape[1] - 2) // BLOCK
    residual = ndi.convolve(image, _KERNEL, mode="reflect")[1:-1, 1:-1]
    shape = (rows, BLOCK, cols, BLOCK)
    cut = np.s_[: rows * BLOCK, : cols * BLOCK]
    blocks = image[1:-1, 1:-1][cut].reshape(shape)
    variance = np.square(residual[cut]).reshape(shape).mean(axis=(1, 3))
    if not variance.size:
        return np.empty((4, 0))
    points = (blocks.mean(axis=(1, 3)), variance, blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3)))
    stacked = np.stack([values.ravel() for values in points])
    if valid is None:
        return stacked
    # a block's variance looks one pixel beyond the block
    near = ndi.minimum_filter(valid, 3)[1:-1, 1:-1][cut].reshape(shape)
    return stacked[:, near.all(axis=(1, 3)).ravel()]


def _median_bias() -> float:
    """Return the median of a block's variance relative to its mean, for independent normal noise.

    A block's mean squared residual is nearly chi-square distributed, with the degrees of freedom that give it the
    right variance (the residuals of neighbours are correlated); Wilson and Hilferty give its median.
    """
    line = np.convolve([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6.0
    rho = np.square(np.outer(line, line))
    lags = np.arange(-2, 3)
    overlap = np.outer(BLOCK - np.abs(lags), BLOCK - np.abs(lags)) / BLOCK**2
    freedom = BLOCK**2 / float((rho * overlap).sum())
    return (1.0 - 2.0 / (9.0 * freedom)) ** 3


def photon_transfer(
    images: Iterable[NDArray[np.floating]],
    *,
    bins: int = 24,
    valid: Iterable[NDArray[np.bool_] | None] = repeat(None),
) -> PhotonTransfer:
    """Estimate signal-dependent noise from noisy images, without clean images or calibration.

    Blocks of 8x8 pixels give pairs of mean and variance of the noise (mean square of the second difference along both
    axes, divided by its gain if the noise of neighbours is negatively correlated). In each bin of the mean the median
    block is taken, so that blocks with structure, which can only add variance, do not count; a line is fitted through
    the bins, weighted by the number of blocks and less if a bin lies far above the line. Blocks with pixels at a
    limit of the detector are left out if enough others remain.

    Parameters
    ----------
    images : iterable of array, each (Y, X)
        Noisy images taken with the same camera settings.
    bins : int
        Number of bins of the signal, with about equal numbers of blocks.
    valid : iterable of (bool array, shape (Y, X), or None)
        For each image False where a pixel is no data: blocks with such pixels are left out.

    Returns
    -------
    PhotonTransfer
        Slope and intercept, the range of the signals, and the points.

    Raises
    ------
    InputError
        If the images have fewer than 16 blocks, or no noise.

    References
    ----------
    Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996), for
    the kernel; Foi et al. (2008), section III, for the transfer curve.
    """
    limits = LimitFinder()
    points = [np.empty((4, 0))]
    correlations: list[tuple[float, float]] = []
    sizes: list[int] = []
    for image, mask in zip(images, valid, strict=False):
        array = np.asarray(image)
        limits.add(array if mask is None else array[mask])
        points.append(_block_points(array, mask))
        correlations.append(neighbour_correlation(array))
        sizes.append(array.size)
    mean, var, smallest, largest = np.concatenate(points, axis=1)
    floor, ceiling = limits.find()
    unclipped = smallest > (-np.inf if floor is None else floor)
    unclipped &= largest < (np.inf if ceiling is None else ceiling)
    if unclipped.sum() >= 16:
        mean, var = mean[unclipped], var[unclipped]
    if mean.size < 16:
        raise InputError(
            f"noise cannot be estimated from {mean.size} blocks of {BLOCK}x{BLOCK} pixels; "
            "give larger or more images, or state the noise (for example --noise gaussian,std=20)"
        )
    bins = int(max(1, min(bins, mean.size // 16)))
    x, y = np.average(correlations, axis=0, weights=sizes)
    var = var / kernel_gain(float(x), float(y), sum(sizes))
    order = np.argsort(mean, kind="stable")
    # equal counts over most of the range, but finer bins for the brightest blocks, which determine the slope
    quantile = 1.0 - np.geomspace(1.0, max(0.02, 16.0 / mean.size), bins + 1)[:-1] if bins > 1 else np.zeros(1)
    starts = np.unique((quantile * mean.size).astype(int))
    ends = np.append(starts[1:], mean.size)
    signal = np.array([mean[order[i:j]].mean() for i, j in zip(starts, ends, strict=True)])
    variance = np.array([np.median(var[order[i:j]]) for i, j in zip(starts, ends, strict=True)])
    variance /= _median_bias()
    weight = (ends - starts).astype(np.float64)
    if variance.max() <= 0:
        raise InputError("the images have no noise: there is nothing to denoise")
    variance = np.maximum(variance, 1e-6 * variance.max())
    a, b = _fit_line(signal, variance, weight)
    low, high = float(signal[0]), float(signal[-1])
    high = max(high, low + 1e-6 * (1 + abs(low)))
    return PhotonTransfer(a, b, low, high, signal, variance, weight, floor=floor, ceiling=ceiling)


def _fit_line(
    signal: NDArray[np.float64], variance: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Return slope and intercept of the weighted line, slope >= 0, at least a tenth of the smallest variance."""
    floor = 0.1 * float(variance.min())
    flat = float(np.average(variance, weights=weight / variance**2))
    if signal.size < 3 or np.ptp(signal) <= 1e-9 * (1 + np.abs(signal).max()):
        return 0.0, flat
    model = variance.copy()
    a, b = 0.0, flat
    for _ in range(10):
        w = weight / model**2  # the error of a block's variance is proportional to the variance
        excess = variance / model - 1.0
        w = np.where(excess > 0.25, w * (0.25 / np.maximum(excess, 0.25)) ** 2, w)
        x0 = np.average(signal, weights=w)
        y0 = np.average(variance, weights=w)
        a = max(0.0, float((w * (signal - x0) * (variance - y0)).sum() / (w * (signal - x0) ** 2).sum()))
        b = float(y0 - a * x0)
        model = np.maximum(a * signal + b, floor)
    if a * signal[0] + b < floor:
        b = floor - a * float(signal[0])
    return a, b


def kernel_gain(x: float, y: float, pixels: int) -> float:
    """Return the factor by which the second difference raises the variance of negatively correlated noise.

    With correlation r of neighbours along an axis (and none further apart) it is ``1 - 4 r / 3``. Only significant
    negative correlations count: positive ones may be structure.

    Parameters
    ----------
    x, y : float
        Correlation of the noise of horizontal and of vertical neighbours.
    pixels : int
        Number of pixels from which the correlations were measured.
    """
    significant = max(0.03, 5.0 / max(1, pixels) ** 0.5)
    return float(np.prod([1.0 - 4.0 / 3.0 * r if r < -significant else 1.0 for r in (x, y)]))


def neighbour_correlation(image: NDArray[np.generic]) -> tuple[float, float]:
    """Correlation of the noise of horizontal and vertical neighbours, from a noisy image alone.

    The second difference along both axes is blind to smooth structure. With noise of correlation r between
    neighbours (and none further apart), its own correlation at distance one is ``q = (7 r - 4) / (6 - 8 r)``
    along the axis; r follows from the median of q over blocks of 16x16 pixels, of which few hold edges.

    Parameters
    ----------
    image : array, shape (Y, X)
        Noisy image; for one smaller than 10x10 pixels the result is (0, 0).

    Returns
    -------
    x, y : float
        Near 0 for pixel-independent noise, which DivNoising's noise models assume.
    """
    residual = ndi.convolve(np.asarray(image, dtype=np.float64), _KERNEL, mode="reflect")[1:-1, 1:-1]
    side = min(16, *residual.shape)
    if side < BLOCK:
        return 0.0, 0.0
    rows, cols = residual.shape[0] // side, residual.shape[1] // side
    blocks = residual[: rows * side, : cols * side].reshape(rows, side, cols, side).swapaxes(1, 2)
    blocks = blocks.reshape(-1, side, side)
    power = np.square(blocks).mean(axis=(1, 2))
    noisy = power > 0
    if not noisy.any():
        return 0.0, 0.0
    blocks, power = blocks[noisy], power[noisy]
    correlation = []
    for one, other in ((blocks[:, :, 1:], blocks[:, :, :-1]), (blocks[:, 1:], blocks[:, :-1])):
        q = float(np.median((one * other).mean(axis=(1, 2)) / power))
        correlation.append(float(np.clip((4.0 + 6.0 * q) / (7.0 + 8.0 * q), -1.0, 1.0)) if q > -0.87 else -1.0)
    return correlation[0], correlation[1]
