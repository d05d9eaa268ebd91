"""What all noise models share: limits of the detector, penalty, evidence, and the file they are saved to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Generator, Tensor, nn

from divseg.errors import ConfigError

if TYPE_CHECKING:
    from divseg.denoise.noise.evidence import Evidence

_ROUNDING = 2e-6
"""Pixels may have been normalised and back in float32: this close to a limit, relative to it, is at the limit."""


class PixelNoise(nn.Module):
    """Base of the noise models: a density for every pixel, censored at the detector's limits.

    A pixel at the ceiling says only that the noisy value would have been at least that: its likelihood is
    the probability of the upper tail, and of the lower tail at the floor (Tobin, "Estimation of
    relationships for limited dependent variables", Econometrica 26 (1958)). Without limits the density
    is used everywhere.

    Attributes
    ----------
    floor, ceiling : float or None
        Smallest and largest value the detector can write, where images reach it.
    evidence : Evidence or None
        What the model was fitted to, for plots; None for a model that was stated.
    """

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.floor: float | None = None
        self.ceiling: float | None = None
        self.evidence: Evidence | None = None

    def with_limits(self, floor: float | None, ceiling: float | None) -> Self:
        """Set the detector's limits and return the model.

        Raises
        ------
        ConfigError
            If a limit is no finite number, or the floor is not below the ceiling.
        """
        for name, value in (("floor", floor), ("ceiling", ceiling)):
            if value is not None and not math.isfinite(value):
                raise ConfigError(f"noise {name}={value!r} must be a finite number or absent")
        if floor is not None and ceiling is not None and not floor < ceiling:
            raise ConfigError(f"noise floor={floor:g} must lie below ceiling={ceiling:g}")
        self.floor = None if floor is None else float(floor)
        self.ceiling = None if ceiling is None else float(ceiling)
        return self

    def log_prob(self, x: Tensor, s: Tensor) -> Tensor:
        """Log-density of the observed `x` given the clean `s`, in float32.

        At a limit of the detector it is the log-probability of the tail beyond.
        """
        with torch.autocast(x.device.type, enabled=False):
            x, s = x.float(), s.float()
            out = self._log_density(x, s)
            if self.ceiling is not None:
                beyond = x >= self.ceiling - _ROUNDING * abs(self.ceiling)
                out = torch.where(beyond, self._log_tail(self.ceiling, s, upper=True), out)
            if self.floor is not None:
                beyond = x <= self.floor + _ROUNDING * abs(self.floor)
                out = torch.where(beyond, self._log_tail(self.floor, s, upper=False), out)
        return out

    def sample(self, s: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw noisy values for the clean values `s`, cut off at the detector's limits."""
        x = self._draw(s.float(), generator)
        if self.floor is not None or self.ceiling is not None:
            x = x.clamp(self.floor, self.ceiling)
        return x

    def variance(self, s: Tensor) -> Tensor:
        """Variance of the noise at the clean values `s`, before the detector's limits cut it."""
        raise NotImplementedError  # abstract

    def to_dict(self) -> dict[str, Any]:
        """Kind and parameters as plain numbers."""
        raise NotImplementedError  # abstract

    def describe(self) -> str:
        """One line for logs and reports."""
        raise NotImplementedError  # abstract

    def signal_range(self) -> tuple[float, float]:
        """Return the range of clean signals the model is meant for."""
        raise NotImplementedError  # abstract

    def penalty(self) -> Tensor | float:
        """Return what training adds to the loss per pixel: 0, unless co-learned parameters are anchored."""
        return 0.0

    def as_module(self) -> nn.Module:
        """Return the model itself, which is a torch module."""
        return self

    def save(self, path: str | Path) -> Path:
        """Write the model to a file; see :func:`divseg.denoise.noise.files.save`."""
        from divseg.denoise.noise.files import save

        return save(self, path)

    def _limits(self) -> dict[str, Any]:
        """Return the limits that are set, for :meth:`to_dict`."""
        limits = {"floor": self.floor, "ceiling": self.ceiling}
        return {name: value for name, value in limits.items() if value is not None}

    def _limit_words(self) -> str:
        """Return a remark on the limits for :meth:`describe`."""
        words = []
        if self.floor is not None:
            words.append(f"floor {self.floor:g}")
        if self.ceiling is not None:
            words.append(f"ceiling {self.ceiling:g}")
        return f"; pixels at the detector's {' and '.join(words)} are censored" if words else ""

    def _log_density(self, x: Tensor, s: Tensor) -> Tensor:
        raise NotImplementedError  # abstract

    def _log_tail(self, limit: float, s: Tensor, *, upper: bool) -> Tensor:
        """Log-probability that the noisy value lies above (or below) `limit`."""
        raise NotImplementedError  # abstract

    def _draw(self, s: Tensor, generator: Generator | None) -> Tensor:
        raise NotImplementedError  # abstract
