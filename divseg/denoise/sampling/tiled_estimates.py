"""Estimates that need all samples at once: made tile by tile, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.normalization import Intensity
from divseg.denoise.sampling.modes import BANDWIDTH, mode_reach, seek_mode
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import tile_spans, widen, within
from divseg.errors import InputError

HELD = 2**25
"""Pixels of samples that are held at once, over which the tiles are made smaller."""


@dataclass(frozen=True)
class Estimates:
    """Estimates of one image; arrays have the image's shape, in its intensity units, float32.

    Attributes
    ----------
    mean : array
        Minimum-mean-square-error estimate.
    sd : array
        Standard deviation of the samples (with n - 1).
    quantiles : array, shape (len(levels), *shape)
        Exact quantiles of the samples at each pixel, interpolated linearly as :func:`numpy.quantile` does.
    levels : tuple of float
        Probabilities of the quantiles.
    mode : array or None
        Estimate of the posterior's mode, where it was asked for.
    count : int
        Number of samples.
    """

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    quantiles: NDArray[np.float32]
    levels: tuple[float, ...]
    mode: NDArray[np.float32] | None
    count: int


def sample_quantiles(samples: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles over the first axis, linearly interpolated (Hyndman and Fan's type 7), of any number of pixels."""
    ordered = samples.sort(0).values
    last = len(samples) - 1
    found = []
    for level in levels:
        below = min(int(level * last), last)
        found.append(torch.lerp(ordered[below], ordered[min(below + 1, last)], level * last - below))
    return torch.stack(found) if found else samples.new_empty((0, *samples.shape[1:]))


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Return the probabilities as floats from 0 to 1."""
    found = tuple(float(level) for level in levels)
    if not all(0.0 <= level <= 1.0 for level in found):
        raise InputError(f"quantiles={found} must be probabilities from 0 to 1")
    return found


def estimate_tilewise(
    sampler: Sampler,
    intensity: Intensity,
    n: int,
    *,
    levels: Sequence[float] = (),
    mode: bool = False,
    bandwidth: float | None = None,
) -> Estimates:
    """Draw `n` samples of one tile after the other and reduce each.

    Parameters
    ----------
    sampler : Sampler
        Of the image.
    intensity : Intensity
        From the network's units to the image's.
    n : int
        Samples.
    levels : sequence of float
        Probabilities of the quantiles.
    mode : bool
        Seek the mode as well. Needs a wider border around every tile.
    bandwidth : float, optional
        For :func:`divseg.denoise.sampling.modes.seek_mode`.
    """
    posterior, config = sampler.posterior, sampler.network.config
    step = config.stride
    shape = (config.channels, *posterior.sides)
    mean, sd = (np.empty(shape, np.float32) for _ in range(2))
    quantiles = np.empty((len(levels), *shape), np.float32)
    modes = np.empty(shape, np.float32) if mode else None
    reach = -(-mode_reach() // step) if mode else 0
    with torch.inference_mode():
        for spans in tile_spans(posterior.grid, _tile(sampler, n, reach) // step):
            wide = widen(spans, reach, posterior.grid)
            samples = intensity.restore(sampler.draw_tile(range(n), wide))
            inner = samples[(slice(None), slice(None), *within(spans, wide, step))]
            where = (slice(None), *(slice(a * step, b * step) for a, b in spans))
            mean[where] = inner.mean(0).cpu().numpy()
            sd[where] = (inner.std(0) if n > 1 else torch.zeros_like(inner[0])).cpu().numpy()
            quantiles[(slice(None), *where)] = sample_quantiles(inner, levels).cpu().numpy()
            if modes is not None:
                found = seek_mode(samples, bandwidth=BANDWIDTH if bandwidth is None else bandwidth)
                modes[where] = found[(slice(None), *within(spans, wide, step))].cpu().numpy()
    out = posterior.shape
    return Estimates(
        mean.reshape(out),
        sd.reshape(out),
        quantiles.reshape(len(levels), *out),
        tuple(levels),
        None if modes is None else modes.reshape(out),
        n,
    )


def _tile(sampler: Sampler, n: int, reach: int) -> int:
    """Side of the tiles, in pixels, that lets all samples of a tile with its border be held."""
    config = sampler.network.config
    side = (HELD / (n * config.channels)) ** (1 / config.dims) - 2 * reach * config.stride
    least = 4 * config.stride
    return min(sampler.tile, max(least, int(side) // config.stride * config.stride))
