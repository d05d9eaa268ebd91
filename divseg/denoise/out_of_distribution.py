"""Is an image like those that were trained on? By its evidence lower bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.noise import NoiseModel
from divseg.denoise.normalization import Intensity
from divseg.denoise.sampling.sampler import Sampler

ROWS = 2**22
"""Pixels that are looked at together, for memory's sake."""

LEAST_MARGIN = 0.1
"""Nats per pixel by which the range of the training crops is at least widened; half of the noise gives 0.4."""


@dataclass(frozen=True)
class Familiarity:
    """How an image's loss compares with that of the training images, in nats per pixel.

    Attributes
    ----------
    loss : float
        Negative evidence lower bound of the image, from one sample.
    low, high : float
        Bounds of what is familiar: the range of 98 % of the training crops, widened by its own width below (an image
        may show little more than background) and by a tenth of it above.
    """

    loss: float
    low: float
    high: float

    @property
    def unlike(self) -> bool:
        """Whether the image is far from what the model was trained on."""
        return not self.low <= self.loss <= self.high

    @property
    def message(self) -> str:
        """What to tell the user of an image that is unlike the training images."""
        kind = (
            "noise or structures that the model does not know"
            if self.loss > self.high
            else "less noise than the model expects"
        )
        return (
            f"the image is unlike those that the model was trained on: {self.loss:.3f} nats per pixel, training images "
            f"have {self.low:.3f} to {self.high:.3f}, which speaks for {kind}; samples may look right and be wrong. "
            "Train on images of this kind, or check camera settings and intensity scale"
        )


def familiarity(
    sampler: Sampler,
    pixels: NDArray[np.generic],
    sample: Tensor,
    noise: NoiseModel,
    intensity: Intensity,
    loss_range: Sequence[float],
    number: int = 0,
) -> Familiarity:
    """Compare an image with the training images.

    Parameters
    ----------
    sampler : Sampler
        Of the image.
    pixels : array
        The noisy image.
    sample : Tensor, shape (C, *sides)
        One posterior sample in intensity units.
    noise : NoiseModel
    intensity : Intensity
    loss_range : sequence of 3 float
        1st, 50th and 99th percentile of the training crops' loss.
    number : int
        Number of that sample.
    """
    shape = sample.shape
    noisy = pixels.reshape(tuple(shape))
    rows = max(1, ROWS // max(1, math.prod(shape) // shape[1]))
    total = torch.zeros((), dtype=torch.float64)
    with torch.inference_mode():
        for start in range(0, shape[1], rows):
            x = torch.from_numpy(noisy[:, start : start + rows].astype(np.float32))[None].to(sample.device)
            part = noise.log_prob(x, sample[None, :, start : start + rows])
            total -= part.double().sum().cpu()
    count = math.prod(shape)
    stride = sampler.network.config.stride
    padded = count * math.prod(math.ceil(side / stride) * stride / side for side in sampler.posterior.sides)
    shift = sum(map(math.log, intensity.sd)) / len(intensity.sd)
    loss = float(total) / count - shift + sampler.divergence(number) / padded
    first, _, last = loss_range
    width = last - first
    return Familiarity(loss, first - max(LEAST_MARGIN, width), last + max(LEAST_MARGIN, width / 10))
