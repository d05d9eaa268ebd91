"""The noise of all channels of an image as one likelihood, and the baseline without a noise model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn

from divseg.denoise.noise import Gaussian, NoiseModel, PhotonTransfer, choose_noise
from divseg.errors import ConfigError

NoiseChoice = str | NoiseModel | Sequence[str | NoiseModel]
"""Name or model of the noise: one for all channels, or one for each."""


class NoNoiseModel(Gaussian, kind="none"):
    """Squared error in place of a noise model: an ordinary variational autoencoder, as a baseline.

    The decoder's likelihood is normal with the standard deviation of the training images, so the loss is
    half the squared error of normalized images plus the KL divergence. Samples show the latents' spread
    alone: the model is not informed about the amount of noise.
    """

    def describe(self) -> str:
        """One line for logs and reports."""
        return "no noise model (squared error): an ordinary variational autoencoder"


class ChannelNoise(NoiseModel, kind="channels"):
    """A noise model for each channel, independent of one another.

    Parameters
    ----------
    models : sequence of NoiseModel
        In the order of the channels, which are axis 1 of all tensors (B, C, (Z), Y, X).
    """

    def __init__(self, models: Sequence[NoiseModel]) -> None:
        super().__init__()
        self.models = list(models)
        self.held = nn.ModuleList(models)

    def _each(self, x: Tensor) -> list[Tensor]:
        if x.ndim < 2 or x.shape[1] != len(self.models):
            raise ConfigError(f"{len(self.models)} noise models do not fit images of shape {tuple(x.shape)}")
        return list(x.unbind(1))

    def log_prob(self, x: Tensor, s: Tensor) -> Tensor:
        """Log-density of the observed `x` given the clean `s`, element by element."""
        parts = zip(self.models, self._each(x), self._each(s), strict=True)
        return torch.stack([model.log_prob(a, b) for model, a, b in parts], dim=1)

    def variance(self, s: Tensor) -> Tensor:
        """Variance of the noise at the clean values `s`."""
        parts = zip(self.models, self._each(s), strict=True)
        return torch.stack([model.variance(a) for model, a in parts], dim=1)

    def sample(self, s: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw noisy values for the clean values `s`."""
        parts = zip(self.models, self._each(s), strict=True)
        return torch.stack([model.sample(a, generator) for model, a in parts], dim=1)

    def penalty(self) -> Tensor | float:
        """Mean of the channels' penalties: like the loss, per pixel of all channels."""
        return sum(model.penalty() for model in self.models) / len(self.models)

    def _values(self) -> dict[str, Any]:
        return {"channels": [model.to_dict() for model in self.models]}

    @classmethod
    def _from_values(cls, data: dict[str, Any]) -> Self:
        return cls([NoiseModel.from_dict(part) for part in data["channels"]])

    def describe(self) -> str:
        """One line for logs and reports."""
        return "; ".join(f"channel {c}: {model.describe()}" for c, model in enumerate(self.models))


def choose_likelihood(
    noise: NoiseChoice, transfer: Callable[[int], PhotonTransfer], std: Sequence[float]
) -> NoiseModel:
    """Return the noise model of all channels that the user asked for.

    Parameters
    ----------
    noise : str, NoiseModel, or sequence of them
        One for all channels (each gets its own), or one for each channel. ``"none"`` is the baseline without
        a noise model.
    transfer : callable
        Returns the photon-transfer estimate of a channel; called only if it is needed.
    std : sequence of float
        Standard deviation of each channel's pixels.

    Raises
    ------
    ConfigError
        If a ready noise model, or a list of another length, is given for several channels.
    """
    channels = len(std)
    if isinstance(noise, ChannelNoise):
        noise = noise.models
    if isinstance(noise, str):
        words: Sequence[str | NoiseModel] = [noise] * channels
    elif isinstance(noise, Sequence):
        words = noise
    else:
        words = [noise]
    if len(words) != channels:
        raise ConfigError(
            f"{len(words)} noise model(s) for images of {channels} channel(s): give one for each channel, or a name"
        )
    models = [_choose(word, c, transfer, std[c]) for c, word in enumerate(words)]
    return models[0] if channels == 1 else ChannelNoise(models)


def noise_of(noise: NoiseModel, channel: int) -> NoiseModel:
    """Return the noise model of one channel; a model for all images of one channel is that channel's."""
    return noise.models[channel] if isinstance(noise, ChannelNoise) else noise


def _choose(word: str | NoiseModel, channel: int, transfer: Callable[[int], PhotonTransfer], std: float) -> NoiseModel:
    if isinstance(word, str) and word.strip().lower() == NoNoiseModel.kind:
        return NoNoiseModel(std)
    return choose_noise(word, lambda: transfer(channel))
