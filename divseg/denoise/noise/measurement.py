"""Noise models measured from calibration frames, or bootstrapped from noisy and denoised images."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.noise.base import NoiseModel
from divseg.denoise.noise.estimate import PhotonTransfer, photon_transfer
from divseg.denoise.noise.fit import corrected, fit_histogram, fit_mixture, slices
from divseg.denoise.noise.fit_data import FitData
from divseg.denoise.noise.gaussian import PoissonGaussian
from divseg.denoise.noise.histogram import Histogram
from divseg.denoise.noise.limits import LimitFinder
from divseg.denoise.noise.pixel_pairs import (
    MAX_PIXELS,
    PixelPairs,
    fit_photon_transfer,
    from_pair,
    from_smooth,
    from_stack,
    join,
)
from divseg.errors import DivsegWarning, InputError
from divseg.io import as_images, check_plane
from divseg.specs import unknown

FITTED = ("poisson-gaussian", "mixture", "histogram")
"""Kinds of noise model that can be fitted."""

SCENES = ("auto", "smooth", "static")

CORRELATED = 0.06
"""Correlation of the noise of neighbouring pixels above which users are warned that pixels are not independent."""

_MAX_ROUGHNESS = 1.3  # variance around the smooth signal, relative to that of the second difference
_MAX_DRIFT = 0.05  # variance of the frames' means, relative to that of the noise
_LONG_RANGE = 0.3  # correlation of neighbours that noise correlated between neighbours alone does not have


def measure(
    frames: Any,
    *,
    kind: str = "poisson-gaussian",
    scene: str = "auto",
    bins: int = 256,
    n_gaussian: int = 3,
    n_coeff: int = 2,
) -> NoiseModel:
    """Measure the noise of a camera from calibration frames, taken with the settings of the images.

    Parameters
    ----------
    frames : image, array (Y, X) or (N, Y, X), sequence of images, or path
        One frame without detail that spans dark to bright, for example of a defocused field diaphragm; or
        two or more frames of one scene that does not change.
    kind : {"poisson-gaussian", "mixture", "histogram"}
        Noise model to fit. The Poisson-Gaussian one has two parameters and needs the fewest pixels; the mixture can
        have skew and heavy tails; the histogram can have any shape, given enough frames.
    scene : {"auto", "smooth", "static"}
        ``"smooth"``: every frame is without detail, of any exposure and size; ``"static"``: all frames show the same
        scene; ``"auto"``: smooth for one frame, static for several.
    bins : int
        Number of bins of the histogram.
    n_gaussian, n_coeff : int
        Number of Gaussians of the mixture, and of coefficients of their polynomials in the signal.

    Returns
    -------
    NoiseModel
        For ``DivNoising.fit(images, noise=...)``. Its ``save(path)`` writes a file, and its ``fit_data`` is the data
        that it was fitted to, with the warnings.

    Raises
    ------
    InputError
        If the frames have different sizes, are too small, or have no noise.
    ConfigError
        If `kind` or `scene` is unknown.

    Warns
    -----
    DivsegWarning
        If the noise of neighbouring pixels is correlated, the frame has detail, the frames drift, the signal has a
        single level, the bins of a histogram are too wide, or pixels are at the detector's limits.

    Examples
    --------
    >>> import numpy as np
    >>> from divseg import noise
    >>> signal = 100 + np.add.outer(np.arange(200.0), np.arange(300.0))
    >>> frame = np.random.default_rng(0).normal(signal, np.sqrt(2 * signal))
    >>> model = noise.measure(frame)
    >>> round(model.a, 1)
    2.0
    """
    if scene not in SCENES:
        raise unknown("scene of calibration frames", scene, SCENES)
    _check_kind(kind)
    arrays = [_plane(image) for image in as_images(frames)]
    limits = _limits(arrays)
    smooth = scene == "smooth" or (scene == "auto" and len(arrays) == 1)
    if smooth:
        pixels = join([from_smooth(array, limits) for array in arrays], MAX_PIXELS)
        source = f"{_number(len(arrays), 'smooth frame')}"
    else:
        if len(arrays) < 2:
            raise InputError("a static scene needs two or more frames; give more, or scene='smooth'")
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            sizes = ", ".join(f"{y}x{x}" for y, x in sorted(shapes))
            raise InputError(f"the frames of a static scene have different sizes ({sizes}); give frames of one size")
        pixels = from_stack(np.stack(arrays), limits)
        source = f"{len(arrays)} frames of a static scene"
    if not len(pixels):
        raise InputError("the calibration frames are too small: they need about 64x64 pixels")
    line = fit_photon_transfer(pixels, limits)
    notes = [*line.notes, *(_roughness(arrays, pixels, line) if smooth else _drift(arrays, line))]
    return _fit(pixels, line, kind, source, notes, bins, n_gaussian, n_coeff)


def bootstrap(
    noisy: Any,
    denoised: Any,
    *,
    kind: str = "poisson-gaussian",
    bins: int = 256,
    n_gaussian: int = 3,
    n_coeff: int = 2,
    samples: int = 8,
) -> NoiseModel:
    """Measure the noise from noisy images and their denoised versions, by any denoiser.

    Parameters
    ----------
    noisy : images, arrays or path
        Noisy images taken with the same camera settings.
    denoised : images, arrays, path, or a fitted DivNoising model
        One for each noisy image, in the same order, of the same size and intensity scale. A model denoises the noisy
        images (MMSE estimates).
    kind, bins, n_gaussian, n_coeff
        As for :func:`measure`.
    samples : int
        Number of posterior samples averaged for the MMSE estimate of a model.

    Returns
    -------
    NoiseModel
        As for :func:`measure`.

    Raises
    ------
    InputError
        If the images do not match.
    ConfigError
        If `kind` is unknown.

    Warns
    -----
    DivsegWarning
        As for :func:`measure`, or if the denoised images have a different intensity scale.
    """
    _check_kind(kind)
    images = as_images(noisy)
    model = denoised if hasattr(denoised, "mmse") else None
    others = [None] * len(images) if model is not None else as_images(denoised)
    if len(images) != len(others):
        raise InputError(f"{len(images)} noisy images but {len(others)} denoised ones: give one for each")
    limits = _limits(_plane(image) for image in images)
    parts = []
    for image, other in zip(images, others, strict=True):
        x = _plane(image)
        s = model.mmse(x, n=samples) if model is not None else _plane(other)
        if x.shape != s.shape:
            raise InputError(
                f"{image.name}: the noisy image has {x.shape[0]}x{x.shape[1]} pixels, the denoised one "
                f"{s.shape[0]}x{s.shape[1]}"
            )
        parts.append(join([from_pair(x, s, limits)], MAX_PIXELS // len(images) + 1))
    pixels = join(parts, MAX_PIXELS)
    if not len(pixels):
        raise InputError("the images are too small to measure the noise")
    line = fit_photon_transfer(pixels, limits)
    notes = [*line.notes, *_scale_difference(pixels, line)]
    source = f"{_number(len(images), 'noisy image')} and their denoised versions"
    return _fit(corrected(pixels, line), line, kind, source, notes, bins, n_gaussian, n_coeff)


def _fit(
    pixels: PixelPairs,
    line: PhotonTransfer,
    kind: str,
    source: str,
    notes: list[str],
    bins: int,
    n_gaussian: int,
    n_coeff: int,
) -> NoiseModel:
    """Fit the model, attach the data, and warn of what may be wrong."""
    x, y = pixels.correlation
    if max(abs(x), abs(y)) > max(CORRELATED, 5.0 / len(pixels) ** 0.5):
        notes.append(
            f"the noise of neighbouring pixels is correlated (x {x:.2f}, y {y:.2f}); the noise model assumes "
            "independent pixels, so denoising with it may keep parts of the noise as structure"
        )
    if line.a == 0.0:
        notes.append(
            f"the variance does not rise with the signal between {line.low:.4g} and {line.high:.4g}: the noise "
            "model is the same everywhere; to measure shot noise give frames from dark to bright"
        )
    model: NoiseModel
    if kind == "mixture":
        model = fit_mixture(pixels, line, n_gaussian=n_gaussian, n_coeff=n_coeff)
    elif kind == "histogram":
        model = fit_histogram(pixels, line, bins=bins)
        notes += _wide_bins(model, line)
    else:
        model = PoissonGaussian(line.a, line.b, low=line.low, high=line.high, min_variance=line.min_variance)
    for note in notes:
        warnings.warn(note, DivsegWarning, stacklevel=3)
    curve = (line.signal.tolist(), line.variance.tolist(), line.weight.tolist())
    model.fit_data = FitData(*curve, slices(pixels, line), source, pixels.correlation, notes)
    return model.with_limits(line.floor, line.ceiling)


def _wide_bins(model: Histogram, line: PhotonTransfer) -> list[str]:
    """Return a note if a bin is wider than the noise of dark pixels."""
    std = line.lower_bound**0.5
    if model.width <= std:
        return []
    return [
        f"the bins of the noise histogram, {model.width:.4g} wide, are wider than the noise of dark pixels (std "
        f"{std:.4g}); take more bins, or kind 'mixture'"
    ]


def _drift(arrays: list[NDArray[np.generic]], line: PhotonTransfer) -> list[str]:
    """Return a note if the scene is not static: the means of the frames differ by more than a part of the noise."""
    means = np.array([float(array.astype(np.float64).mean()) for array in arrays])
    typical = float(np.average(line.variance, weights=line.weight))
    change = float(means.var(ddof=1))
    if change <= _MAX_DRIFT * typical:
        return []
    return [
        f"the mean of the frames changes (std {change**0.5:.4g}, the noise has std {typical**0.5:.4g}): bleaching, a "
        "drifting lamp, or different scenes; this increases the measured variance"
    ]


def _roughness(arrays: list[NDArray[np.generic]], pixels: PixelPairs, line: PhotonTransfer) -> list[str]:
    """Return a note if a frame has detail, which adds variance at the scale of the smoothing but not of a pixel."""
    try:
        fine = photon_transfer(np.asarray(array, np.float32) for array in arrays)
    except InputError:
        return []
    inside = (fine.signal >= line.low) & (fine.signal <= line.high)
    if not inside.any():
        return []
    ratio = float(np.median((line.a * fine.signal[inside] + line.b) / fine.variance[inside]))
    x, y = (max(0.0, r) for r in pixels.correlation)
    # this much is explained by noise that is correlated between neighbours alone
    ratio *= (1.0 - 4.0 / 3.0 * min(x, 0.6)) * (1.0 - 4.0 / 3.0 * min(y, 0.6))
    if ratio <= _MAX_ROUGHNESS and min(x, y) < _LONG_RANGE:
        return []
    return [
        "the calibration frame has detail, or noise that is correlated over many pixels: both add variance that is "
        "not pixel noise; defocus more, give several frames of one scene, or bootstrap from the images themselves"
    ]


def _scale_difference(pixels: PixelPairs, line: PhotonTransfer) -> list[str]:
    """Return a note if the denoised images have another intensity scale."""
    residual = (pixels.observed - pixels.signal).astype(np.float64)
    typical = float(np.average(line.variance, weights=line.weight))
    if abs(residual.mean()) > typical**0.5:
        return [
            f"noisy and denoised images differ by {residual.mean():.4g} on average, more than the noise's std of "
            f"{typical**0.5:.4g}; do they have the same intensity scale?"
        ]
    return []


def _limits(arrays: Iterable[NDArray[np.generic]]) -> tuple[float | None, float | None]:
    finder = LimitFinder()
    for array in arrays:
        finder.add(array)
    return finder.find()


def _plane(image: Any) -> NDArray[np.generic]:
    return check_plane(image, "noise is measured in")


def _check_kind(kind: str) -> None:
    if kind not in FITTED:
        raise unknown("kind of noise model", kind, FITTED)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
