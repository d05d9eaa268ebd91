"""Is the noise correlated between pixels? The power spectrum of the flattest parts of a noisy image tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.stats import f as f_distribution

SIDE = 16
"""Side of the blocks in pixels: correlation at distances below this is seen."""

MIN_BLOCKS = 25
"""Blocks (half overlapping) below which an image is too small to tell."""

CORRELATED = 1.4
"""Power in a band, relative to that of independent noise, above which noise is correlated; chosen in
``benchmarks/noise_checks.py``."""

SHARPENED = 0.6
"""Power below which neighbours are negatively correlated, as sharpening does it."""

_QUANTILES = (0.05, 0.2, 0.5)  # of the blocks: structure can only add power, and few images have it everywhere
_Y, _X = np.indices((SIDE, SIDE))
RADIUS = np.hypot(_Y, _X)
"""Of each coefficient of the cosine transform of a block, in half periods a block; shape (SIDE, SIDE)."""

FINEST = (_Y >= 9) & (_X >= 9)
"""Coefficients that hold noise alone, as optics blur what is so fine; shape (SIDE, SIDE)."""

_BANDS = {
    "rows": (_X <= 2) & (_Y >= 6),
    "columns": (_Y <= 2) & (_X >= 6),
    "smooth": (RADIUS >= 2) & (RADIUS <= 5),
}


@dataclass(frozen=True)
class NoiseSpectrum:
    """Power of the noise in three bands, relative to that of its finest grain: 1 for independent pixels.

    Attributes
    ----------
    rows : float
        Slow along rows and fast along columns: lines, or a correlation along the rows.
    columns : float
        Fast along rows and slow along columns.
    smooth : float
        Slow along both, at periods of 6 to 16 pixels: a blur.
    typical : float
        Power of the least of the three bands in half of the blocks: below 1 for sharpened noise.
    """

    rows: float
    columns: float
    smooth: float
    typical: float

    @property
    def is_correlated(self) -> bool:
        """Whether the noise of neighbouring pixels is correlated."""
        return max(self.rows, self.columns, self.smooth) > CORRELATED or self.typical < SHARPENED

    @property
    def details(self) -> str:
        """What was found, in words."""
        bands = {
            "along the rows": self.rows,
            "along the columns": self.columns,
            "smooth in both directions": self.smooth,
        }
        found = [
            f"{words} ({power:.1f} times the power of independent noise)"
            for words, power in bands.items()
            if power > CORRELATED
        ]
        if found:
            lines = max(self.rows, self.columns) > CORRELATED
            return ", ".join(found) + ("" if lines else "; fine texture all over the image would look the same")
        return f"negatively ({self.typical:.2f} times the power of independent noise), as sharpening does it"


def noise_spectrum(image: NDArray[np.generic]) -> NoiseSpectrum:
    """Measure the power spectrum of the noise from one noisy image.

    The discrete cosine transform of blocks of 16x16 pixels parts fine from coarse along each axis, so that what is
    smooth along one axis does not hide what is correlated along the other. Independent noise has the same power
    everywhere, whatever its distribution and however it depends on the signal, and the quotient of its mean powers in
    two bands follows an F distribution. Structure adds power to coarse bands, but not to the flattest blocks, so that
    low quantiles over the blocks, relative to those of the F distribution, tell of the noise. If noise is correlated,
    it is so in all blocks, and the quantiles of 5 and 20 % are alike; if they differ, even the flattest blocks hold
    structure, and the quotient of the two is taken off. A stack of planes gives the blocks of all of them.

    Parameters
    ----------
    image : array, shape (..., Y, X)
        Noisy image. Blocks with pixels that are not numbers, or without any noise, are left out.

    Returns
    -------
    NoiseSpectrum
        All ones if there are fewer than MIN_BLOCKS blocks.

    References
    ----------
    Ponomarenko et al., "An automatic approach to lossy compression of AVIRIS images", IGARSS 2007, for noise from the
    cosine transform of the flattest blocks.
    """
    planes = np.asarray(image).reshape(-1, *image.shape[-2:])
    powers = (
        [block_powers(plane, (*_BANDS.values(), FINEST)) for plane in planes] if min(planes.shape[1:]) >= SIDE else []
    )
    power = np.concatenate(powers) if powers else np.empty((0, 4))
    if len(power) < MIN_BLOCKS:
        return NoiseSpectrum(1.0, 1.0, 1.0, 1.0)
    freedom = int(FINEST.sum())
    found, typical = {}, 1.0
    for k, (name, band) in enumerate(_BANDS.items()):
        ratio = power[:, k] / power[:, -1]
        expected = f_distribution.ppf(_QUANTILES, int(band.sum()), freedom)
        low, higher, middle = (np.quantile(ratio, _QUANTILES) / expected).tolist()
        found[name] = low * min(1.0, low / higher)
        typical = min(typical, middle)
    return NoiseSpectrum(**found, typical=typical)


def block_powers(plane: NDArray[np.generic], bands: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Return the mean power of the blocks of a plane in bands of their cosine transform.

    Parameters
    ----------
    plane : array, shape (Y, X)
        Blocks with pixels that are not numbers, or without any power in the last band, are left out.
    bands : sequence of bool array, shape (SIDE, SIDE)
        Coefficients of each band.

    Returns
    -------
    float64 array, shape (blocks, bands)
    """
    steps = SIDE // 2
    rows = []
    for start in range(0, plane.shape[0] - SIDE + 1, steps):  # a row of blocks at a time, to save memory
        strip = plane[start : start + SIDE].astype(np.float64)
        blocks = np.lib.stride_tricks.sliding_window_view(strip, (SIDE, SIDE))[0, ::steps]
        blocks = blocks[np.isfinite(blocks).all(axis=(1, 2))]
        spectrum = np.square(dctn(blocks, axes=(1, 2), norm="ortho"))
        rows.append(np.stack([spectrum[:, band].mean(axis=1) for band in bands], axis=1))
    power = np.concatenate(rows)
    return power[power[:, -1] > 1e-9 * power[:, -1].max(initial=0.0)]
