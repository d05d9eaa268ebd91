"""From intensities to the network's units and back, channel by channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.io.json_file import real


class NormalizationConfig(TypedDict):
    """What a model folder holds of a normalization: numbers for one channel, lists for several."""

    mean: float | list[float]
    std: float | list[float]


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of the training images, channel by channel, in intensity units."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @classmethod
    def from_config(cls, mean: float | Sequence[float], std: float | Sequence[float]) -> Normalization:
        """Make one from single numbers (one channel), or from a number for each channel; ValueError for others."""
        means = mean if isinstance(mean, Sequence) else [mean]
        stds = std if isinstance(std, Sequence) else [std]
        if len(means) != len(stds) or not means:
            raise ValueError(f"{len(means)} means and {len(stds)} standard deviations")
        if min(scales := tuple(map(real, stds))) <= 0:
            raise ValueError(f"the standard deviation {min(scales)} is not above 0")
        return cls(tuple(map(real, means)), scales)

    def to_config(self) -> NormalizationConfig:
        """Return mean and std as single numbers for one channel, as lists for several."""
        if len(self.mean) == 1:
            return {"mean": self.mean[0], "std": self.std[0]}
        return {"mean": list(self.mean), "std": list(self.std)}

    def normalize(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return pixels (C, ...) in units of the standard deviation around the mean."""
        shape = (-1,) + (1,) * (pixels.ndim - 1)
        mean, std = (np.array(v).reshape(shape) for v in (self.mean, self.std))
        return ((pixels.astype(np.float64) - mean) / std).astype(np.float32)

    def denormalize(self, x: Tensor) -> Tensor:
        """Return network outputs (B, C, ...) in intensity units, float32."""
        mean, std = self.tensors(x)
        return x.float() * std + mean

    def on(self, device: torch.device, dims: int) -> DeviceNormalization:
        """Return the same for tensors (B, C, *sides) with `dims` spatial axes, with its numbers on their device."""
        mean, std = self.tensors(torch.empty((1, len(self.mean), *(1,) * dims), device=device))
        return DeviceNormalization(mean, std, self.log_scale())

    def tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std as float32 tensors that broadcast with `like` (B, C, ...), on its device."""
        shape = (1, -1) + (1,) * (like.ndim - 2)
        mean, std = (torch.tensor(v, dtype=torch.float32, device=like.device) for v in (self.mean, self.std))
        return mean.reshape(shape), std.reshape(shape)

    def log_scale(self) -> float:
        """Mean over the channels of the logarithm of std: from log-densities in intensity units to normalized ones."""
        return sum(map(math.log, self.std)) / len(self.std)


class DeviceNormalization:
    """A normalization whose numbers lie on a device already, so that using it copies nothing there.

    Parameters
    ----------
    mean, std : Tensor, shape (1, C, 1, 1) or (1, C, 1, 1, 1), float32
        In intensity units.
    log_scale : float
        See :meth:`Normalization.log_scale`.
    """

    def __init__(self, mean: Tensor, std: Tensor, log_scale: float) -> None:
        self.mean, self.std, self._log_scale = mean, std, log_scale

    def normalize(self, x: Tensor) -> Tensor:
        """Return intensities (B, C, *sides) in units of the standard deviation around the mean, float32."""
        return (x - self.mean) / self.std

    def denormalize(self, x: Tensor) -> Tensor:
        """Return network outputs (B, C, *sides) in intensity units, float32."""
        return x.float() * self.std + self.mean

    def log_scale(self) -> float:
        """Mean over the channels of the logarithm of std."""
        return self._log_scale
