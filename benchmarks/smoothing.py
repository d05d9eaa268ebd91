"""Classical smoothing of noisy images: what any denoising network has to beat.

Strengths are in units of the noise, which the photon-transfer curve of the set's noisy images gives without any clean
image. The benchmark of segmentation tunes them on its tuning part together with the segmenter; that of quality uses
the settings that the authors advise, and the true noise if it was simulated (:func:`denoise`).

References
----------
Dabov et al., "Image denoising by sparse 3-D transform-domain collaborative filtering", IEEE Trans. Image Processing 16
(2007), whose reference code (PyPI package `bm3d`) is free for non-commercial use only and therefore optional; Buades et
al., "A non-local algorithm for image denoising", CVPR 2005; Maekitalo and Foi, "Optimal inversion of the generalized
Anscombe transformation for Poisson-Gaussian noise", IEEE Trans. Image Processing 22 (2013).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.denoise.smoothing import (
    GAUSSIAN_SIGMA,
    MEDIAN_SIZE,
    NL_MEANS_H,
    STABILISED_NL_MEANS_H,
    TV_WEIGHT,
    NoiseLine,
    restore,
    stabilise,
)

Image = NDArray[np.float32]


@dataclass(frozen=True)
class SetNoise:
    """Variance of the noise of a set of images as ``slope * signal + intercept``, in the images' units."""

    slope: float
    intercept: float
    lowest: float = -np.inf
    """Least signal for which the line was seen; below, the variance is that of this signal."""

    @classmethod
    def of(cls, images: Sequence[Image]) -> SetNoise:
        """Estimate the noise of noisy images of one kind."""
        from divseg.denoise.noise import photon_transfer

        estimate = photon_transfer(images)
        return cls(float(estimate.a), float(estimate.b), float(min(np.percentile(image, 1) for image in images)))

    def variance(self, signal: float) -> float:
        """Variance of the noise at a signal."""
        return NoiseLine(self.slope, self.intercept, self.lowest, np.inf).variance(signal)

    def over(self, image: Image) -> NoiseLine:
        """Return the line over the signals of an image."""
        low, high = (max(float(v), self.lowest) for v in np.percentile(image.astype(np.float64), [1, 99]))
        return NoiseLine(self.slope, self.intercept, low, high)


def gaussian(image: Image, sigma: float, noise: SetNoise) -> Image:
    """Gaussian of `sigma` pixels."""
    return ndi.gaussian_filter(image, sigma)


def median(image: Image, size: float, noise: SetNoise) -> Image:
    """Median over squares of `size` pixels a side."""
    return ndi.median_filter(image, int(size))


def total_variation(image: Image, weight: float, noise: SetNoise) -> Image:
    """Total variation (Chambolle 2004) of the stabilised image."""
    from skimage.restoration import denoise_tv_chambolle

    line = noise.over(image)
    return restore(denoise_tv_chambolle(stabilise(image, line), weight=weight, max_num_iter=100), image, line)


def nonlocal_means(image: Image, h: float, noise: SetNoise) -> Image:
    """Non-local means (Buades et al. 2005) with a cut-off of `h` standard deviations of the average noise."""
    from skimage.restoration import denoise_nl_means

    std = noise.variance(float(image.mean())) ** 0.5
    settings = {"patch_size": 5, "patch_distance": 6, "fast_mode": True}
    return denoise_nl_means(image, h=h * std, sigma=std, **settings).astype(np.float32)


def stabilised_means(image: Image, h: float, noise: SetNoise) -> Image:
    """Non-local means of the stabilised image: stands in for BM3D if its package is not installed."""
    from skimage.restoration import denoise_nl_means

    line, settings = noise.over(image), {"patch_size": 7, "patch_distance": 9, "fast_mode": True}
    return restore(denoise_nl_means(stabilise(image, line), h=h, sigma=1.0, **settings), image, line)


def bm3d(image: Image, factor: float, noise: SetNoise) -> Image:
    """BM3D (Dabov et al. 2007) of the stabilised image, for noise of `factor` times the estimate."""
    from bm3d import bm3d as run

    line = noise.over(image)
    return restore(np.asarray(run(stabilise(image, line), sigma_psd=factor), np.float64), image, line)


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
    "gaussian": GAUSSIAN_SIGMA,
    "median": MEDIAN_SIZE,
    "total variation": TV_WEIGHT,
    "non-local means": NL_MEANS_H,
    "stabilised non-local means": STABILISED_NL_MEANS_H,
    "bm3d": 1.0,
}
"""Strengths in ``divseg run``, which tunes none (and has no BM3D)."""


def have_bm3d() -> bool:
    """Tell whether the package bm3d is installed."""
    return importlib.util.find_spec("bm3d") is not None


Denoiser = Callable[[NDArray[np.float64], float], NDArray[np.float64]]
"""From an image and the standard deviation of its noise to the denoised image."""


def advised_means(image: NDArray[np.float64], std: float) -> NDArray[np.float64]:
    """Non-local means with patches of 5x5 in a window of 21x21, and the decay that scikit-image advises."""
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(image, patch_size=5, patch_distance=10, h=0.8 * std, sigma=std, fast_mode=True)


def advised_bm3d(image: NDArray[np.float64], std: float) -> NDArray[np.float64]:
    """BM3D with its authors' settings."""
    from bm3d import bm3d as run

    return run(image, std)


def denoisers() -> dict[str, Denoiser]:
    """Return the denoisers with advised settings that are installed, by name."""
    return {"non-local means": advised_means} | ({"BM3D": advised_bm3d} if have_bm3d() else {})


def denoise(image: Image, denoiser: Denoiser, noise: SetNoise) -> Image:
    """Denoise an image by a denoiser for noise of one standard deviation.

    If the variance grows with the signal, the denoiser works on the image after the generalised Anscombe transform,
    which makes the variance one; its result is carried back by the closed form of the exact unbiased inverse.
    """
    x = image.astype(np.float64)
    if noise.slope <= 0:
        return denoiser(x, float(np.sqrt(noise.intercept))).astype(np.float32)
    stable = denoiser(stabilise(x, NoiseLine(noise.slope, noise.intercept, -np.inf, np.inf)), 1.0)
    return unbiased_inverse(stable, noise.slope, noise.intercept).astype(np.float32)


def unbiased_inverse(stable: NDArray[np.float64], slope: float, intercept: float) -> NDArray[np.float64]:
    """Return the signals whose transformed noisy values have these means (Maekitalo and Foi, closed form)."""
    d = np.maximum(stable, 2.0 * np.sqrt(0.375))
    root = np.sqrt(1.5)
    photons = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 0.125
    return (np.maximum(photons, 0.0) * slope**2 - intercept) / slope
