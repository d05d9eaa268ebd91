"""Classical smoothing of noisy images: what any denoising network has to beat.

Strengths are in units of the noise, which the photon-transfer curve of the set's noisy images tells without any clean
image; the benchmark tunes them on its tuning part together with the segmenter.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.denoise.smoothing import GAUSSIAN_SD, MEANS_CUT, MEDIAN_SIDE, STABLE_CUT, TV_WEIGHT

Image = NDArray[np.float32]


@dataclass(frozen=True)
class NoiseLine:
    """Variance of the noise as ``slope * signal + intercept``, in the images' units."""

    slope: float
    intercept: float
    least: float
    """Least signal for which the line was seen."""

    @classmethod
    def of(cls, images: Sequence[Image]) -> NoiseLine:
        """Estimate the noise of noisy images of one kind."""
        from divseg.denoise.noise import photon_transfer

        found = photon_transfer(images)
        least = float(min(np.percentile(image, 1) for image in images))
        return cls(float(found.a), float(found.b), least)

    def variance(self, signal: float) -> float:
        """Variance of the noise at a signal."""
        return max(self.slope * max(signal, self.least) + self.intercept, 1e-6)

    def stabilise(self, image: Image) -> NDArray[np.float64]:
        """Give the noise a standard deviation of about one everywhere (generalised Anscombe transform).

        Starck, Murtagh and Bijaoui, Image Processing and Data Analysis (1998), equation 2.13.
        """
        x = image.astype(np.float64)
        if self._flat(x):
            return x / self.variance(float(x.mean())) ** 0.5
        inside = self.slope * x + 0.375 * self.slope**2 + self.intercept
        return 2 / self.slope * np.sqrt(np.maximum(inside, 0))

    def restore(self, stabilised: NDArray[np.float64], image: Image) -> Image:
        """Undo :meth:`stabilise`, algebraically; `image` is what it was given."""
        x = image.astype(np.float64)
        if self._flat(x):
            return (stabilised * self.variance(float(x.mean())) ** 0.5).astype(np.float32)
        signal = ((stabilised * self.slope / 2) ** 2 - 0.375 * self.slope**2 - self.intercept) / self.slope
        return signal.astype(np.float32)

    def _flat(self, x: NDArray[np.float64]) -> bool:
        """Whether the noise hardly depends on the signal over the image."""
        low, high = np.percentile(x, [1, 99])
        return self.slope <= 0 or self.variance(high) < 1.2 * self.variance(low)


def gaussian(image: Image, sd: float, noise: NoiseLine) -> Image:
    """Gaussian of `sd` pixels."""
    return ndi.gaussian_filter(image, sd)


def median(image: Image, size: float, noise: NoiseLine) -> Image:
    """Median over squares of `size` pixels a side."""
    return ndi.median_filter(image, int(size))


def total_variation(image: Image, weight: float, noise: NoiseLine) -> Image:
    """Total variation (Chambolle 2004) of the stabilised image."""
    from skimage.restoration import denoise_tv_chambolle

    return noise.restore(denoise_tv_chambolle(noise.stabilise(image), weight=weight, max_num_iter=100), image)


def nonlocal_means(image: Image, h: float, noise: NoiseLine) -> Image:
    """Non-local means (Buades et al. 2005) with a cut-off of `h` standard deviations of the average noise."""
    from skimage.restoration import denoise_nl_means

    sd = noise.variance(float(image.mean())) ** 0.5
    settings = {"patch_size": 5, "patch_distance": 6, "fast_mode": True}
    return denoise_nl_means(image, h=h * sd, sigma=sd, **settings).astype(np.float32)


def stabilised_means(image: Image, h: float, noise: NoiseLine) -> Image:
    """Non-local means of the stabilised image: stands in for BM3D where its package is not installed."""
    from skimage.restoration import denoise_nl_means

    flat, settings = noise.stabilise(image), {"patch_size": 7, "patch_distance": 9, "fast_mode": True}
    return noise.restore(denoise_nl_means(flat, h=h, sigma=1.0, **settings), image)


def bm3d(image: Image, sd: float, noise: NoiseLine) -> Image:
    """BM3D (Dabov et al. 2007) of the stabilised image, for noise of `sd` times the estimate."""
    from bm3d import bm3d as run

    return noise.restore(np.asarray(run(noise.stabilise(image), sigma_psd=sd), np.float64), image)


SMOOTHINGS = {
    "gaussian": gaussian,
    "median": median,
    "total variation": total_variation,
    "non-local means": nonlocal_means,
    "stabilised non-local means": stabilised_means,
    "bm3d": bm3d,
}
"""Kinds of smoothing by name."""

STRENGTHS: dict[str, tuple[float, ...]] = {
    "gaussian": (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0),
    "median": (3, 5, 7, 11),
    "total variation": (1.0, 2.0, 4.0, 8.0),
    "non-local means": (0.6, 0.8, 1.0, 1.4),
    "stabilised non-local means": (0.6, 0.8, 1.0, 1.4),
    "bm3d": (0.8, 1.0, 1.3, 1.8),
}
"""Strengths among which each kind is tuned."""


FIXED: dict[str, float] = {
    "gaussian": GAUSSIAN_SD,
    "median": MEDIAN_SIDE,
    "total variation": TV_WEIGHT,
    "non-local means": MEANS_CUT,
    "stabilised non-local means": STABLE_CUT,
    "bm3d": 1.0,
}
"""Strengths in ``divseg run``, which tunes none (and has no BM3D)."""


def have_bm3d() -> bool:
    """Tell whether the package bm3d is installed."""
    return importlib.util.find_spec("bm3d") is not None
