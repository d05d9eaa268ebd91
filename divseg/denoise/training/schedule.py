"""How far training has come, and what learning rate and KL weight go with it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from divseg.errors import ConfigError


@dataclass
class Budget:
    """Steps and minutes that training may take; the first to run out ends it.

    With a budget in steps a fixed seed gives the same model on the same machine; with one in minutes the
    number of steps depends on how fast the machine is.
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ConfigError("training needs a budget: give train_steps or train_minutes")
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
        """Share of the budget that is used, 0 to 1."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(step / self.steps)
        if self.minutes is not None:
            shares.append(self.seconds / (60.0 * self.minutes))
        return min(1.0, max(shares))


def kl_weight(progress: float, warmup: float) -> float:
    """Weight of the KL term: 0 to 1 over the first `warmup` share of training, then 1."""
    return min(1.0, progress / warmup) if warmup > 0 else 1.0


def learning_rate(peak: float, progress: float, step: int, *, warmup_steps: int = 100) -> float:
    """Linear warm-up over the first steps, half a cosine to a hundredth of the peak at the end.

    Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts.
    """
    ramp = min(1.0, (step + 1) / warmup_steps)
    return peak * ramp * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))


def noise_share(progress: float, start: float) -> float:
    """Learning rate of co-learned noise parameters relative to the network's: 0, then a ramp to 1."""
    return min(1.0, max(0.0, (progress - start) / 0.1))
