"""What there is to learn: how much of the images cannot be noise of independent pixels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.noise.correlation import FINEST, RADIUS, SIDE, block_powers

_ENDS = (1, 2, 4, 8)
_BANDS = [(low <= RADIUS) & (high > RADIUS) for low, high in zip(_ENDS, _ENDS[1:], strict=False)]

MIN_BLOCKS = 100
"""Blocks (half overlapping) below which images are too small to tell."""

_OVERLAP = 2.25
"""Factor by which half overlapping blocks raise the variance of a mean over all of them."""

_SIGNIFICANT = 3.0
"""Standard errors above the power of noise from which on a band holds more than noise."""


def information(planes: Iterable[NDArray[np.floating]], valid: Iterable[NDArray[np.bool_] | None]) -> float:
    """Return how many nats per pixel the images tell of anything but noise, at most.

    Noise of independent pixels has the same power in all coefficients of the cosine transform of 16x16 blocks,
    whatever its distribution. A Gaussian channel of the signal-to-noise ratio that the mean power of a band leaves,
    relative to the finest coefficients, carries half of the logarithm of that quotient for each coefficient (Shannon,
    Bell System Technical Journal 27, 1948). Bands in which the mean does not significantly exceed that of noise carry
    nothing, and what lies in a few blocks counts as if it were in all, so that the bound is generous.

    Parameters
    ----------
    planes : iterable of float array, shape (Y, X)
        Noisy planes.
    valid : iterable of (bool array, shape (Y, X), or None)
        For each plane False where a pixel is no data; blocks with such pixels do not count.

    Returns
    -------
    float
        Infinite if there are fewer than `MIN_BLOCKS` blocks. Correlated noise counts as information.
    """
    powers = [
        block_powers(plane if mask is None else np.where(mask, plane, np.nan), (*_BANDS, FINEST))
        for plane, mask in zip(planes, valid, strict=True)
        if min(plane.shape) >= SIDE
    ]
    power = np.concatenate(powers) if powers else np.empty((0, len(_BANDS) + 1))
    if len(power) < MIN_BLOCKS:
        return np.inf
    found = 0.0
    ratios = power[:, :-1].mean(axis=0) / power[:, -1].mean()
    for band, ratio in zip(_BANDS, ratios.tolist(), strict=True):
        error = (2 * _OVERLAP / len(power) * (1 / band.sum() + 1 / FINEST.sum())) ** 0.5
        if ratio > 1 + _SIGNIFICANT * error:
            found += int(band.sum()) / SIDE**2 * 0.5 * float(np.log(ratio))
    return found
