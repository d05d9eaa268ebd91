"""Which crops are trained on: some as they come, some because there is something in them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from divseg.denoise.training.data import TrainingData

BLOCK = 8
"""Side in pixels of the blocks whose means tell structure from noise."""
DRAWN = 4
"""Crops drawn for each one that is kept for its structure."""


def draw_batch(data: TrainingData, size: int, rng: np.random.Generator, share: float) -> Tensor:
    """Draw normalised crops, a share of them for the structure they hold.

    Most of a microscopy image is empty, and a network that has learned what emptiness looks like learns nothing more
    from it. Of every four crops drawn for that share the one with the most structure is kept; the rest of the
    batch is drawn evenly, so that the background stays known.

    Parameters
    ----------
    data : TrainingData
    size : int
        Crops of the batch.
    rng : numpy.random.Generator
    share : float
        From 0 (all as they come) to 1.

    Returns
    -------
    Tensor, shape (size, C, *crop), float32
    """
    chosen = round(size * share)
    if chosen == 0:
        return data.batch(size, rng)
    drawn = data.batch(size - chosen + chosen * DRAWN, rng)
    plain, candidates = drawn[: size - chosen], drawn[size - chosen :]
    best = structure(candidates).view(chosen, DRAWN).argmax(1)
    kept = candidates[best + DRAWN * torch.arange(chosen, device=best.device)]
    return torch.cat([plain, kept])


def structure(crops: Tensor) -> Tensor:
    """Return the standard deviation of the means of blocks within each crop (B, C, *sides): shape (B,)."""
    pool = torch.nn.functional.avg_pool2d if crops.ndim == 4 else torch.nn.functional.avg_pool3d
    means = pool(crops, [min(BLOCK, side) for side in crops.shape[2:]])
    return means.flatten(2).std(2, correction=0).mean(1)
