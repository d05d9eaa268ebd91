"""Noise models as whole jobs: from calibration files to a noise model's file, and its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from divseg.errors import ConfigError
from divseg.io import read

if TYPE_CHECKING:
    from divseg.denoise.noise import PixelNoise
    from divseg.report.noise import NoiseView

_POINTS = 400
_SLICES = 4


def measure_noise(
    frames: Any,
    out: str | Path,
    *,
    axes: str | None = None,
    channel: int | None = None,
    **options: Any,
) -> PixelNoise:
    """Measure noise from files of calibration frames and write the noise model.

    Parameters
    ----------
    frames : path, glob or list of those
        Calibration frames.
    out : path
        The noise model's file, .json, .npz or .npy.
    axes, channel
        As for :func:`divseg.read`.
    **options
        As for :func:`divseg.noise.measure`.
    """
    from divseg.denoise import noise

    _check_out(out)
    model = noise.measure(read(frames, axes=axes, channel=channel), **options)
    model.save(out)
    return model


def bootstrap_noise(
    noisy: Any,
    denoised: Any,
    out: str | Path,
    *,
    axes: str | None = None,
    channel: int | None = None,
    device: str = "auto",
    **options: Any,
) -> PixelNoise:
    """Measure noise from folders of noisy and denoised images, or with a model folder, and write the model.

    Parameters
    ----------
    noisy, denoised : path, glob or list of those
        As many images of both, in the same order. `denoised` may be a model folder of ours: then the noisy
        images are denoised with it; or ``"n2v"``, ``"n2v,minutes=10"``: then CAREamics' Noise2Void is trained on the
        noisy images (``pip install "divseg[n2v]"``).
    out, axes, channel
        As for :func:`measure_noise`.
    device : str
        For a model folder or Noise2Void.
    **options
        As for :func:`divseg.noise.bootstrap`.
    """
    from divseg.denoise import DivNoising, noise
    from divseg.denoise.noise2void import denoise_n2v, parse_n2v

    _check_out(out)
    minutes = parse_n2v(denoised) if isinstance(denoised, str) else None
    images = read(noisy, axes=axes, channel=channel)
    other: Any
    if minutes is not None:
        other = denoise_n2v([image.data for image in images], minutes=minutes, device=device)
    elif isinstance(denoised, str | Path) and (Path(denoised) / "config.json").is_file():
        other = DivNoising.load(denoised, device=device)
    else:
        other = read(denoised)
    model = noise.bootstrap(images, other, **options)
    model.save(out)
    return model


def show_noise(path: str | Path, out: str | Path | None = None) -> tuple[PixelNoise, list[Path]]:
    """Read a noise model's file and draw its plots.

    Parameters
    ----------
    path : path
        .json, .npz or .npy.
    out : path, optional
        Folder for the plots; beside the file where absent.

    Returns
    -------
    model : PixelNoise
        The noise model.
    plots : list of Path
        PNG files: photon transfer and likelihood.
    """
    from divseg.denoise import noise
    from divseg.report.noise import write_noise_plots

    path = Path(path)
    model = noise.load(path)
    folder = path.parent if out is None else Path(out)
    return model, write_noise_plots(noise_view(model), folder / path.stem)


def noise_view(model: PixelNoise) -> NoiseView:
    """Return what the plots show: the model's figures beside those it was fitted to."""
    import torch

    from divseg.report.noise import LikelihoodSlice, NoiseView

    def variance(s: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.variance(torch.from_numpy(np.asarray(s, np.float32))).double().numpy()

    def density(x: np.ndarray, s: float) -> np.ndarray:
        grid = torch.from_numpy(x.astype(np.float32))
        with torch.no_grad():
            return model.log_prob(grid, torch.full_like(grid, s)).double().exp().numpy()

    evidence = model.evidence
    low, high = model.signal_range()
    level = np.array(evidence.signal if evidence else [], dtype=np.float64)
    measured = np.array(evidence.variance if evidence else [], dtype=np.float64)
    if level.size:
        low, high = min(low, float(level.min())), max(high, float(level.max()))
    even = low <= 0 or high < 10 * low
    signal = np.linspace(low, high, _POINTS) if even else np.geomspace(low, high, _POINTS)
    slices = []
    if evidence and evidence.slices:
        for part in evidence.slices:
            edges = np.array(part.edges)
            x = _between(np.linspace(edges[0], edges[-1], _POINTS), model)
            slices.append(LikelihoodSlice(part.signal, x, density(x, part.signal), edges, np.array(part.density)))
    else:
        for s in np.linspace(low, high, _SLICES):
            reach = 5.0 * float(np.sqrt(variance(np.array([s]))[0]))
            x = _between(np.linspace(s - reach, s + reach, _POINTS), model)
            slices.append(LikelihoodSlice(float(s), x, density(x, float(s))))
    return NoiseView(signal, variance(signal), level, measured, variance(level), slices)


def _between(x: np.ndarray, model: PixelNoise) -> np.ndarray:
    """Values within the detector's limits, where the likelihood is a density."""
    inside = np.ones(x.shape, bool)
    if model.floor is not None:
        inside &= x > model.floor
    if model.ceiling is not None:
        inside &= x < model.ceiling
    return x[inside]


def _check_out(out: str | Path) -> None:
    """Raise before the work is done where the file could not be written after it."""
    from divseg.denoise.noise.choose import FILES

    if Path(out).suffix.lower() not in FILES:
        raise ConfigError(f"{out}: a noise model is written as {', '.join(FILES)}; choose such a name")
