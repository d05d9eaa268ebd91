"""Noise models with a normal distribution around the clean value."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from divseg.denoise.noise.base import PixelNoise
from divseg.errors import ConfigError

_LOG_2PI = math.log(2.0 * math.pi)


class _Normal(PixelNoise):
    """Shared arithmetic: everything follows from the variance at s."""

    kind = "normal"

    def _log_density(self, x: Tensor, s: Tensor) -> Tensor:
        var = self.variance(s)
        return -0.5 * (_LOG_2PI + var.log() + (x - s).square() / var)

    def _log_tail(self, limit: float, s: Tensor, *, upper: bool) -> Tensor:
        z = (s - limit) / self.variance(s).sqrt()
        return torch.special.log_ndtr(z if upper else -z)

    def _draw(self, s: Tensor, generator: Generator | None) -> Tensor:
        noise = torch.randn(s.shape, generator=generator, device=s.device)
        return s + self.variance(s).sqrt() * noise


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

    def signal_range(self) -> tuple[float, float]:
        """Return 0 to ten standard deviations: the noise is the same everywhere."""
        return 0.0, 10.0 * self.sd

    def to_dict(self) -> dict[str, Any]:
        """Kind and parameters as plain numbers."""
        return {"kind": self.kind, "sd": self.sd, **self._limits()}

    def describe(self) -> str:
        """One line for logs and reports."""
        return f"Gaussian noise, sd {self.sd:.4g}{self._limit_words()}"


class PoissonGaussian(_Normal):
    """Normal noise whose variance grows linearly with the signal: shot noise plus read noise.

    The variance at clean value s is ``a * s + b``. It is held by its values at two signals, `low` and
    `high`, on a logarithmic scale: both stay positive, and both are well scaled for gradient descent
    when the model is co-learned. The variance does not fall below `least`.

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
    least : float, optional
        Variance of the darkest pixels; a tenth of the smaller end where absent.

    References
    ----------
    Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data",
    IEEE Trans. Image Processing 17 (2008), equation 2.
    """

    kind = "poisson-gaussian"

    def __init__(
        self,
        a: float,
        b: float,
        *,
        low: float,
        high: float,
        trainable: bool = False,
        least: float | None = None,
    ) -> None:
        super().__init__()
        if least is not None and not (math.isfinite(least) and least > 0):
            raise ConfigError(f"poisson-gaussian noise least={least!r} must be a finite number above 0")
        self.least = None if least is None else float(least)
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
        self._anchor: Tensor
        self.register_buffer("_anchor", logs.clone(), persistent=False)
        self.anchor_strength = 0.0

    def anchored(self, strength: float) -> PoissonGaussian:
        """Tie the co-learned variances to their present values, and return the model.

        While the network still misses structure, it leaves it in the residual, and maximum likelihood takes
        it for noise: co-learned variances come out too large, at bright signals above all. A start that was
        measured from the images does not have this error. The penalty is that of a normal prior on the
        logarithm of the two variances which weighs `strength` times as much as all pixels together: a pixel
        holds Fisher information 1/2 on the logarithm of its variance, and each end has half of the pixels.

        Parameters
        ----------
        strength : float
            0 leaves the model free; see :func:`divseg.denoise.noise.choose.anchor_strength`.
        """
        if not (math.isfinite(strength) and strength >= 0):
            raise ConfigError(f"strength={strength!r} of the anchor must be a finite number, 0 or more")
        self._anchor.copy_(self.log_ends.detach())
        self.anchor_strength = float(strength)
        return self

    def penalty(self) -> Tensor | float:
        """Return the penalty of the anchor in nats per pixel, to be added to the loss."""
        if not (self.trainable and self.anchor_strength):
            return 0.0
        return self.anchor_strength * 0.125 * (self.log_ends - self._anchor).square().sum()

    def variance(self, s: Tensor) -> Tensor:
        """Return ``a * s + b``, or the variance of the darkest pixels where that is more."""
        v_low, v_high = self.log_ends.exp().unbind()
        line = v_low + (v_high - v_low) * ((s - self.low) / (self.high - self.low))
        if self.least is not None:
            return line.clamp_min(self.least)
        return torch.maximum(line, 0.1 * torch.minimum(v_low, v_high))

    def signal_range(self) -> tuple[float, float]:
        """Return `low` and `high`."""
        return self.low, self.high

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
        data = {
            "kind": self.kind,
            "a": self.a,
            "b": self.b,
            "low": self.low,
            "high": self.high,
            "log_ends": [float(v) for v in self.log_ends.detach()],
            "trainable": self.trainable,
            **self._limits(),
        }
        if self.least is not None:
            data["least"] = self.least
        if self.anchor_strength:
            data["anchor"] = {"strength": self.anchor_strength, "log_ends": self._anchor.tolist()}
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PoissonGaussian:
        """Rebuild the model with exactly the stored values."""
        model = cls(
            data["a"],
            data["b"],
            low=data["low"],
            high=data["high"],
            trainable=data.get("trainable", False),
            least=data.get("least"),
        )
        if "anchor" in data:
            model.anchored(float(data["anchor"]["strength"]))
            model._anchor.copy_(model._anchor.new_tensor(data["anchor"]["log_ends"]))
        # a and b have been through a subtraction
        model.log_ends.data.copy_(model.log_ends.new_tensor(data["log_ends"]))
        return model

    def describe(self) -> str:
        """One line for logs and reports."""
        how = "co-learned" if self.trainable else "fixed"
        line = f"variance = {self.a:.4g} * signal {self.b:+.4g}"
        least = "" if self.least is None else f", at least {self.least:.4g}"
        return f"Poisson-Gaussian noise ({how}), {line}{least}{self._limit_words()}"
