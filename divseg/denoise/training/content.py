"""Is there anything to learn? Noise of independent pixels has the same power at all scales; objects have not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from divseg.denoise.noise.correlation import FINEST, RADIUS, SIDE, block_powers

MIN_BLOCKS = 100
"""Blocks (half overlapping) below which images are too small to tell."""

LEAST_NATS = 1e-3
"""Nats per pixel that fine structure all over the images must tell to be worth learning."""

_COARSE = (RADIUS >= 1) & (RADIUS < 4)
_FINE = (RADIUS >= 2) & (RADIUS < 8)
_CHANCE = 1e-3  # that noise is taken for structure
_SPREAD = 1.2  # noise of few photons has wider tails than the chi-squared distribution
_OVERLAP = 2.25  # factor by which half overlapping blocks raise the variance of a mean over all of them


def holds_only_noise(planes: Iterable[NDArray[np.floating]], valid: Iterable[NDArray[np.bool_] | None]) -> bool:
    """Tell whether noisy planes show nothing but noise of independent pixels, as far as can be seen.

    Two kinds of structure are looked for in the cosine transforms of 16x16 blocks, relative to the finest coefficients:
    an object anywhere, which gives its block more coarse power than the largest of as many chi-squared variates; and
    texture everywhere, of which the mean power at periods of 4 to 16 pixels tells (a Gaussian channel of that
    signal-to-noise ratio carries half of its logarithm for each coefficient; Shannon, Bell System Technical Journal 27,
    1948). Light that changes slowly over the field is neither.

    Parameters
    ----------
    planes : iterable of float array, shape (Y, X)
        Noisy planes.
    valid : iterable of (bool array, shape (Y, X), or None)
        For each plane False where a pixel is no data; blocks with such pixels do not count.

    Returns
    -------
    bool
        False if there are fewer than `MIN_BLOCKS` blocks. Correlated noise is structure.
    """
    bands = (_COARSE, _FINE, FINEST)
    powers = [
        block_powers(plane if mask is None else np.where(mask, plane, np.nan), bands)
        for plane, mask in zip(planes, valid, strict=True)
        if min(plane.shape) >= SIDE
    ]
    power = np.concatenate(powers) if powers else np.empty((0, len(bands)))
    if len(power) < MIN_BLOCKS:
        return False
    coarse, fine, finest = (int(band.sum()) for band in bands)
    noise = float(power[:, 2].mean())
    highest = _SPREAD * chi2.isf(_CHANCE / len(power), coarse) / coarse
    if power[:, 0].max() > highest * noise:
        return False
    ratio = float(power[:, 1].mean()) / noise
    error = (2 * _OVERLAP / len(power) * (1 / fine + 1 / finest)) ** 0.5
    return ratio < 1 + 3 * error or fine / SIDE**2 * 0.5 * float(np.log(ratio)) < LEAST_NATS
