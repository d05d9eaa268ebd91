"""Noise models with a normal distribution around the clean value."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from divseg.denoise.noise.base import NoiseModel, log_normal
from divseg.denoise.noise.mixture import GaussianMixture
from divseg.errors import ConfigError, brief
from divseg.io.json_file import real

_MOST = 1e30
"""Bound of all variances and signals: their sums and squares fit a 32-bit float."""


class _Normal(NoiseModel):
    """Shared arithmetic: everything follows from the variance at s."""

    def _log_density(self, x: Tensor, s: Tensor) -> Tensor:
        return log_normal(x - s, self.variance(s))

    def _log_tail(self, limit: float, s: Tensor, *, upper: bool) -> Tensor:
        z = (s - limit) / self.variance(s).sqrt()
        return torch.special.log_ndtr(z if upper else -z)

    def _draw(self, s: Tensor, generator: Generator | None) -> Tensor:
        noise = torch.randn(s.shape, generator=generator, device=s.device)
        return s + self.variance(s).sqrt() * noise


class Gaussian(_Normal, kind="gaussian"):
    """Normal noise of one standard deviation at every signal.

    Parameters
    ----------
    std : float
        Standard deviation in intensity units, above 0.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if not 0 < std < math.sqrt(_MOST):
            raise ConfigError(f"gaussian noise std={std!r} must be a finite number above 0")
        self._std: Tensor
        self.register_buffer("_std", torch.tensor(float(std)))

    @property
    def std(self) -> float:
        """Standard deviation in intensity units."""
        return float(self._std)

    def variance(self, s: Tensor) -> Tensor:
        """Return the squared standard deviation, in the shape of `s`."""
        return self._std.square().expand_as(s)

    def signal_range(self) -> tuple[float, float]:
        """Return 0 to ten standard deviations: the noise is the same everywhere."""
        return 0.0, 10.0 * self.std

    def _values(self) -> dict[str, Any]:
        return {"std": self.std}

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the mixture of one Gaussian that the model is."""
        return _one_gaussian((0.0, 1.0), (self.std**2, self.std**2), None).to_arrays()

    def describe(self) -> str:
        """One line for logs and reports."""
        return f"Gaussian noise, std {self.std:.4g}{self._limit_words()}"


class PoissonGaussian(_Normal, kind="poisson-gaussian"):
    """Normal noise with a variance that grows linearly with the signal: shot noise plus read noise.

    The variance at clean value s is ``a * s + b``. The parameters are its logarithms at two signals, `low` and
    `high`: both variances stay positive, and both are well scaled for gradient descent if the model is co-learned.
    The variance does not fall below `min_variance`.

    Parameters
    ----------
    a : float
        Slope in intensity units (the gain of the camera for shot noise).
    b : float
        Variance at s = 0, in squared intensity units. May be negative if the camera adds an offset.
    low, high : float
        Range of clean signals that the model is meant for; the variance must be positive at both ends.
    trainable : bool
        Co-learn the two variances with the network.
    min_variance : float, optional
        Variance of the darkest pixels; by default a tenth of the smaller of the variances at `low` and `high`.

    References
    ----------
    Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data",
    IEEE Trans. Image Processing 17 (2008), equation 2.
    """

    def __init__(
        self,
        a: float,
        b: float,
        *,
        low: float,
        high: float,
        trainable: bool = False,
        min_variance: float | None = None,
    ) -> None:
        super().__init__()
        if min_variance is not None and not 0 < min_variance < _MOST:
            raise ConfigError(f"poisson-gaussian noise min_variance={min_variance!r} must be a finite number above 0")
        self.min_variance = None if min_variance is None else float(min_variance)
        if not all(-_MOST < value < _MOST for value in (a, b, low, high)) or not low < high:
            raise ConfigError(
                f"poisson-gaussian noise a={a!r}, b={b!r}, low={low!r}, high={high!r}: "
                "finite numbers with low < high are needed"
            )
        ends = (a * low + b, a * high + b)
        if not 0 < min(ends) <= max(ends) < _MOST:
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
        self._prior: Tensor
        self.register_buffer("_prior", logs.clone(), persistent=False)
        self.prior_strength = 0.0

    def with_prior(self, strength: float) -> Self:
        """Put a prior around the present values of the co-learned variances, and return the model.

        While the network still misses structure, it leaves it in the residual, and maximum likelihood takes it for
        noise: co-learned variances come out too large, above all at bright signals. Initial values that were measured
        from the images do not have this error. The prior is normal on the logarithms of the two variances and weighs
        `strength` times as much as all pixels together: a pixel holds Fisher information 1/2 on the logarithm of its
        variance, and each end has half of the pixels.

        Parameters
        ----------
        strength : float
            0 leaves the model free; see :func:`divseg.denoise.noise.choose.prior_strength`.
        """
        if not (math.isfinite(strength) and strength >= 0):
            raise ConfigError(f"strength={strength!r} of the prior must be a finite number, 0 or more")
        self._prior.copy_(self.log_ends.detach())
        self.prior_strength = float(strength)
        return self

    def penalty(self) -> Tensor | float:
        """Return the negative log-prior in nats per pixel, to be added to the loss."""
        if not (self.trainable and self.prior_strength):
            return 0.0
        return self.prior_strength * 0.125 * (self.log_ends - self._prior).square().sum()

    def variance(self, s: Tensor) -> Tensor:
        """Return ``a * s + b``, or the variance of the darkest pixels if that is larger."""
        v_low, v_high = self.log_ends.exp().unbind()
        line = v_low + (v_high - v_low) * ((s - self.low) / (self.high - self.low))
        if self.min_variance is not None:
            return line.clamp_min(self.min_variance)
        return torch.maximum(line, 0.1 * torch.minimum(v_low, v_high))

    def signal_range(self) -> tuple[float, float]:
        """Return `low` and `high`."""
        return self.low, self.high

    @property
    def a(self) -> float:
        """Slope of the variance, in intensity units."""
        v_low, v_high = self._ends()
        return (v_high - v_low) / (self.high - self.low)

    @property
    def b(self) -> float:
        """Variance at s = 0, in squared intensity units."""
        return math.exp(float(self.log_ends.detach()[0])) - self.a * self.low

    def _ends(self) -> tuple[float, float]:
        """Return the variances at `low` and `high`."""
        v_low, v_high = self.log_ends.detach().cpu().double().exp().tolist()
        return v_low, v_high

    def _values(self) -> dict[str, Any]:
        data = {
            "a": self.a,
            "b": self.b,
            "low": self.low,
            "high": self.high,
            "log_ends": [float(v) for v in self.log_ends.detach()],
            "trainable": self.trainable,
        }
        if self.min_variance is not None:
            data["min_variance"] = self.min_variance
        if self.prior_strength:
            data["prior"] = {"strength": self.prior_strength, "log_ends": self._prior.tolist()}
        return data

    @classmethod
    def _from_values(cls, data: dict[str, Any]) -> Self:
        """Rebuild the model with exactly the stored values: a and b have been through a subtraction."""
        log_ends, prior = _logs(data.pop("log_ends")), data.pop("prior", None)
        model = cls(**data)
        if prior is not None:
            model.with_prior(float(prior["strength"]))
            model._prior.copy_(model._prior.new_tensor(_logs(prior["log_ends"])))
        model.log_ends.data.copy_(model.log_ends.new_tensor(log_ends))
        return model

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of a mixture of one Gaussian; exact within `low` to `high`.

        Raises
        ------
        ConfigError
            If the variance falls with the signal, which the mixture cannot express.
        """
        return _one_gaussian((self.low, self.high), self._ends(), self.min_variance).to_arrays()

    def describe(self) -> str:
        """One line for logs and reports."""
        how = "co-learned" if self.trainable else "fixed"
        line = f"variance = {self.a:.4g} * signal {self.b:+.4g}"
        lower_bound = "" if self.min_variance is None else f", at least {self.min_variance:.4g}"
        return f"Poisson-Gaussian noise ({how}), {line}{lower_bound}{self._limit_words()}"


def _logs(values: Any) -> list[float]:
    """Return the logarithms of two variances that a 32-bit float can hold."""
    logs = [real(value) for value in values]
    if len(logs) != 2 or max(map(abs, logs)) > 80:
        raise ConfigError(f"log_ends={brief(values)} must be two logarithms of variances")
    return logs


def _one_gaussian(
    signal: tuple[float, float], variance: tuple[float, float], min_variance: float | None
) -> GaussianMixture:
    """Return the mixture of one Gaussian with a variance on the line through two signals."""
    first, last = variance
    rise = last - first
    if rise < -1e-6 * first:
        raise ConfigError("noise with a variance that falls with the signal cannot be written as a mixture; use .json")
    slope = math.log(rise) if rise > 1e-12 * first else math.log(first) - 30.0
    weight = [[0.0, 0.0], [math.log(first), slope], [0.0, 0.0]]
    return GaussianMixture(weight, min_signal=signal[0], max_signal=signal[1], min_sigma=min_variance or 0.1 * first)
