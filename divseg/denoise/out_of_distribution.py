"""Is an image unlike those that the model was trained on? Its evidence lower bound tells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from divseg.denoise.noise import NoiseModel
from divseg.denoise.normalization import Normalization
from divseg.denoise.precision import sum_dtype
from divseg.denoise.sampling.sampler import Sampler
from divseg.errors import UNLIKE

BLOCK_PIXELS = 2**22
"""Pixels whose likelihood is computed at once, to save memory."""

MIN_MARGIN = 0.1
"""Nats per pixel by which the range of the training crops is widened at least; half of the noise gives 0.4."""


@dataclass(frozen=True)
class OutOfDistribution:
    """An image's loss and the range of that of the training images, in nats per pixel.

    Attributes
    ----------
    loss : float
        Negative evidence lower bound of the image, from one sample.
    low, high : float
        Range of 98 % of the training crops, widened by its own width below (an image may show little more than
        background) and by a tenth of it above.
    """

    loss: float
    low: float
    high: float

    @property
    def is_ood(self) -> bool:
        """Whether the image is out of the distribution of the training images."""
        return not self.low <= self.loss <= self.high

    @property
    def message(self) -> str:
        """Warning about an image that is out of distribution."""
        cause = (
            "noise or structures that the model does not know"
            if self.loss > self.high
            else "less noise than the model expects"
        )
        return UNLIKE.says(
            f"{self.loss:.3f} nats per pixel, training images have {self.low:.3f} to {self.high:.3f}, which suggests "
            f"{cause}; samples may look right and be wrong. Train on images of this kind, or check camera settings and "
            "intensity scale"
        )


def out_of_distribution(
    sampler: Sampler,
    noise: NoiseModel,
    normalization: Normalization,
    loss_range: Sequence[float],
    sample: Tensor | None = None,
) -> OutOfDistribution:
    """Compare an image with the training images.

    Parameters
    ----------
    sampler : Sampler
        Draws samples of the image.
    noise : NoiseModel
        Density of a noisy pixel given the clean one.
    normalization : Normalization
        That of the model.
    loss_range : sequence of 3 float
        1st, 50th and 99th percentile of the training crops' loss.
    sample : Tensor, shape (C, *sides), optional
        Sample 0 in intensity units; drawn if it is not given.
    """
    if sample is None:
        sample = normalization.denormalize(replace(sampler, batch=1).draw([0]))[0]
    posterior, shape = sampler.posterior, sample.shape
    noisy = posterior.pixels.reshape(tuple(shape))
    rows = max(1, BLOCK_PIXELS // max(1, math.prod(shape) // shape[1]))
    total = torch.zeros((), dtype=sum_dtype(sample.device), device=sample.device)
    with torch.inference_mode():
        for start in range(0, shape[1], rows):
            x = torch.from_numpy(noisy[:, start : start + rows].astype(np.float32))[None].to(sample.device)
            part = noise.log_prob(x, sample[None, :, start : start + rows])
            total -= part.sum(dtype=total.dtype)
    count = math.prod(shape)
    stride = sampler.network.config.stride
    padded = count * math.prod(math.ceil(side / stride) * stride / side for side in posterior.sides)
    loss = float(total) / count - normalization.log_scale() + sampler.divergence(0) / padded
    first, _, last = loss_range
    width = last - first
    return OutOfDistribution(loss, first - max(MIN_MARGIN, width), last + max(MIN_MARGIN, width / 10))
