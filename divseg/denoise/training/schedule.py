"""Budget, learning rate and KL weight of training, and the exponential moving average (EMA) of the weights."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from divseg.errors import ConfigError

DEFAULT_MINUTES = 10.0
"""Budget of training if none is given."""


@dataclass
class Budget:
    """Steps and minutes that training may take; the first to run out ends it. Ten minutes by default.

    With a budget in steps a fixed seed gives the same model on the same machine; with one in minutes the
    number of steps depends on how fast the machine is.
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            self.minutes = DEFAULT_MINUTES
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"train_steps={self.steps} must be at least 1")
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0):
            raise ConfigError(f"train_minutes={self.minutes} must be a number above 0")
        self._start = time.monotonic()

    def start(self, used: float = 0.0) -> None:
        """Start the clock, with `used` seconds on it already."""
        self._start = time.monotonic() - used

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def progress(self, step: int) -> float:
        """Fraction of the budget that is used, 0 to 1."""
        fractions = [0.0]
        if self.steps is not None:
            fractions.append(step / self.steps)
        if self.minutes is not None:
            fractions.append(self.seconds / (60.0 * self.minutes))
        return min(1.0, max(fractions))


def kl_weight(progress: float, warmup: float) -> float:
    """Weight of the KL term: 0 to 1 over the first fraction `warmup` of training, then 1."""
    return min(1.0, progress / warmup) if warmup > 0 else 1.0


def learning_rate(peak: float, progress: float, step: int, *, warmup_steps: int = 100) -> float:
    """Linear warm-up over the first steps, half a cosine to a hundredth of the peak at the end.

    Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts.
    """
    ramp = min(1.0, (step + 1) / warmup_steps)
    return peak * ramp * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))


def noise_rate(progress: float, start: float) -> float:
    """Learning rate of co-learned noise parameters relative to the network's: 0, then a ramp to 1."""
    return min(1.0, max(0.0, (progress - start) / 0.1))


class EMA:
    """Exponential moving average of the weights, which is the model that training leaves (Polyak and Juditsky, 1992).

    As a context manager, it puts the averages into the parameters, and the parameters' own values back at the end.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.average = [p.detach().clone() for p in parameters]

    def update(self, step: int) -> None:
        """Add the parameters after a step; early steps count more, so that the start is forgotten."""
        decay = min(self.decay, step / (step + 10.0))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1.0 - decay)

    def apply(self) -> None:
        """Put the averages into the parameters for good."""
        with torch.no_grad():
            for p, a in zip(self.parameters, self.average, strict=True):
                p.copy_(a)

    def _exchange(self) -> None:
        with torch.no_grad():
            for p, a in zip(self.parameters, self.average, strict=True):
                value = p.detach().clone()
                p.copy_(a)
                a.copy_(value)

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *_: object) -> None:
        self._exchange()
