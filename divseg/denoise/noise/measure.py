"""Noise models measured from calibration frames, or bootstrapped from noisy and denoised images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.noise.base import PixelNoise
from divseg.denoise.noise.estimate import PhotonTransfer, photon_transfer
from divseg.denoise.noise.evidence import Evidence
from divseg.denoise.noise.fit import corrected, fit_histogram, fit_mixture, slices
from divseg.denoise.noise.gaussian import PoissonGaussian
from divseg.denoise.noise.limits import LimitFinder
from divseg.denoise.noise.scatter import MOST, Scatter, from_pair, from_smooth, from_stack, join
from divseg.denoise.noise.transfer import transfer_line
from divseg.errors import ConfigError, DivsegWarning, InputError
from divseg.io import as_images, check_plane

FITTED = ("poisson-gaussian", "mixture", "histogram")
"""Kinds of noise model that can be fitted."""

SCENES = ("auto", "smooth", "static")

CORRELATED = 0.06
"""Correlation of the noise of neighbours above which a model of independent pixels is wrong enough to say so."""

_ROUGH = 1.3
_DRIFT = 0.05
_LONG = 0.3


def measure(
    frames: Any,
    *,
    kind: str = "poisson-gaussian",
    scene: str = "auto",
    bins: int = 256,
    n_gaussian: int = 3,
    n_coeff: int = 2,
) -> PixelNoise:
    """Measure the noise of a camera from calibration frames, taken with the settings of the images.

    Parameters
    ----------
    frames : image, array (Y, X) or (N, Y, X), sequence of images, or path
        One frame without detail that spans dark to bright, for example of a defocused field diaphragm; or
        two or more frames of one scene that does not change.
    kind : {"poisson-gaussian", "mixture", "histogram"}
        Noise model to fit. The Poisson-Gaussian one has two numbers and needs the fewest pixels; the
        mixture follows skew and tails; the histogram follows anything, if there are enough frames.
    scene : {"auto", "smooth", "static"}
        ``"smooth"``: every frame without detail, of any exposure and size; ``"static"``: all frames of one
        scene; ``"auto"``: smooth for one frame, static for several.
    bins : int
        Bins of the histogram.
    n_gaussian, n_coeff : int
        Gaussians of the mixture, and coefficients of their polynomials in the signal.

    Returns
    -------
    PixelNoise
        For ``DivNoising.fit(images, noise=...)``; its ``save(path)`` writes a file, its ``evidence`` holds
        what it was fitted to.

    Raises
    ------
    InputError
        If the frames do not fit together, are too small, or hold no noise.
    ConfigError
        For an unknown `kind` or `scene`.

    Warns
    -----
    DivsegWarning
        If the noise of neighbouring pixels is correlated, the frame has detail, the frames drift, the signal
        has a single level, or pixels are at the detector's limits.
    """
    _check_choice("kind", kind, FITTED)
    _check_choice("scene", scene, SCENES)
    arrays = list(_arrays(frames))
    limits = LimitFinder()
    for array in arrays:
        limits.add(array)
    found = limits.find()
    notes: list[str] = []
    if scene == "smooth" or (scene == "auto" and len(arrays) == 1):
        pixels = join([from_smooth(array, found) for array in arrays], MOST)
        source = f"{_number(len(arrays), 'smooth frame')}"
    else:
        if len(arrays) < 2:
            raise InputError("a static scene needs two or more frames; give more, or scene='smooth'")
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            sizes = ", ".join(f"{y}x{x}" for y, x in sorted(shapes))
            raise InputError(f"the frames of a static scene have different sizes ({sizes}); give those of one size")
        pixels = from_stack(np.stack(arrays), found)
        source = f"{len(arrays)} frames of a static scene"
    if not len(pixels):
        raise InputError("the calibration frames are too small: about 64x64 pixels are the least")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DivsegWarning)
        line = transfer_line(pixels, found)
    notes += [str(w.message) for w in caught]
    if source.endswith("scene"):
        notes += _drift(arrays, line)
    else:
        notes += _roughness(arrays, pixels, line)
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
) -> PixelNoise:
    """Measure the noise from noisy images and denoised ones, of any denoiser.

    Parameters
    ----------
    noisy : images, arrays or path
        Noisy images of one camera setting.
    denoised : images, arrays, path, or a fitted DivNoising model
        As many, in the same order and of the same sizes and intensities. For a model, its MMSE estimates.
    kind, bins, n_gaussian, n_coeff
        As for :func:`measure`.
    samples : int
        Posterior samples averaged for the MMSE, where a model is given.

    Returns
    -------
    PixelNoise
        As for :func:`measure`.

    Raises
    ------
    InputError
        If the images do not match.

    Warns
    -----
    DivsegWarning
        As for :func:`measure`.
    """
    _check_choice("kind", kind, FITTED)
    images = as_images(noisy)
    model = denoised if hasattr(denoised, "mmse") else None
    others = [None] * len(images) if model is not None else as_images(denoised)
    if len(images) != len(others):
        raise InputError(f"{len(images)} noisy images but {len(others)} denoised ones: give one for each")
    limits = LimitFinder()
    for image in images:
        limits.add(_plane(image))
    found = limits.find()
    parts = []
    for image, other in zip(images, others, strict=True):
        x = _plane(image)
        s = model.mmse(x, n=samples) if model is not None else _plane(other)
        if x.shape != s.shape:
            raise InputError(
                f"{image.name}: the noisy image has {x.shape[0]}x{x.shape[1]} pixels, the denoised one "
                f"{s.shape[0]}x{s.shape[1]}"
            )
        part = from_pair(x, s, found)
        parts.append(join([part], MOST // len(images) + 1))
    pixels = join(parts, MOST)
    if not len(pixels):
        raise InputError("the images are too small to measure the noise")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DivsegWarning)
        line = transfer_line(pixels, found)
    notes = [str(w.message) for w in caught] + _distance(pixels, line)
    source = f"{_number(len(images), 'noisy image')} and their denoised versions"
    return _fit(corrected(pixels, line), line, kind, source, notes, bins, n_gaussian, n_coeff)


def _fit(
    pixels: Scatter,
    line: PhotonTransfer,
    kind: str,
    source: str,
    notes: list[str],
    bins: int,
    n_gaussian: int,
    n_coeff: int,
) -> PixelNoise:
    """Fit the model, attach the evidence, and say what was noticed."""
    x, y = pixels.correlation
    if max(abs(x), abs(y)) > max(CORRELATED, 5.0 / len(pixels) ** 0.5):
        notes.append(
            f"the noise of neighbouring pixels is correlated (x {x:.2f}, y {y:.2f}); the noise model assumes it is "
            "not, so denoising with it may keep parts of the noise as structure"
        )
    if line.a == 0.0:
        notes.append(
            f"the variance does not rise with the signal between {line.low:.4g} and {line.high:.4g}: the noise is "
            "taken as the same everywhere; to see shot noise give frames from dark to bright"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DivsegWarning)
        model: PixelNoise
        if kind == "mixture":
            model = fit_mixture(pixels, line, n_gaussian=n_gaussian, n_coeff=n_coeff)
        elif kind == "histogram":
            model = fit_histogram(pixels, line, bins=bins)
        else:
            model = PoissonGaussian(line.a, line.b, low=line.low, high=line.high, least=line.least)
    notes += [str(w.message) for w in caught]
    for note in notes:
        warnings.warn(note, DivsegWarning, stacklevel=3)
    model.evidence = Evidence(
        line.signal.tolist(),
        line.variance.tolist(),
        line.weight.tolist(),
        slices(pixels, line),
        source,
        pixels.correlation,
        notes,
    )
    return model.with_limits(line.floor, line.ceiling)


def _drift(arrays: list[NDArray[np.generic]], line: PhotonTransfer) -> list[str]:
    """Say so where the scene is not static: the frames' means differ by more than a part of the noise."""
    means = np.array([float(array.astype(np.float64).mean()) for array in arrays])
    typical = float(np.average(line.variance, weights=line.weight))
    change = float(means.var(ddof=1))
    if change <= _DRIFT * typical:
        return []
    return [
        f"the mean of the frames changes (sd {change**0.5:.4g}, the noise has sd {typical**0.5:.4g}): bleaching, a "
        "drifting lamp, or not one scene; the variance is too large by this"
    ]


