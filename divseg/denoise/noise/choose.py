"""From the user's choice of noise, such as ``"gaussian,std=20"``, to a noise model."""

from __future__ import annotations

from collections.abc import Callable

from divseg.denoise.noise.base import NoiseModel
from divseg.denoise.noise.estimate import PhotonTransfer
from divseg.denoise.noise.files import load
from divseg.denoise.noise.gaussian import Gaussian, PoissonGaussian
from divseg.denoise.noise_file_names import SUFFIXES, noise_file
from divseg.errors import ConfigError
from divseg.specs import Number, Option, read_options, split_spec, unknown

KINDS: dict[str, dict[str, Option]] = {
    "learned": {},
    "estimated": {},
    "gaussian": {"std": Option(Number(), None, "standard deviation in intensity units; estimated if absent")},
    "poisson-gaussian": {
        "a": Option(Number(), None, "slope of the variance, variance = a * signal + b; estimated if absent"),
        "b": Option(Number(), None, "variance at signal 0; estimated if absent"),
    },
}
"""Noise models by name, with their options."""

MIN_ERROR = 0.03
"""Relative error of an estimated variance, however well its points fit the line."""

RESIDUAL_ERROR = 0.2
"""Relative error of the variance of the residuals while the network still misses structure."""


def parse_noise(spec: str) -> tuple[str, dict[str, float | None]]:
    """Split ``"gaussian,std=20"`` into kind and options, None for those absent; a file has the kind ``"file"``.

    Raises
    ------
    ConfigError
        If the kind or an option is unknown, or a value is not a number.
    ModelError
        If a file is missing or not a noise model.
    """
    path = noise_file(spec)
    if path is not None:
        load(path)
        return "file", {}
    kind, pairs = split_spec(spec.lower(), "noise", "gaussian,std=20")
    if kind not in KINDS:
        raise unknown("noise", kind, [*KINDS, f"or a file ({', '.join(SUFFIXES)})"])
    values = read_options(kind, pairs, KINDS[kind], what="noise")
    if kind == "poisson-gaussian" and (values["a"] is None) != (values["b"] is None):
        raise ConfigError(f"noise {spec!r} needs both a and b, or neither (then both are estimated)")
    return kind, values


def choose_noise(noise: str | NoiseModel, transfer: Callable[[], PhotonTransfer]) -> NoiseModel:
    """Return the noise model of the user's choice.

    Parameters
    ----------
    noise : str or NoiseModel
        ``"learned"`` (Poisson-Gaussian, initialised with the photon-transfer estimate, which is also its prior, and
        co-learned with the network), ``"estimated"`` (the estimate, fixed), ``"gaussian"`` with or without ``std=``,
        ``"poisson-gaussian"`` with or without ``a=`` and ``b=``; the path of a noise model file (.json, .npz, .npy);
        or a noise model.
    transfer : callable
        Returns the photon-transfer estimate of the training images; called only if it is needed.

    Returns
    -------
    NoiseModel
        Ready for training.

    Raises
    ------
    ConfigError, ModelError
        As for :func:`parse_noise`.
    """
    if isinstance(noise, NoiseModel):
        return noise
    if not isinstance(noise, str):
        raise ConfigError(f"noise must be a name such as 'learned' or a noise model, got {type(noise).__name__}")
    path = noise_file(noise)
    if path is not None:
        return load(path)
    kind, values = parse_noise(noise)
    if kind == "gaussian" and values["std"] is not None:
        return Gaussian(values["std"])
    estimate = transfer()
    if kind == "gaussian":
        return Gaussian(estimate.std).with_limits(estimate.floor, estimate.ceiling)
    a, b = values.get("a"), values.get("b")
    if a is None or b is None:
        a, b = estimate.a, estimate.b
    model = PoissonGaussian(a, b, low=estimate.low, high=estimate.high, trainable=kind == "learned")
    if kind == "learned":
        model.with_prior(prior_strength(estimate))
    return model.with_limits(estimate.floor, estimate.ceiling)


def prior_strength(transfer: PhotonTransfer) -> float:
    """Return the weight of the estimate as a prior of co-learned noise, relative to all pixels together.

    Two measurements of the same variance are combined: that of the estimate, with the relative deviation of its
    points from the line as its error (at least MIN_ERROR), and that of the residuals in training, which the
    network's own errors make wrong by about RESIDUAL_ERROR. The weights are the inverse squares of the errors: a
    good estimate decides, and one from images full of texture leaves the noise to training.
    """
    return RESIDUAL_ERROR**2 / (MIN_ERROR**2 + transfer.deviation**2)
