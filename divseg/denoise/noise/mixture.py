"""The signal-dependent Gaussian mixture of PN2V and DivNoising."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Generator, Tensor

from divseg.denoise.noise.base import NoiseModel, log_normal
from divseg.errors import ConfigError


class GaussianMixture(NoiseModel, kind="mixture"):
    """Mixture of Gaussians whose means, variances and weights are polynomials in the clean signal.

    With ``t = (s - min_signal) / (max_signal - min_signal)`` and rows ``w`` of `weight`, component k has

    * variance ``max(sum_i exp(w[K + k, i]) t^i, min_sigma)`` (`min_sigma`, so named in the files, is the smallest
      variance, as in the reference implementation),
    * mixing weight ``p_k = softmax_k(sum_i w[2K + k, i] t^i)``,
    * mean ``m_k(t) - sum_j p_j m_j(t) + s`` with ``m_k = sum_i w[k, i] t^i``: the mean of the mixture is s.

    Within the fitted range this is the published model. Outside it, the polynomials of means and mixing weights keep
    their values at the nearer end, and so does that of the variances below the range: extrapolated, they would
    diverge. Above the range the variance goes on growing.

    Parameters
    ----------
    weight : array, shape (3 K, C)
        Coefficients w of the polynomials: K Gaussians, C coefficients.
    min_signal, max_signal : float
        Range of clean signals that the model was fitted to.
    min_sigma : float
        Smallest variance of every Gaussian, in squared intensity units.

    References
    ----------
    Krull et al., "Probabilistic Noise2Void", Frontiers in Computer Science 2:5 (2020); Prakash et al.,
    "Fully unsupervised probabilistic Noise2Void", ISBI 2020, section 3.2.
    """

    def __init__(self, weight: ArrayLike | Tensor, *, min_signal: float, max_signal: float, min_sigma: float) -> None:
        super().__init__()
        table = torch.as_tensor(weight, dtype=torch.float32).detach().clone()
        if table.ndim != 2 or table.shape[0] < 3 or table.shape[0] % 3 or not table.shape[1]:
            raise ConfigError(f"a mixture needs weights of shape (3 K, C), got {tuple(table.shape)}")
        if not bool(torch.isfinite(table).all()):
            raise ConfigError("the weights of the mixture hold values that are not finite numbers")
        if not -1e30 < min_signal < max_signal < 1e30:
            raise ConfigError(f"a mixture needs min_signal < max_signal, got {min_signal!r} and {max_signal!r}")
        if not 0 < min_sigma < 1e30:
            raise ConfigError(f"min_sigma={min_sigma!r} of the mixture must be a finite number above 0")
        self.weight: Tensor
        self.register_buffer("weight", table)
        self.min_signal, self.max_signal, self.min_sigma = float(min_signal), float(max_signal), float(min_sigma)

    @property
    def n_gaussian(self) -> int:
        """Number of Gaussians, K."""
        return self.weight.shape[0] // 3

    @property
    def n_coeff(self) -> int:
        """Number of coefficients of each polynomial, C."""
        return self.weight.shape[1]

    def components(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log mixing weights, means and variances at the clean values `s`.

        Returns
        -------
        log_weight, mean, variance : Tensor, shape (K, *s.shape)
            The means are relative to s.
        """
        t = (s - self.min_signal) / (self.max_signal - self.min_signal)
        return components(self.weight, t, self.min_sigma)

    def variance(self, s: Tensor) -> Tensor:
        """Variance of the mixture at the clean values `s`."""
        log_weight, mean, var = self.components(s.float())
        return (log_weight.exp() * (var + mean.square())).sum(0)

    def _log_density(self, x: Tensor, s: Tensor) -> Tensor:
        log_weight, mean, var = self.components(s)
        return torch.logsumexp(log_weight + log_normal((x - s) - mean, var), dim=0)

    def _log_tail(self, limit: float, s: Tensor, *, upper: bool) -> Tensor:
        log_weight, mean, var = self.components(s)
        z = ((s - limit) + mean) / var.sqrt()
        return torch.logsumexp(log_weight + torch.special.log_ndtr(z if upper else -z), dim=0)

    def _draw(self, s: Tensor, generator: Generator | None) -> Tensor:
        log_weight, mean, var = self.components(s)
        pick = torch.rand(s.shape, generator=generator, device=s.device)
        edges = log_weight.exp().cumsum(0)[:-1]
        k = (pick >= edges).sum(0, keepdim=True)
        noise = torch.randn(s.shape, generator=generator, device=s.device)
        return s + mean.gather(0, k)[0] + var.gather(0, k)[0].sqrt() * noise

    def signal_range(self) -> tuple[float, float]:
        """Return `min_signal` and `max_signal`."""
        return self.min_signal, self.max_signal

    def _values(self) -> dict[str, Any]:
        return {
            "weight": self.weight.tolist(),
            "min_signal": self.min_signal,
            "max_signal": self.max_signal,
            "min_sigma": self.min_sigma,
        }

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the .npz files of PN2V, DivNoising and CAREamics."""
        return {
            "trained_weight": self.weight.cpu().numpy(),
            "min_signal": np.array([self.min_signal], np.float32),
            "max_signal": np.array([self.max_signal], np.float32),
            "min_sigma": np.array(self.min_sigma, np.float32),
        }

    def describe(self) -> str:
        """One line for logs and reports."""
        ends = torch.tensor([self.min_signal, self.max_signal], device=self.weight.device)
        low, high = self.variance(ends).sqrt().tolist()
        return (
            f"mixture of {self.n_gaussian} Gaussians with {self.n_coeff} coefficients, std {low:.4g} at signal "
            f"{self.min_signal:.4g} to {high:.4g} at {self.max_signal:.4g}{self._limit_words()}"
        )


def components(weight: Tensor, t: Tensor, min_sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log mixing weights, means (relative to the signal) and variances of a mixture at relative signals `t`."""
    k = weight.shape[0] // 3
    within = t.clamp(0.0, 1.0)
    mean = _polynomial(weight[:k], within)
    var = _polynomial(weight[k : 2 * k].exp(), t.clamp_min(0.0)).clamp_min(min_sigma)
    log_weight = torch.log_softmax(_polynomial(weight[2 * k :], within), dim=0)
    return log_weight, mean - (log_weight.exp() * mean).sum(0), var


def _polynomial(rows: Tensor, t: Tensor) -> Tensor:
    """Evaluate polynomials with coefficients `rows` (K, C), constant first, at `t`: shape (K, *t.shape)."""
    shape = (rows.shape[0], *(1,) * t.ndim)
    value = rows[:, -1].reshape(shape).expand(rows.shape[0], *t.shape)
    for i in range(rows.shape[1] - 2, -1, -1):
        value = value * t + rows[:, i].reshape(shape)
    return value
