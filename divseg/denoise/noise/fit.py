"""Mixture and histogram fitted to pairs of signal and observation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from divseg.denoise.noise.base import log_normal
from divseg.denoise.noise.estimate import PhotonTransfer
from divseg.denoise.noise.fit_data import Slice
from divseg.denoise.noise.histogram import Histogram
from divseg.denoise.noise.mixture import GaussianMixture, components
from divseg.denoise.noise.pixel_pairs import MIN_PIXELS, PixelPairs, effective_count, level_index
from divseg.errors import InputError

SIGNAL_BINS = 64
_REACH = 8.0  # standard deviations on either side that the residual's bins cover
_STEPS = 16  # bins per standard deviation
_RIDGE = 1e-5


@dataclass(frozen=True)
class Cells:
    """Cells of the histogram of signal and observation: means of both within each cell, and its weight."""

    signal: NDArray[np.float64]
    observed: NDArray[np.float64]
    clipped: NDArray[np.int8]
    weight: NDArray[np.float64]


def count_cells(pixels: PixelPairs, line: PhotonTransfer) -> Cells:
    """Count pixels by signal and by residual, both in units of the noise's standard deviation.

    Bins of a fixed width in intensity would be wider than the noise of dark pixels. The levels of the signal are
    weighted as by :func:`divseg.denoise.noise.pixel_pairs.effective_count`.
    """
    first, last = _range(pixels, line)
    inside = (pixels.signal >= first) & (pixels.signal <= last)
    s, x = pixels.signal[inside].astype(np.float64), pixels.observed[inside].astype(np.float64)
    clipped = pixels.clipped[inside]
    std = np.sqrt(line.variance_at(s))
    stable = _stabilise(line, s)
    low, high = (float(_stabilise(line, np.array(v))) for v in (first, last))
    row = np.clip(((stable - low) / (high - low) * SIGNAL_BINS).astype(np.int64), 0, SIGNAL_BINS - 1)
    across = int(2 * _REACH * _STEPS)
    column = np.clip(((x - s) / std * _STEPS + across // 2).astype(np.int64), -1, across) + 1
    key = (row * (across + 2) + column) * 3 + (clipped + 1)
    size = SIGNAL_BINS * (across + 2) * 3
    count = np.bincount(key, minlength=size).astype(np.float64)
    used = np.flatnonzero(count)
    level = np.bincount(row, minlength=SIGNAL_BINS).astype(np.float64)
    weight = effective_count(level) / np.maximum(level, 1.0)
    return Cells(
        np.bincount(key, s, size)[used] / count[used],
        np.bincount(key, x, size)[used] / count[used],
        (used % 3 - 1).astype(np.int8),
        count[used] * weight[used // (3 * (across + 2))],
    )


def fit_mixture(
    pixels: PixelPairs, line: PhotonTransfer, *, n_gaussian: int = 3, n_coeff: int = 2, iterations: int = 300
) -> GaussianMixture:
    """Fit a Gaussian mixture by maximum likelihood on the cells of the histogram; deterministic.

    It starts from the photon-transfer line, with components of smaller and larger variance. Pixels at the detector's
    limits count with the probability of the tail.
    """
    if n_gaussian < 1 or n_coeff < 1:
        raise InputError(f"a mixture of {n_gaussian} Gaussians with {n_coeff} coefficients: at least 1 of each")
    cells = count_cells(pixels, line)
    low, high = _range(pixels, line)
    t = torch.from_numpy((cells.signal - low) / (high - low))
    deviation = torch.from_numpy(cells.observed - cells.signal)
    weight = torch.from_numpy(cells.weight / cells.weight.sum())
    clipped = torch.from_numpy(cells.clipped)
    any_clipped = bool((clipped != 0).any())
    # in units of the noise at the bright end, so that all parameters are of order one
    unit = float(line.variance_at(np.array(high)))
    deviation = deviation / math.sqrt(unit)
    ends = line.variance_at(np.array([low, high])) / unit
    min_variance = float(0.01 * ends.min())
    start = _start(ends, n_gaussian, n_coeff)
    table = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([table], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_change=1e-10)

    def closure() -> Tensor:
        optimiser.zero_grad()
        log_share, mean, var = components(table, t, min_variance)
        each = log_normal(deviation - mean, var)
        if any_clipped:
            z = (mean - deviation) / var.sqrt()
            each = torch.where(clipped == 0, each, torch.special.log_ndtr(torch.where(clipped > 0, z, -z)))
        loss = -(weight * torch.logsumexp(log_share + each, dim=0)).sum()
        loss = loss + _RIDGE * (table - start).square().mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    weights = table.detach()
    if not bool(torch.isfinite(weights).all()):
        raise InputError("the mixture could not be fitted to these frames; choose --kind poisson-gaussian")
    weights[:n_gaussian] *= math.sqrt(unit)
    weights[n_gaussian : 2 * n_gaussian] += math.log(unit)
    return GaussianMixture(weights, min_signal=low, max_signal=high, min_sigma=min_variance * unit)


def _start(ends: NDArray[np.float64], k: int, c: int) -> Tensor:
    """Return components with the line's variance, scaled from narrow to wide, and slightly different means."""
    table = torch.zeros(3 * k, c, dtype=torch.float64)
    scales = np.linspace(-0.7, 0.7, k) if k > 1 else np.zeros(1)
    offsets = np.linspace(-0.3, 0.3, k) if k > 1 else np.zeros(1)
    std = np.sqrt(ends)
    for i in range(k):
        table[i, 0] = offsets[i] * std[0]
        table[k + i, 0] = math.log(ends[0]) + scales[i]
        if c > 1:
            table[i, 1] = offsets[i] * (std[1] - std[0])
            table[k + i, 1:] = math.log(max(ends[1] - ends[0], 0.01 * ends[0]) / (c - 1)) + scales[i]
        table[2 * k + i, 0] = -abs(scales[i])
    return table


