"""Mixture and histogram fitted to pixels with known signal, by way of their two-dimensional histogram."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from divseg.denoise.noise.estimate import PhotonTransfer
from divseg.denoise.noise.evidence import Slice
from divseg.denoise.noise.histogram import Histogram
from divseg.denoise.noise.mixture import GaussianMixture, components, log_normal
from divseg.denoise.noise.scatter import Scatter
from divseg.denoise.noise.transfer import FEWEST, effective, level_index
from divseg.errors import DivsegWarning, InputError

SIGNAL_BINS = 64
_REACH = 8.0  # standard deviations that the residual's bins cover
_STEPS = 16  # bins a standard deviation
_RIDGE = 1e-5


@dataclass(frozen=True)
class Cells:
    """Cells of the histogram of signal and observation: means of both within the cell, and weight."""

    signal: NDArray[np.float64]
    observed: NDArray[np.float64]
    clipped: NDArray[np.int8]
    weight: NDArray[np.float64]


def count_cells(pixels: Scatter, line: PhotonTransfer) -> Cells:
    """Count pixels by signal and by residual, both in units of the noise's standard deviation.

    Bins of a fixed width in intensity would be wider than the noise where the image is dark. The levels of
    the signal count as in :func:`divseg.denoise.noise.transfer.effective`.
    """
    first, last = _range(pixels, line)
    inside = (pixels.signal >= first) & (pixels.signal <= last)
    s, x = pixels.signal[inside].astype(np.float64), pixels.observed[inside].astype(np.float64)
    clipped = pixels.clipped[inside]
    sd = np.sqrt(_variance(line, s))
    place = _steady(line, s)
    low, high = (float(_steady(line, np.array(v))) for v in (first, last))
    row = np.clip(((place - low) / (high - low) * SIGNAL_BINS).astype(np.int64), 0, SIGNAL_BINS - 1)
    across = int(2 * _REACH * _STEPS)
    column = np.clip(((x - s) / sd * _STEPS + across // 2).astype(np.int64), -1, across) + 1
    key = (row * (across + 2) + column) * 3 + (clipped + 1)
    size = SIGNAL_BINS * (across + 2) * 3
    count = np.bincount(key, minlength=size).astype(np.float64)
    used = np.flatnonzero(count)
    level = np.bincount(row, minlength=SIGNAL_BINS).astype(np.float64)
    share = effective(level) / np.maximum(level, 1.0)
    return Cells(
        np.bincount(key, s, size)[used] / count[used],
        np.bincount(key, x, size)[used] / count[used],
        (used % 3 - 1).astype(np.int8),
        count[used] * share[used // (3 * (across + 2))],
    )


def fit_mixture(
    pixels: Scatter, line: PhotonTransfer, *, n_gaussian: int = 3, n_coeff: int = 2, iterations: int = 300
) -> GaussianMixture:
    """Fit a Gaussian mixture by maximum likelihood on the cells of the histogram; deterministic.

    It starts from the photon-transfer line, with components that are narrower and wider than it. Pixels at
    the detector's limits count with the probability of the tail.
    """
    if n_gaussian < 1 or n_coeff < 1:
        raise InputError(f"a mixture of {n_gaussian} Gaussians with {n_coeff} coefficients: at least 1 of each")
    cells = count_cells(pixels, line)
    low, high = _range(pixels, line)
    t = torch.from_numpy((cells.signal - low) / (high - low))
    deviation = torch.from_numpy(cells.observed - cells.signal)
    weight = torch.from_numpy(cells.weight / cells.weight.sum())
    clipped = torch.from_numpy(cells.clipped)
    cut = bool((clipped != 0).any())
    # in units of the noise at the bright end, so that all parameters are of order one
    unit = float(_variance(line, np.array(high)))
    deviation = deviation / math.sqrt(unit)
    ends = _variance(line, np.array([low, high])) / unit
    least = float(0.01 * ends.min())
    start = _start(ends, n_gaussian, n_coeff)
    table = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([table], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_change=1e-10)

    def closure() -> Tensor:
        optimiser.zero_grad()
        log_share, mean, var = components(table, t, least)
        each = log_normal(deviation - mean, var)
        if cut:
            z = (mean - deviation) / var.sqrt()
            each = torch.where(clipped == 0, each, torch.special.log_ndtr(torch.where(clipped > 0, z, -z)))
        loss = -(weight * torch.logsumexp(log_share + each, dim=0)).sum()
        loss = loss + _RIDGE * (table - start).square().mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    found = table.detach()
    if not bool(torch.isfinite(found).all()):
        raise InputError("the mixture could not be fitted to these frames; choose --kind poisson-gaussian")
    found[:n_gaussian] *= math.sqrt(unit)
    found[n_gaussian : 2 * n_gaussian] += math.log(unit)
    return GaussianMixture(found, min_signal=low, max_signal=high, min_sigma=least * unit)


def _start(ends: NDArray[np.float64], k: int, c: int) -> Tensor:
    """Components with the line's variance, scaled from narrow to wide, and means apart a little."""
    table = torch.zeros(3 * k, c, dtype=torch.float64)
    scales = np.linspace(-0.7, 0.7, k) if k > 1 else np.zeros(1)
    offsets = np.linspace(-0.3, 0.3, k) if k > 1 else np.zeros(1)
    sd = np.sqrt(ends)
    for i in range(k):
        table[i, 0] = offsets[i] * sd[0]
        table[k + i, 0] = math.log(ends[0]) + scales[i]
        if c > 1:
            table[i, 1] = offsets[i] * (sd[1] - sd[0])
            table[k + i, 1:] = math.log(max(ends[1] - ends[0], 0.01 * ends[0]) / (c - 1)) + scales[i]
        table[2 * k + i, 0] = -abs(scales[i])
    return table


