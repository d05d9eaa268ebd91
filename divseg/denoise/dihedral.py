"""The eight quarter turns and flips of an image: test-time augmentation and training crops share them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COUNT = 8


def transform(pixels: NDArray[Any], index: int) -> NDArray[Any]:
    """Turn the last two axes by `index` quarter turns, and flip them for 4 to 7; a view of the pixels."""
    turned = np.rot90(pixels, index % 4, axes=(-2, -1))
    return turned[..., ::-1, :] if index >= 4 else turned


def undo(batch: Tensor, index: int) -> Tensor:
    """Flip and turn back what was computed from transformed pixels."""
    if index >= 4:
        batch = batch.flip(-2)
    return torch.rot90(batch, -(index % 4), dims=(-2, -1))
