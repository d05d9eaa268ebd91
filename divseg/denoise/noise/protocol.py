"""What every pixel-noise model offers."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Generator, Tensor, nn


@runtime_checkable
class NoiseModel(Protocol):
    """Distribution of a noisy pixel x around its clean value s, independently for every pixel.

    All values are in the images' own intensity units, all arithmetic in float32 log space. A noise model
    is a torch module, so that co-learned parameters train with the network and move with it.
    """

    kind: str
    """Name by which the model is written and chosen, e.g. ``"gaussian"``."""

    def log_prob(self, x: Tensor, s: Tensor) -> Tensor:
        """Log-density of the observed `x` given the clean `s`, element by element."""

    def variance(self, s: Tensor) -> Tensor:
        """Variance of the noise at the clean values `s`."""

    def sample(self, s: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw noisy values for the clean values `s`."""

    def penalty(self) -> Tensor | float:
        """Return what training adds to the loss per pixel: 0, unless co-learned parameters are anchored."""

    def to_dict(self) -> dict[str, Any]:
        """Kind and parameters as plain numbers; the inverse of :func:`divseg.noise.from_dict`."""

    def describe(self) -> str:
        """One line for logs and reports."""

    def as_module(self) -> nn.Module:
        """Return the torch module that holds the parameters (itself)."""
