"""Noise models with a normal distribution around the clean value."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from divseg.errors import ConfigError

_LOG_2PI = math.log(2.0 * math.pi)


class _Normal(nn.Module):
    """Shared arithmetic: everything follows from the variance at s."""

    kind = "normal"

    def variance(self, s: Tensor) -> Tensor:
        """Variance of the noise at the clean values `s`."""
        raise NotImplementedError  # abstract: the two models below give it

    def log_prob(self, x: Tensor, s: Tensor) -> Tensor:
        """Log-density of the observed `x` given the clean `s`, in float32."""
        x, s = x.float(), s.float()
        var = self.variance(s)
        return -0.5 * (_LOG_2PI + var.log() + (x - s).square() / var)

    def sample(self, s: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw noisy values for the clean values `s`."""
        s = s.float()
        noise = torch.randn(s.shape, generator=generator, device=s.device)
        return s + self.variance(s).sqrt() * noise

    def as_module(self) -> nn.Module:
        """Return the model itself, which is a torch module."""
        return self


class Gaussian(_Normal):
    """Normal noise of one standard deviation, whatever the signal.

    Parameters
    ----------
    sd : float
        Standard deviation in intensity units, above 0.
    """

    kind = "gaussian"

    def __init__(self, sd: float) -> None:
        super().__init__()
        if not (math.isfinite(sd) and sd > 0):
            raise ConfigError(f"gaussian noise sd={sd!r} must be a finite number above 0")
        self._sd: Tensor
        self.register_buffer("_sd", torch.tensor(float(sd)))

    @property
    def sd(self) -> float:
        """Standard deviation in intensity units."""
        return float(self._sd)

    def variance(self, s: Tensor) -> Tensor:
        """Return the squared standard deviation, in the shape of `s`."""
        return self._sd.square().expand_as(s)

    def to_dict(self) -> dict[str, Any]:
        """Kind and parameters as plain numbers."""
        return {"kind": self.kind, "sd": self.sd}

    def describe(self) -> str:
        """One line for logs and reports."""
        return f"Gaussian noise, sd {self.sd:.4g}"


class PoissonGaussian(_Normal):
    """Normal noise whose variance grows linearly with the signal: shot noise plus read noise.

    The variance at clean value s is ``a * s + b``. It is held by its values at two signals, `low` and
    `high`, on a logarithmic scale: both stay positive, and both are well scaled for gradient descent
    when the model is co-learned. Below a tenth of the smaller of the two, the variance is held there.

    Parameters
    ----------
    a : float
        Slope in intensity units (the gain of the camera for shot noise).
    b : float
        Variance at s = 0, in squared intensity units. May be negative where the camera adds an offset.
    low, high : float
        Range of clean signals the model is meant for; the variance must be positive at both ends.
    trainable : bool
        Co-learn the two variances with the network.

    References
    ----------
    Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data",
    IEEE Trans. Image Processing 17 (2008), equation 2.
    """

    kind = "poisson-gaussian"

    def __init__(self, a: float, b: float, *, low: float, high: float, trainable: bool = False) -> None:
        super().__init__()
        if not all(map(math.isfinite, (a, b, low, high))) or not low < high:
            raise ConfigError(
                f"poisson-gaussian noise a={a!r}, b={b!r}, low={low!r}, high={high!r}: "
                "finite numbers with low < high are needed"
            )
        ends = (a * low + b, a * high + b)
        if min(ends) <= 0:
            raise ConfigError(
                f"poisson-gaussian noise a={a:g}, b={b:g} has variance {min(ends):g} <= 0 within the "
                f"signals {low:g} to {high:g} of the images; check a and b (variance = a * signal + b)"
            )
        logs = torch.tensor([math.log(v) for v in ends])
        if trainable:
            self.log_ends = nn.Parameter(logs)
        else:
            self.register_buffer("log_ends", logs)
        self.low, self.high, self.trainable = float(low), float(high), bool(trainable)

    def variance(self, s: Tensor) -> Tensor:
        """Return ``a * s + b``, held at a tenth of the smaller end below."""
        v_low, v_high = self.log_ends.exp().unbind()
        line = v_low + (v_high - v_low) * ((s - self.low) / (self.high - self.low))
        return torch.maximum(line, 0.1 * torch.minimum(v_low, v_high))

    @property
    def a(self) -> float:
        """Slope of the variance, in intensity units."""
        v_low, v_high = self.log_ends.detach().double().exp().tolist()
        return (v_high - v_low) / (self.high - self.low)

    @property
    def b(self) -> float:
        """Variance at s = 0, in squared intensity units."""
        return math.exp(float(self.log_ends.detach()[0])) - self.a * self.low

    def to_dict(self) -> dict[str, Any]:
        """Kind and parameters as plain numbers."""
        return {
            "kind": self.kind,
            "a": self.a,
            "b": self.b,
            "low": self.low,
            "high": self.high,
            "log_ends": [float(v) for v in self.log_ends.detach()],
            "trainable": self.trainable,
        }

    def describe(self) -> str:
        """One line for logs and reports."""
        how = "co-learned" if self.trainable else "fixed"
        return f"Poisson-Gaussian noise ({how}), variance = {self.a:.4g} * signal {self.b:+.4g}"
