"""The photon-transfer line of pixels whose signal is known."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.noise.estimate import PhotonTransfer
from divseg.denoise.noise.scatter import Limits, Scatter
from divseg.errors import DivsegWarning, InputError

LEVELS = 32
"""Levels of the signal, equally far apart as the exposures of EMVA standard 1288 are."""

FEWEST = 100
"""Pixels that a level must have."""

MISFIT = 0.02
"""Relative error of a level's variance that no number of pixels removes, because no camera's line is exact."""

_MOST_CLIPPED = 1e-3


def level_index(level: NDArray[np.float32], count: int = LEVELS) -> NDArray[np.int64]:
    """Return the level of each pixel, 0 to count - 1, or -1 for the few beyond the darkest and brightest."""
    low, high = np.quantile(level, [0.0005, 0.9995])
    if not high > low:
        return np.zeros(level.shape, np.int64)
    index = np.floor((level - low) * (count / (high - low))).astype(np.int64)
    return np.where((index >= 0) & (index < count), index, -1)


def effective(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the number of pixels that a level counts for.

    With many pixels a level's error is the misfit of the model, not chance: beyond 2 / MISFIT^2 pixels more
    of them add nothing. Without this the levels that fill most of the calibration frame (often the darkest)
    would decide alone, though the images may have quite other signals.
    """
    return count / (1.0 + 0.5 * MISFIT**2 * count)


def transfer_line(pixels: Scatter, limits: Limits = (None, None)) -> PhotonTransfer:
    """Fit ``variance = a * signal + b`` to the levels of pixels with known signal.

    Levels at which more than one pixel in 1000 is at a limit of the detector are left out: their variance
    is cut.

    Raises
    ------
    InputError
        If fewer than FEWEST pixels are left, or there is no noise.

    References
    ----------
    EMVA Standard 1288, release 4.0 (2021), section 6.6: the gain as the slope of the variance against the
    mean at equally spaced levels.
    """
    index = level_index(pixels.level)
    known = index >= 0
    index = index[known]

    def total(values: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.bincount(index, values[known].astype(np.float64), LEVELS).astype(np.float64)

    count = np.bincount(index, minlength=LEVELS).astype(np.float64)
    clipped = total(pixels.clipped != 0)
    full = count >= FEWEST
    whole = full & (clipped <= _MOST_CLIPPED * count)
    if not whole.any():
        if full.any():
            raise InputError("all of the frames is at the detector's limits: expose less, or lower the gain")
        raise InputError(f"{len(pixels)} pixels are too few to measure the noise; give larger or more frames")
    n = count[whole]
    signal, variance = total(pixels.mean)[whole] / n, total(pixels.variance)[whole] / n
    if not variance.max() > 1e-12 * float(np.abs(signal).max()) ** 2:  # less is rounding
        raise InputError("the frames hold no noise at all")
    variance = np.maximum(variance, 1e-6 * variance.max())
    if (full & ~whole).any():
        warnings.warn(
            f"{100 * clipped.sum() / count.sum():.2g} % of the pixels are at the detector's limits; the variance was "
            f"measured from the {whole.sum()} of {full.sum()} levels without them",
            DivsegWarning,
            stacklevel=2,
        )
    order = np.argsort(signal)
    signal, variance, n = signal[order], variance[order], n[order]
    a, b = _line(signal, variance, effective(n))
    low, high = float(signal[0]), float(signal[-1])
    high = max(high, low + 1e-6 * (1 + abs(low)))
    least = _darkest(pixels)
    return PhotonTransfer(a, b, low, high, signal, variance, n, floor=limits[0], ceiling=limits[1], least=least)


def _darkest(pixels: Scatter) -> float | None:
    """Variance of the darkest pixels, but of FEWEST at least; None where they are cut at the floor."""
    most = min(max(FEWEST, len(pixels) // 200), len(pixels) - 1)
    dark = pixels.level <= np.partition(pixels.level, most)[most]
    if (pixels.clipped[dark] != 0).mean() > _MOST_CLIPPED:
        return None
    least = float(pixels.variance[dark].mean(dtype=np.float64))
    return least if least > 0 else None


def _line(
    signal: NDArray[np.float64], variance: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Line with relative weights, robust against single levels, positive within the range.

    The variance of a level scatters in proportion to itself. Levels further from the line than three times
    their median deviation count less (Huber). A slope within two standard errors of 0 is 0.
    """
    flat = float((weight / variance).sum() / (weight / variance**2).sum())
    if signal.size < 3:
        return 0.0, flat
    floor = 0.1 * float(variance.min())
    model = variance.copy()
    a, b, error = 0.0, flat, 0.0
    for _ in range(50):
        deviation = (variance / model - 1.0) * np.sqrt(weight / 2.0)
        far = 3.0 * max(1.0, 1.4826 * float(np.median(np.abs(deviation))))
        w = weight / model**2 * np.minimum(1.0, far / np.maximum(np.abs(deviation), 1e-12))
        x0, y0 = np.average(signal, weights=w), np.average(variance, weights=w)
        spread = float((w * (signal - x0) ** 2).sum())
        before = (a, b)
        a = float((w * (signal - x0) * (variance - y0)).sum() / spread)
        b = float(y0 - a * x0)
        error = float(np.sqrt(2.0 / spread))
        model = np.maximum(a * signal + b, floor)
        if np.allclose(before, (a, b), rtol=1e-10, atol=0.0):
            break
    if a < 2.0 * error:
        return 0.0, flat
    return (a, b) if a * signal[0] + b >= floor else (a, floor - a * float(signal[0]))