def fit_histogram(pixels: PixelPairs, line: PhotonTransfer, *, bins: int = 256) -> Histogram:
    """Count signal and observation in square bins, as PN2V does.

    Bins with few pixels are filled from the photon-transfer line. For integer intensities the width of the bins is a
    whole number, so that every bin holds equally many values.
    """
    if bins < 8:
        raise InputError(f"bins={bins}: a noise histogram must be 8 or more")
    x = pixels.observed
    low, high = (float(v) for v in np.quantile(x, [1e-5, 1.0 - 1e-5]))
    low, high = min(low, _range(pixels, line)[0]), max(high, _range(pixels, line)[1])
    if pixels.clipped.any():
        low, high = min(low, float(x.min())), max(high, float(x.max()))
    width = (high - low) / bins
    sample = x[: 1 << 16]
    if (sample == np.round(sample)).all():
        width = math.ceil(width)
        low = math.floor(low) - 0.5
        bins = math.ceil((high - low) / width)
    else:
        low, high = low - 1e-6 * width, high + 1e-6 * width
        width = (high - low) / bins
    high = low + bins * width
    table, _, _ = np.histogram2d(pixels.signal, x, bins=bins, range=[(low, high), (low, high)])
    return Histogram(table + _expected(line, low, width, bins), low=low, high=high)


def _expected(line: PhotonTransfer, low: float, width: float, bins: int) -> NDArray[np.float64]:
    """Return the counts that a normal distribution with the line's variance would give, about one in each bin.

    Added to the counts they are a Dirichlet prior: rows with many pixels hardly change, and those with few have no
    empty bins.
    """
    edges = low + width * np.arange(bins + 1)
    centres = (edges[:-1, None] + 0.5 * width).astype(np.float64)
    std = np.sqrt(line.variance_at(centres))
    mass = np.diff(ndtr((edges[None, :] - centres) / std), axis=1)
    return np.maximum(8.0, 6.0 * std / width) * mass


def corrected(pixels: PixelPairs, line: PhotonTransfer) -> PixelPairs:
    """Scale the residuals of pixels with a denoised signal to the variance of the photon-transfer line.

    The residual of a denoised image includes the denoiser's errors; level by level it is centred and scaled to the
    unbiased variance.
    """
    index = level_index(pixels.level)
    used = np.maximum(index, 0)
    residual = pixels.observed - pixels.signal
    count = np.maximum(np.bincount(used, minlength=used.max() + 1), 1)
    mean = np.bincount(used, residual) / count
    variance = np.bincount(used, np.square(residual - mean[used])) / count
    target = np.bincount(used, line.variance_at(pixels.signal.astype(np.float64))) / count
    scale = np.where(count >= MIN_PIXELS, np.sqrt(target / np.maximum(variance, 1e-12 * target.max())), 1.0)
    mean = np.where(count >= MIN_PIXELS, mean, 0.0)
    scale = np.clip(scale, 0.5, 2.0)
    scaled = pixels.signal + ((residual - mean[used]) * scale[used])
    observed = np.where(pixels.clipped != 0, pixels.observed, scaled).astype(np.float32)
    return replace(pixels, observed=observed)


def slices(pixels: PixelPairs, line: PhotonTransfer, count: int = 4) -> list[Slice]:
    """Return the distributions of the observation at a few levels from dark to bright."""
    low, high = _range(pixels, line)
    out = []
    for start in np.linspace(low, high, count + 1)[:-1]:
        std = float(np.sqrt(line.variance_at(start)))
        near = (pixels.signal >= start) & (pixels.signal < start + 0.5 * std) & (pixels.clipped == 0)
        if near.sum() < MIN_PIXELS:
            continue
        s = float(pixels.signal[near].mean())
        residual = (pixels.observed[near] - pixels.signal[near]).astype(np.float64)
        density, edges = np.histogram(residual, bins=48, range=(-5 * std, 5 * std))
        width = edges[1] - edges[0]
        out.append(Slice(s, (edges + s).tolist(), (density / (near.sum() * width)).tolist()))
    return out


def _range(pixels: PixelPairs, line: PhotonTransfer) -> tuple[float, float]:
    """Return the range of the signals, without the 0.05 % darkest and brightest.

    If pixels are at a limit of the detector, the range ends at the last level without them, because the signal of
    clipped pixels is a mean of clipped values.
    """
    low, high = (float(v) for v in np.quantile(pixels.signal, [0.0005, 0.9995]))
    if (pixels.clipped < 0).any():
        low = max(low, line.low)
    if (pixels.clipped > 0).any():
        high = min(high, line.high)
    return low, max(high, low + 1e-6 * (1.0 + abs(low)))


def _stabilise(line: PhotonTransfer, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the signal on a scale on which the noise has standard deviation 1 everywhere (after Anscombe)."""
    lowest = line.lower_bound
    if line.a * (line.high - line.low) < 1e-6 * lowest:
        return s / np.sqrt(lowest)
    knee = (lowest - line.b) / line.a
    above = 2.0 / line.a * (np.sqrt(line.variance_at(s)) - np.sqrt(lowest))
    return np.where(s > knee, above, (s - knee) / np.sqrt(lowest))