def _roughness(arrays: list[NDArray[np.generic]], pixels: Scatter, line: PhotonTransfer) -> list[str]:
    """Say so where a frame has detail, which adds variance at the scale of the smoothing but not at a pixel's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivsegWarning)
            fine = photon_transfer(np.asarray(array, np.float32) for array in arrays)
    except InputError:
        return []
    inside = (fine.signal >= line.low) & (fine.signal <= line.high)
    if not inside.any():
        return []
    ratio = float(np.median((line.a * fine.signal[inside] + line.b) / fine.variance[inside]))
    x, y = (max(0.0, r) for r in pixels.correlation)
    # noise correlated between neighbours alone would explain this much
    ratio *= (1.0 - 4.0 / 3.0 * min(x, 0.6)) * (1.0 - 4.0 / 3.0 * min(y, 0.6))
    if ratio <= _ROUGH and min(x, y) < _LONG:
        return []
    return [
        "the calibration frame has detail, or noise that is correlated over many pixels: both add variance that is "
        "not pixel noise; defocus more, give several frames of one scene, or bootstrap from the images themselves"
    ]


def _distance(pixels: Scatter, line: PhotonTransfer) -> list[str]:
    """Say so where the denoised images are on another scale, or not denoised at all."""
    residual = (pixels.observed - pixels.signal).astype(np.float64)
    typical = float(np.average(line.variance, weights=line.weight))
    if abs(residual.mean()) > typical**0.5:
        return [
            f"noisy and denoised images differ by {residual.mean():.4g} on average, more than the noise's sd of "
            f"{typical**0.5:.4g}; are they of the same intensity scale?"
        ]
    return []


def _arrays(frames: Any) -> Iterator[NDArray[np.generic]]:
    for image in as_images(frames):
        yield _plane(image)


def _plane(image: Any) -> NDArray[np.generic]:
    return check_plane(image, "noise is measured in")


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"unknown {name} {value!r} of noise model: known are {', '.join(known)}")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