def fit_histogram(pixels: Scatter, line: PhotonTransfer, *, bins: int = 256) -> Histogram:
    """Count signal and observation in square bins, as PN2V does.

    Where few pixels were counted, what the photon-transfer line expects fills the gaps.
    Bins of images with integer intensities hold whole numbers of them, so that no bin sees one more value
    than its neighbour.

    Warns
    -----
    DivsegWarning
        If a bin is wider than the noise where it is smallest.
    """
    if bins < 8:
        raise InputError(f"bins={bins}: a noise histogram needs 8 or more")
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
    least = math.sqrt(_least(line))
    if width > least:
        warnings.warn(
            f"the bins of the noise histogram, {width:.4g} wide, are wider than the noise of dark pixels (sd "
            f"{least:.4g}); take more bins, or kind 'mixture'",
            DivsegWarning,
            stacklevel=3,
        )
    return Histogram(table + _expected(line, low, width, bins), low=low, high=high)


def _expected(line: PhotonTransfer, low: float, width: float, bins: int) -> NDArray[np.float64]:
    """Return the counts that a normal distribution on the line would give, about one a bin of the noise.

    Added to what was counted they are a Dirichlet prior: rows with many pixels are hardly changed, and those
    with few have no holes.
    """
    edges = low + width * np.arange(bins + 1)
    centres = (edges[:-1, None] + 0.5 * width).astype(np.float64)
    sd = np.sqrt(_variance(line, centres))
    share = np.diff(ndtr((edges[None, :] - centres) / sd), axis=1)
    return np.maximum(8.0, 6.0 * sd / width) * share


def corrected(pixels: Scatter, line: PhotonTransfer) -> Scatter:
    """Scale the residuals of pixels with a denoised signal to the variance that was measured without bias.

    The residual of a denoised image holds the denoiser's errors; level by level it is centred and scaled so
    that its variance is that of :attr:`Scatter.variance`.
    """
    index = level_index(pixels.level)
    used = np.maximum(index, 0)
    residual = pixels.observed - pixels.signal
    count = np.maximum(np.bincount(used, minlength=used.max() + 1), 1)
    mean = np.bincount(used, residual) / count
    spread = np.bincount(used, np.square(residual - mean[used])) / count
    wanted = np.bincount(used, _variance(line, pixels.signal.astype(np.float64))) / count
    scale = np.where(count >= FEWEST, np.sqrt(wanted / np.maximum(spread, 1e-12 * wanted.max())), 1.0)
    mean = np.where(count >= FEWEST, mean, 0.0)
    scale = np.clip(scale, 0.5, 2.0)
    moved = pixels.signal + ((residual - mean[used]) * scale[used])
    observed = np.where(pixels.clipped != 0, pixels.observed, moved).astype(np.float32)
    return Scatter(
        pixels.level,
        pixels.mean,
        pixels.variance,
        pixels.signal,
        observed,
        pixels.clipped,
        pixels.correlation,
    )


def slices(pixels: Scatter, line: PhotonTransfer, count: int = 4) -> list[Slice]:
    """Distributions of the observation at a few levels from dark to bright."""
    low, high = _range(pixels, line)
    out = []
    for place in np.linspace(low, high, count + 1)[:-1]:
        sd = float(np.sqrt(_variance(line, place)))
        near = (pixels.signal >= place) & (pixels.signal < place + 0.5 * sd) & (pixels.clipped == 0)
        if near.sum() < FEWEST:
            continue
        s = float(pixels.signal[near].mean())
        residual = (pixels.observed[near] - pixels.signal[near]).astype(np.float64)
        density, edges = np.histogram(residual, bins=48, range=(-5 * sd, 5 * sd))
        width = edges[1] - edges[0]
        out.append(Slice(s, (edges + s).tolist(), (density / (near.sum() * width)).tolist()))
    return out


def _range(pixels: Scatter, line: PhotonTransfer) -> tuple[float, float]:
    """Return the range of the signals, without the few beyond.

    Where pixels are at a limit of the detector it ends at the last level without them: the signal of
    clipped pixels is the mean of clipped pixels.
    """
    low, high = (float(v) for v in np.quantile(pixels.signal, [0.0005, 0.9995]))
    if (pixels.clipped < 0).any():
        low = max(low, line.low)
    if (pixels.clipped > 0).any():
        high = min(high, line.high)
    return low, max(high, low + 1e-6 * (1.0 + abs(low)))


def _variance(line: PhotonTransfer, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance on the line, but no less than that of the darkest pixels."""
    return np.maximum(line.a * s + line.b, _least(line))


def _least(line: PhotonTransfer) -> float:
    return line.least if line.least is not None else 0.1 * (line.a * line.low + line.b)


def _steady(line: PhotonTransfer, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal on a scale on which the noise has standard deviation 1 everywhere (after Anscombe)."""
    least = _least(line)
    if line.a * (line.high - line.low) < 1e-6 * least:
        return s / np.sqrt(least)
    knee = (least - line.b) / line.a
    above = 2.0 / line.a * (np.sqrt(_variance(line, s)) - np.sqrt(least))
    return np.where(s > knee, above, (s - knee) / np.sqrt(least))
