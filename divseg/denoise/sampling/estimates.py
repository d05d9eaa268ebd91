"""Estimates from posterior samples: mean and standard deviation, quantiles, and the maximum a posteriori (MAP).

Mean and standard deviation are streamed over batches of samples. Quantiles and the MAP estimate need all samples at
once, and are made tile by tile, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from divseg.denoise.normalization import Normalization
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import tile_spans, widen, within
from divseg.errors import InputError

MAX_PIXELS = 2**25
"""Pixels of samples that are held at once; tiles are made smaller to stay below."""

MAP_WINDOW = 7
"""Side in pixels of the windows in which samples are compared."""
MAP_STEPS = 8
"""Mean-shift steps; enough for the changes to fall below a hundredth of the samples' spread."""
MAP_BANDWIDTH = 0.6
"""Width of the kernel relative to the samples' spread: 64 samples' Scott factor in four dimensions."""


class RunningMoments:
    """Mean and standard deviation, pixel by pixel, of samples that arrive in batches.

    Welford's update for whole batches: Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances" (1979), equation 2.1. The mean is the minimum-mean-square-
    error (MMSE) estimate of the clean image under the model.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, batch: Tensor) -> None:
        """Add samples of shape (B, *sides)."""
        n = batch.shape[0]
        total = self.count + n
        if self._mean is None or self._squares is None:
            self._mean = batch.mean(0)
            self._squares = (batch - self._mean).square_().sum(0)
        elif n == 1:  # the same with fewer temporary images, which large images ask for
            delta = batch[0] - self._mean
            self._mean.add_(delta, alpha=1 / total)
            self._squares.addcmul_(delta, delta, value=self.count / total)
        else:
            mean = batch.mean(0)
            self._squares.add_((batch - mean).square_().sum(0))
            delta = mean.sub_(self._mean)
            self._mean.add_(delta, alpha=n / total)
            self._squares.addcmul_(delta, delta, value=self.count * n / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """Mean of the samples, shape (*sides)."""
        if self._mean is None:
            raise ValueError("no samples were added")
        return self._mean

    @property
    def std(self) -> Tensor:
        """Standard deviation of the samples (with n - 1), shape (*sides); 0 for a single sample."""
        if self._squares is None:
            raise ValueError("no samples were added")
        return (self._squares / max(1, self.count - 1)).sqrt_()


def moments(batches: Iterable[Tensor]) -> RunningMoments:
    """Mean and standard deviation over all batches of samples."""
    running = RunningMoments()
    for batch in batches:
        running.add(batch)
    return running


def map_reach(window: int = MAP_WINDOW, steps: int = MAP_STEPS) -> int:
    """Pixels around a position that its MAP estimate depends on."""
    return (window // 2) * (steps + 1)


def map_estimate(
    samples: Tensor, *, bandwidth: float = MAP_BANDWIDTH, window: int = MAP_WINDOW, steps: int = MAP_STEPS
) -> Tensor:
    """Climb from the samples' mean to a mode of their density, by mean shift.

    Comaniciu and Meer, "Mean shift: a robust approach toward feature space analysis", IEEE Trans. PAMI 24
    (2002), equation 20, with a normal kernel, in the space of windows around every pixel: a sample counts
    at a pixel by its mean squared difference, over the window, from the present estimate, in units of the
    samples' own variance over the window. If samples agree up to normal scatter, this stays at their
    mean; if they fall into groups, it goes to the largest, instead of an average that resembles none of them.

    Parameters
    ----------
    samples : Tensor, shape (K, C, (Z), Y, X)
        Channels share their weights, after division by each channel's spread.
    bandwidth : float
        Width of the kernel in standard deviations of the samples (root mean square over the window).
    window : int
        Odd side of the windows in pixels.
    steps : int
        Mean-shift steps.

    Returns
    -------
    Tensor, shape (C, (Z), Y, X)
        Maximum a posteriori (MAP) estimate: the posterior's mode.
    """
    dims = samples.ndim - 2
    spread = samples.var(0, keepdim=True, unbiased=False)
    # everything is relative to the local variance, which is 0 if all samples are equal
    tiny = torch.finfo(samples.dtype).tiny
    local = _window_mean(spread, window, dims).clamp_min(tiny)
    estimate = samples.mean(0, keepdim=True)
    for _ in range(steps):
        distance = _window_mean((samples - estimate).square_(), window, dims).div_(local).mean(1, keepdim=True)
        weight = torch.softmax(distance.mul_(-0.5 / bandwidth**2), dim=0)
        estimate = (weight * samples).sum(0, keepdim=True)
    return estimate[0]


def _window_mean(x: Tensor, window: int, dims: int) -> Tensor:
    pool = nn.functional.avg_pool2d if dims == 2 else nn.functional.avg_pool3d
    sides = [min(window, side - 1 + side % 2) for side in x.shape[-dims:]]  # odd, and no wider than the image
    return pool(x, sides, stride=1, padding=[side // 2 for side in sides], count_include_pad=False)


@dataclass(frozen=True)
class Estimates:
    """Estimates of one image; arrays have the image's shape, in its intensity units, float32.

    Attributes
    ----------
    mean : array
        Minimum-mean-square-error estimate.
    std : array
        Standard deviation of the samples (with n - 1).
    quantiles : array, shape (len(levels), *shape)
        Exact quantiles of the samples at each pixel, interpolated linearly as :func:`numpy.quantile` does.
    levels : tuple of float
        Probabilities of the quantiles.
    mode : array or None
        Maximum a posteriori (MAP) estimate, if it was asked for.
    count : int
        Number of samples.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    quantiles: NDArray[np.float32]
    levels: tuple[float, ...]
    mode: NDArray[np.float32] | None
    count: int


