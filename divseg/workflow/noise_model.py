"""Noise models from files of images to files: measure, bootstrap, and show with plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from divseg.errors import ConfigError
from divseg.io import read

if TYPE_CHECKING:
    from divseg.denoise.noise import NoiseModel
    from divseg.report.noise import NoiseView

_POINTS = 400
_SLICES = 4


def measure_noise(
    frames: Any,
    out: str | Path,
    *,
    axes: str | None = None,
    channel: str | None = None,
    depth: str | None = None,
    **options: Any,
) -> NoiseModel:
    """Measure noise from files of calibration frames and write the noise model.

    Parameters
    ----------
    frames : path, glob or list of those
        Calibration frames.
    out : path
        File to write: .json, .npz or .npy.
    axes, channel, depth
        As for :func:`divseg.read`.
    **options
        As for :func:`divseg.noise.measure`.

    Returns
    -------
    NoiseModel
        The model that was written.
    """
    from divseg.denoise import noise

    _check_out(out)
    model = noise.measure(read(frames, axes=axes, channel=channel, depth=depth), **options)
    model.save(out)
    return model


def bootstrap_noise(
    noisy: Any,
    denoised: Any,
    out: str | Path,
    *,
    axes: str | None = None,
    channel: str | None = None,
    depth: str | None = None,
    device: str = "auto",
    **options: Any,
) -> NoiseModel:
    """Measure noise from files of noisy and denoised images and write the noise model.

    Parameters
    ----------
    noisy, denoised : path, glob or list of those
        One denoised image for each noisy one, in the same order. `denoised` may instead be the folder of a DivNoising
        model, which then denoises the noisy images, or ``"n2v"`` or ``"n2v,minutes=10"``: Noise2Void by CAREamics is
        trained on them (``pip install "divseg[n2v]"``).
    out, axes, channel, depth
        As for :func:`measure_noise`.
    device : str
        Device for the DivNoising model or Noise2Void.
    **options
        As for :func:`divseg.noise.bootstrap`.

    Returns
    -------
    NoiseModel
        The model that was written.
    """
    from divseg.denoise import DivNoising, noise
    from divseg.denoise.noise2void import denoise_n2v, parse_n2v

    _check_out(out)
    minutes = parse_n2v(denoised) if isinstance(denoised, str) else None
    images = read(noisy, axes=axes, channel=channel, depth=depth)
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


def show_noise(path: str | Path, out: str | Path | None = None) -> tuple[NoiseModel, list[Path]]:
    """Read a noise model's file and draw its plots.

    Parameters
    ----------
    path : path
        .json, .npz or .npy.
    out : path, optional
        Folder for the plots; by default that of the file.

    Returns
    -------
    model : NoiseModel
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


def noise_view(model: NoiseModel) -> NoiseView:
    """Return the values for the plots: the model's and those it was fitted to."""
    import torch

    from divseg.report.noise import LikelihoodSlice, NoiseView

    def variance(s: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.variance(torch.from_numpy(np.asarray(s, np.float32))).double().numpy()

    def density(x: np.ndarray, s: float) -> np.ndarray:
        grid = torch.from_numpy(x.astype(np.float32))
        with torch.no_grad():
            return model.log_prob(grid, torch.full_like(grid, s)).double().exp().numpy()

    data = model.fit_data
    low, high = model.signal_range()
    level = np.array(data.signal if data else [], dtype=np.float64)
    measured = np.array(data.variance if data else [], dtype=np.float64)
    if level.size:
        low, high = min(low, float(level.min())), max(high, float(level.max()))
    linear = low <= 0 or high < 10 * low
    signal = np.linspace(low, high, _POINTS) if linear else np.geomspace(low, high, _POINTS)
    slices = []
    if data and data.slices:
        for part in data.slices:
            edges = np.array(part.edges)
            x = _between(np.linspace(edges[0], edges[-1], _POINTS), model)
            slices.append(LikelihoodSlice(part.signal, x, density(x, part.signal), edges, np.array(part.density)))
    else:
        for s in np.linspace(low, high, _SLICES):
            reach = 5.0 * float(np.sqrt(variance(np.array([s]))[0]))
            x = _between(np.linspace(s - reach, s + reach, _POINTS), model)
            slices.append(LikelihoodSlice(float(s), x, density(x, float(s))))
    return NoiseView(signal, variance(signal), level, measured, variance(level), slices)


def _between(x: np.ndarray, model: NoiseModel) -> np.ndarray:
    """Return the values within the detector's limits, where the likelihood is a density."""
    inside = np.ones(x.shape, bool)
    if model.floor is not None:
        inside &= x > model.floor
    if model.ceiling is not None:
        inside &= x < model.ceiling
    return x[inside]


def _check_out(out: str | Path) -> None:
    """Raise ConfigError for a name that no noise model can be written to, before the work begins."""
    from divseg.denoise.noise_file_names import SUFFIXES

    if Path(out).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{out}: a noise model is written as {', '.join(SUFFIXES)}; choose such a name")
