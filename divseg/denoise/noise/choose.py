"""From the user's word for the noise to a noise model."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from divseg.denoise.noise.estimate import PhotonTransfer
from divseg.denoise.noise.gaussian import Gaussian, PoissonGaussian
from divseg.denoise.noise.protocol import NoiseModel
from divseg.errors import ConfigError, ModelError

KINDS = {
    "learned": (),
    "estimated": (),
    "gaussian": ("sd",),
    "poisson-gaussian": ("a", "b"),
}
"""Noise models by name, with the numbers that may follow the name."""


def parse_noise(spec: str) -> tuple[str, dict[str, float]]:
    """Split ``"gaussian,sd=20"`` into a kind and its numbers.

    Raises
    ------
    ConfigError
        Unknown kind or option, or a value that is no number.
    """
    kind, *parts = (part.strip() for part in spec.strip().lower().split(","))
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown noise {kind!r}: known are {', '.join(KINDS)}{hint}")
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
        ``"learned"`` (Poisson-Gaussian, started from the photon-transfer estimate and co-learned with
        the network), ``"estimated"`` (the estimate, held fixed), ``"gaussian"`` with or without
        ``sd=``, ``"poisson-gaussian"`` with or without ``a=`` and ``b=``; or a ready noise model.
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
    kind, values = parse_noise(noise)
    if kind == "gaussian":
        return Gaussian(values["sd"] if values else transfer().sd)
    found = transfer()
    a, b = (values["a"], values["b"]) if values else (found.a, found.b)
    return PoissonGaussian(a, b, low=found.low, high=found.high, trainable=kind == "learned")


def from_dict(data: dict[str, Any]) -> NoiseModel:
    """Rebuild a noise model from :meth:`NoiseModel.to_dict`.

    Raises
    ------
    ModelError
        If the kind is unknown or a number is missing.
    """
    try:
        kind = data["kind"]
        if kind == Gaussian.kind:
            return Gaussian(data["sd"])
        if kind == PoissonGaussian.kind:
            model = PoissonGaussian(
                data["a"],
                data["b"],
                low=data["low"],
                high=data["high"],
                trainable=data.get("trainable", False),
            )
            # the exact stored values: a and b have been through a subtraction
            model.log_ends.data.copy_(model.log_ends.new_tensor(data["log_ends"]))
            return model
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"damaged noise model {data!r}: {error}") from error
    raise ModelError(f"unknown noise model kind {kind!r}: this version knows gaussian and poisson-gaussian")
