"""From intensities to the network's units and back, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Intensity:
    """Mean and standard deviation of the training images' pixels, one of each a channel."""

    mean: tuple[float, ...] = (0.0,)
    sd: tuple[float, ...] = (1.0,)

    @classmethod
    def of(cls, mean: float | Sequence[float], sd: float | Sequence[float]) -> Intensity:
        """Make one of single numbers (one channel) or of a number for each channel."""
        means = mean if isinstance(mean, Sequence) else [mean]
        sds = sd if isinstance(sd, Sequence) else [sd]
        return cls(tuple(map(float, means)), tuple(map(float, sds)))

    @property
    def plain(self) -> tuple[float, float] | tuple[list[float], list[float]]:
        """Mean and sd as single numbers for one channel, as lists for several: what is written and shown."""
        if len(self.mean) == 1:
            return self.mean[0], self.sd[0]
        return list(self.mean), list(self.sd)

    def normalise(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return pixels (C, ...) in units of the standard deviation around the mean."""
        shape = (-1,) + (1,) * (pixels.ndim - 1)
        mean, sd = (np.array(v).reshape(shape) for v in (self.mean, self.sd))
        return ((pixels.astype(np.float64) - mean) / sd).astype(np.float32)

    def restore(self, x: Tensor) -> Tensor:
        """Return network outputs (B, C, ...) in intensity units, float32."""
        mean, sd = self.tensors(x)
        return x.float() * sd + mean

    def tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and sd as float32 tensors that fit (B, C, ...) on the device of `like`."""
        shape = (1, -1) + (1,) * (like.ndim - 2)
        mean, sd = (torch.tensor(v, dtype=torch.float32, device=like.device) for v in (self.mean, self.sd))
        return mean.reshape(shape), sd.reshape(shape)
