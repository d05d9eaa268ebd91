"""Denoising without training, as baselines of the quality table: Gaussian smoothing, non-local means and BM3D.

Non-local means and BM3D are told the noise. Where its variance grows with the signal, they work on the image after the
generalised Anscombe transform, which makes the variance one, and their result is carried back by the closed-form exact
unbiased inverse.

BM3D is the reference code of its authors (PyPI package `bm3d`, free for non-commercial use only, so it is no
dependency); where it is not installed there is no row for it.

References
----------
Dabov et al., "Image denoising by sparse 3-D transform-domain collaborative filtering", IEEE Trans. Image Processing 16
(2007); Buades et al., "A non-local algorithm for image denoising", CVPR 2005; Maekitalo and Foi, "Optimal inversion of
the generalized Anscombe transformation for Poisson-Gaussian noise", IEEE Trans. Image Processing 22 (2013).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.restoration import denoise_nl_means

from benchmarks.sets import psnr

GAUSSIANS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
"""Standard deviations in pixels among which the truth chooses, image by image."""

Denoiser = Callable[[NDArray[np.float64], float], NDArray[np.float64]]
"""From an image and the standard deviation of its noise to the denoised image."""


def best_gaussian(noisy: NDArray[np.float32], clean: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return the Gaussian smoothing nearest to the clean image, and its standard deviation in pixels."""
    smoothed = {sd: ndi.gaussian_filter(noisy, sd) for sd in GAUSSIANS}
    best = max(smoothed, key=lambda sd: psnr(smoothed[sd], clean))
    return smoothed[best], best


def nl_means(image: NDArray[np.float64], sd: float) -> NDArray[np.float64]:
    """Non-local means with patches of 5x5 in a window of 21x21, and the decay that scikit-image advises."""
    return denoise_nl_means(image, patch_size=5, patch_distance=10, h=0.8 * sd, sigma=sd, fast_mode=True)


def bm3d(image: NDArray[np.float64], sd: float) -> NDArray[np.float64]:
    """BM3D with its authors' settings."""
    from bm3d import bm3d as reference

    return reference(image, sd)


def denoisers() -> dict[str, Denoiser]:
    """Return the denoisers that are installed, by name."""
    found: dict[str, Denoiser] = {"non-local means": nl_means}
    if importlib.util.find_spec("bm3d"):
        found["BM3D"] = bm3d
    return found


def denoise(noisy: NDArray[np.float32], denoiser: Denoiser, a: float, b: float) -> NDArray[np.float32]:
    """Denoise an image whose noise has the variance ``a * signal + b``.

    Parameters
    ----------
    noisy : array, shape (Y, X)
    denoiser : callable
        For noise of one standard deviation.
    a, b : float
        Slope of the variance and its value at signal 0, in intensity units; `a` is 0 for Gaussian noise.
    """
    image = noisy.astype(np.float64)
    if a <= 0:
        return denoiser(image, float(np.sqrt(b))).astype(np.float32)
    return anscombe_inverse(denoiser(anscombe(image, a, b), 1.0), a, b).astype(np.float32)


def anscombe(image: NDArray[np.float64], a: float, b: float) -> NDArray[np.float64]:
    """Generalised Anscombe transform for noise of variance ``a * signal + b``."""
    return 2.0 * np.sqrt(np.maximum((a * image + b) / a**2 + 0.375, 0.0))


def anscombe_inverse(transformed: NDArray[np.float64], a: float, b: float) -> NDArray[np.float64]:
    """Return the signals whose transformed noisy values have these means (closed form, Maekitalo and Foi)."""
    d = np.maximum(transformed, 2.0 * np.sqrt(0.375))
    root = np.sqrt(1.5)
    photons = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 0.125
    return (np.maximum(photons, 0.0) * a**2 - b) / a