def sample_quantiles(samples: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles over the first axis, linearly interpolated (Hyndman and Fan's type 7), of any number of pixels."""
    ordered = samples.sort(0).values
    last = len(samples) - 1
    out = []
    for level in levels:
        below = min(int(level * last), last)
        out.append(torch.lerp(ordered[below], ordered[min(below + 1, last)], level * last - below))
    return torch.stack(out) if out else samples.new_empty((0, *samples.shape[1:]))


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Return the probabilities as floats from 0 to 1."""
    checked = tuple(float(level) for level in levels)
    if not all(0.0 <= level <= 1.0 for level in checked):
        raise InputError(f"quantiles={checked} must be probabilities from 0 to 1")
    return checked


def tiled_estimates(
    sampler: Sampler,
    normalization: Normalization,
    n: int,
    *,
    levels: Sequence[float] = (),
    mode: bool = False,
    bandwidth: float = MAP_BANDWIDTH,
) -> Estimates:
    """Draw `n` samples of one tile after the other and reduce each.

    Parameters
    ----------
    sampler : Sampler
        Draws samples of the image.
    normalization : Normalization
        From the network's units to the image's.
    n : int
        Number of samples.
    levels : sequence of float
        Probabilities of the quantiles.
    mode : bool
        Also make the MAP estimate, which needs a wider border around every tile.
    bandwidth : float
        As for :func:`map_estimate`.
    """
    posterior, config = sampler.posterior, sampler.network.config
    step = config.stride
    shape = (config.channels, *posterior.sides)
    mean, std = (np.empty(shape, np.float32) for _ in range(2))
    quantiles = np.empty((len(levels), *shape), np.float32)
    modes = np.empty(shape, np.float32) if mode else None
    reach = -(-map_reach() // step) if mode else 0
    with torch.inference_mode():
        for spans in tile_spans(posterior.grid, _tile(sampler, n, reach) // step):
            wide = widen(spans, reach, posterior.grid)
            samples = normalization.denormalize(sampler.draw_tile(range(n), wide))
            inner = samples[(slice(None), slice(None), *within(spans, wide, step))]
            region = (slice(None), *(slice(a * step, b * step) for a, b in spans))
            mean[region] = inner.mean(0).cpu().numpy()
            std[region] = (inner.std(0) if n > 1 else torch.zeros_like(inner[0])).cpu().numpy()
            quantiles[(slice(None), *region)] = sample_quantiles(inner, levels).cpu().numpy()
            if modes is not None:
                estimate = map_estimate(samples, bandwidth=bandwidth)
                modes[region] = estimate[(slice(None), *within(spans, wide, step))].cpu().numpy()
    out = posterior.shape
    return Estimates(
        mean.reshape(out),
        std.reshape(out),
        quantiles.reshape(len(levels), *out),
        tuple(levels),
        None if modes is None else modes.reshape(out),
        n,
    )


def _tile(sampler: Sampler, n: int, reach: int) -> int:
    """Side of the tiles, in pixels, that lets all samples of a tile with its border be held."""
    config = sampler.network.config
    side = (MAX_PIXELS / (n * config.channels)) ** (1 / config.dims) - 2 * reach * config.stride
    min_side = 4 * config.stride
    return min(sampler.tile, max(min_side, int(side) // config.stride * config.stride))
