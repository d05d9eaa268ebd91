"""Budget, learning rate and KL weight of training, and the exponential moving average (EMA) of the weights."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

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


def learning_rate(peak: float, progress: float, step: int, warmup_steps: int) -> float:
    """Linear warm-up over the first steps, half a cosine to a hundredth of the peak at the end.

    Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts.
    """
    ramp = min(1.0, (step + 1) / warmup_steps)
    return peak * ramp * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))


def noise_rate(progress: float, start: float) -> float:
    """Learning rate of co-learned noise parameters relative to the network's: 0, then a ramp to 1."""
    return min(1.0, max(0.0, (progress - start) / 0.1))


def ema_weight(decay: float, step: int) -> float:
    """Weight of the parameters after a step in their moving average.

    Early steps count more, so that the start is forgotten.
    """
    return 1.0 - min(decay, step / (step + 10.0))


class EMA:
    """Exponential moving average of the weights, which is the model that training leaves (Polyak and Juditsky, 1992).

    As a context manager, it puts the averages into the parameters, and the parameters' own values back at the end.

    Parameters
    ----------
    parameters : sequence of Tensor
        Dense tensors, which must stay where they are in memory.

    Attributes
    ----------
    average : Tensor, shape (elements of all parameters,)
        In the order that the elements have in memory.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self._flat = [p.detach().as_strided((p.numel(),), (1,)) for p in parameters]
        self.average = torch.cat(self._flat)
        firsts = accumulate([0, *(p.numel() for p in parameters[:-1])])
        self._shaped = [
            self.average.as_strided(p.shape, p.stride(), first) for p, first in zip(parameters, firsts, strict=True)
        ]

    def update(self, weight: Tensor) -> None:
        """Move the average towards the parameters by a fraction, a scalar on their device."""
        self.average.lerp_(torch.cat(self._flat), weight)

    def apply(self) -> None:
        """Put the averages into the parameters for good."""
        with torch.no_grad():
            for p, a in zip(self.parameters, self._shaped, strict=True):
                p.copy_(a)

    def _exchange(self) -> None:
        with torch.no_grad():
            own = torch.cat(self._flat)
            self.apply()
            self.average.copy_(own)

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *_: object) -> None:
        self._exchange()
