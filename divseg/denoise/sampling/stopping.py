"""How many samples are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from divseg.denoise.sampling.estimates import RunningMoments
from divseg.errors import ConfigError, InputError


@dataclass(frozen=True)
class StoppingRule:
    """Draw samples until their mean is accurate enough: what ``n="auto"`` stands for.

    Sampling stops at the first multiple of `every`, not below `min_samples`, at which the standard error of the
    mean image is at most `tolerance` times the noise's standard deviation, both as root mean squares over
    the image. The decision is made at fixed numbers of samples, so it does not depend on batches.

    The mean of n samples has the squared error of the exact posterior mean plus that standard error
    squared: with the default, the samples add 0.0006 of the noise's variance to the error.

    Attributes
    ----------
    tolerance : float
        Largest standard error, relative to the noise's standard deviation.
    min_samples, max_samples, every : int
        Fewest and most samples, and the interval between decisions.
    """

    tolerance: float = 0.025
    min_samples: int = 8
    max_samples: int = 256
    every: int = 8

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ConfigError(f"the tolerance of n='auto' must be above 0, got {self.tolerance!r}")
        if not 2 <= self.min_samples <= self.max_samples or self.every < 1:
            raise ConfigError(
                "n='auto' needs 2 <= min_samples <= max_samples and every >= 1, got "
                f"{self.min_samples}, {self.max_samples}, {self.every}"
            )

    def next_check(self, drawn: int) -> int:
        """Return the number of samples at which the next decision is made."""
        following = max(self.min_samples, (drawn // self.every + 1) * self.every)
        return min(self.max_samples, following)

    def reached(self, moments: RunningMoments, variance: Callable[[Tensor], Tensor]) -> bool:
        """Tell whether the samples are enough; `variance` is that of the noise at clean values."""
        return moments.count >= self.max_samples or standard_error(moments, variance) <= self.tolerance


def standard_error(moments: RunningMoments, variance: Callable[[Tensor], Tensor]) -> float:
    """Return the standard error of the mean image relative to the noise: root mean squares over all pixels."""
    error = float(moments.std.square().mean()) / moments.count
    return (error / float(variance(moments.mean).mean())) ** 0.5


SampleCount: TypeAlias = int | Literal["auto"] | StoppingRule
"""Number of samples, or the rule that decides it."""


def stopping_rule(n: SampleCount) -> int | StoppingRule:
    """Return a checked number of samples, or the rule that decides it.

    Raises
    ------
    InputError
        If the number is below 1, or a word other than ``"auto"``.
    """
    if isinstance(n, StoppingRule):
        return n
    if n == "auto":
        return StoppingRule()
    if isinstance(n, str) or n < 1:
        raise InputError(f"n={n!r} samples: at least 1 is needed, or 'auto'")
    return n
