"""From the user's word for the noise to a noise model."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from divseg.denoise.noise.base import PixelNoise
from divseg.denoise.noise.estimate import PhotonTransfer
from divseg.denoise.noise.gaussian import Gaussian, PoissonGaussian
from divseg.denoise.noise.histogram import Histogram
from divseg.denoise.noise.mixture import GaussianMixture
from divseg.denoise.noise.protocol import NoiseModel
from divseg.errors import ConfigError, ModelError

KINDS = {
    "learned": (),
    "estimated": (),
    "gaussian": ("sd",),
    "poisson-gaussian": ("a", "b"),
}
"""Noise models by name, with the numbers that may follow the name."""

FILES = (".json", ".npz", ".npy")
"""Endings by which a word for the noise is known as the file of a noise model."""

SURE = 0.03
"""Relative error of an estimated variance at the least."""

MISLED = 0.2
"""Relative error of the variance of the residuals while the network still misses structure."""


def parse_noise(spec: str) -> tuple[str, dict[str, float]]:
    """Split ``"gaussian,sd=20"`` into a kind and its numbers; the kind of a noise model's file is ``"file"``.

    Raises
    ------
    ConfigError
        Unknown kind or option, or a value that is no number.
    ModelError
        A file that is missing or holds no noise model.
    """
    path = noise_file(spec)
    if path is not None:
        _load(path)
        return "file", {}
    kind, *parts = (part.strip() for part in spec.strip().lower().split(","))
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(KINDS)
        raise ConfigError(f"unknown noise {kind!r}: known are {known}, and files (.json, .npz, .npy){hint}")
    values: dict[str, float] = {}
    for part in parts:
        name, _, text = (p.strip() for p in part.partition("="))
        if name not in KINDS[kind]:
            known = ", ".join(KINDS[kind]) or "none"
            raise ConfigError(f"noise {kind!r} has no option {name!r} (options: {known})")
        try:
            values[name] = float(text)
        except ValueError:
            raise ConfigError(f"noise option {name}={text!r} is not a number") from None
    if kind == "poisson-gaussian" and len(values) == 1:
        raise ConfigError("poisson-gaussian noise needs both a and b, or neither (then both are estimated)")
    return kind, values


def choose_noise(noise: str | NoiseModel, transfer: Callable[[], PhotonTransfer]) -> NoiseModel:
    """Return the noise model that the user's word stands for.

    Parameters
    ----------
    noise : str or NoiseModel
        ``"learned"`` (Poisson-Gaussian, started from the photon-transfer estimate, tied to it and co-learned
        with the network), ``"estimated"`` (the estimate, held fixed), ``"gaussian"`` with or without
        ``sd=``, ``"poisson-gaussian"`` with or without ``a=`` and ``b=``; the path of a noise model's file
        (.json, .npz, .npy); or a ready noise model.
    transfer : callable
        Gives the photon-transfer estimate of the training images; called only where it is needed.

    Returns
    -------
    NoiseModel
        Ready to train with or to hold fixed.
    """
    if not isinstance(noise, str):
        if isinstance(noise, NoiseModel):
            return noise
        raise ConfigError(f"noise must be a name such as 'learned' or a noise model, got {type(noise).__name__}")
    path = noise_file(noise)
    if path is not None:
        return _load(path)
    kind, values = parse_noise(noise)
    if kind == "gaussian" and values:
        return Gaussian(values["sd"])
    found = transfer()
    if kind == "gaussian":
        return Gaussian(found.sd).with_limits(found.floor, found.ceiling)
    a, b = (values["a"], values["b"]) if values else (found.a, found.b)
    model = PoissonGaussian(a, b, low=found.low, high=found.high, trainable=kind == "learned")
    if kind == "learned":
        model.anchored(anchor_strength(found))
    return model.with_limits(found.floor, found.ceiling)


def _load(path: Path) -> NoiseModel:
    from divseg.denoise.noise.files import load  # it knows this module

    return load(path)


def anchor_strength(transfer: PhotonTransfer) -> float:
    """Return how strongly co-learned noise is tied to the estimate it starts from.

    Two figures for the same variance are combined: that of the estimate, whose relative error is the scatter
    of its points around the line (and at least SURE), and that of the residuals in training, which the
    network's own errors make wrong by about MISLED. The weights go with the inverse squares. A clean estimate
    holds the noise; one from images full of texture leaves it to training.
    """
    return MISLED**2 / (SURE**2 + transfer.scatter**2)


def noise_file(spec: str) -> Path | None:
    """Return the file that a word for the noise names, None where it names none."""
    path = Path(spec.strip())
    return path if path.suffix.lower() in FILES else None


def noise_key(spec: str) -> str:
    """Return what training depends on: the word itself, and the content of the file that it names."""
    path = noise_file(spec)
    if path is None:
        return spec
    try:
        return f"{spec} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        raise ModelError(f"cannot read the noise model {path}: {error.strerror}") from error


def from_dict(data: dict[str, Any]) -> NoiseModel:
    """Rebuild a noise model from :meth:`NoiseModel.to_dict`.

    Raises
    ------
    ModelError
        If the kind is unknown or a number is missing.
    """
    try:
        kind = data["kind"]
        model: PixelNoise
        if kind == Gaussian.kind:
            model = Gaussian(data["sd"])
        elif kind == PoissonGaussian.kind:
            model = PoissonGaussian.from_dict(data)
        elif kind == GaussianMixture.kind:
            model = GaussianMixture.from_dict(data)
        elif kind == Histogram.kind:
            model = Histogram.from_dict(data)
        else:
            known = ", ".join(m.kind for m in (Gaussian, PoissonGaussian, GaussianMixture, Histogram))
            raise ModelError(f"unknown noise model kind {kind!r}: this version knows {known}")
        return model.with_limits(data.get("floor"), data.get("ceiling"))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"damaged noise model {str(data)[:200]}: {error}") from error
