"""How many samples are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from divseg.denoise.sampling.estimates import RunningMoments
from divseg.errors import ConfigError


@dataclass(frozen=True)
class Until:
    """Draw samples until the mean is known well enough: what ``n="auto"`` stands for.

    Samples stop at the first multiple of `every`, not below `least`, at which the standard error of the
    mean image is at most `tolerance` times the noise's standard deviation, both as root mean squares over
    the image. The decision is made at fixed numbers of samples, so it does not depend on batches.

    The mean of n samples has the squared error of the exact posterior mean plus that standard error
    squared: with the default, the samples add 0.0006 of the noise's variance to the error.

    Attributes
    ----------
    tolerance : float
        Largest standard error, relative to the noise's standard deviation.
    least, most, every : int
        Numbers of samples.
    also : callable, optional
        Called with the number of samples drawn and consumed so far; returns a standard error of whatever is
        made of the samples (a consensus, say), relative in the caller's own way. Sampling goes on until it
        is at most `also_tolerance` too.
    also_tolerance : float
        For `also`.
    """

    tolerance: float = 0.025
    least: int = 8
    most: int = 256
    every: int = 8
    also: Callable[[int], float] | None = None
    also_tolerance: float = 0.025

    def __post_init__(self) -> None:
        if not self.tolerance > 0 or not self.also_tolerance > 0:
            raise ConfigError(f"the tolerance of n='auto' must be above 0, got {self.tolerance!r}")
        if not 2 <= self.least <= self.most or self.every < 1:
            raise ConfigError(
                f"n='auto' needs 2 <= least <= most and every >= 1, got {self.least}, {self.most}, {self.every}"
            )

    def next_check(self, drawn: int) -> int:
        """Return the number of samples at which is decided next."""
        following = max(self.least, (drawn // self.every + 1) * self.every)
        return min(self.most, following)

    def reached(self, moments: RunningMoments, variance: Callable[[Tensor], Tensor]) -> bool:
        """Tell whether the samples so far are enough; `variance` is the noise's at clean values."""
        if moments.count >= self.most:
            return True
        if standard_error(moments, variance) > self.tolerance:
            return False
        return self.also is None or self.also(moments.count) <= self.also_tolerance


def standard_error(moments: RunningMoments, variance: Callable[[Tensor], Tensor]) -> float:
    """Return the standard error of the mean image relative to the noise: root mean squares over all pixels."""
    error = float(moments.sd.square().mean()) / moments.count
    return (error / float(variance(moments.mean).mean())) ** 0.5
