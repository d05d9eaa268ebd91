"""Fusion by a majority vote of the pixels: the simplest baseline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.consensus.hypotheses import Fused
from divseg.consensus.samples import LabelStack


def fuse_majority(stack: LabelStack, *, weights: NDArray[np.float64] | None = None) -> Fused:
    """Take the pixels that are foreground in more than half of the samples; face-connected pieces are objects.

    This is the Bayes estimate of the foreground under the loss per pixel. It knows no objects: where
    samples disagree about the border between touching objects, these merge.

    Parameters
    ----------
    stack : LabelStack
    weights : float64 array, shape (K,), optional
        Weight of each sample's vote, in the order of the stack, with sum 1.
    """
    if weights is None:
        share = stack.foreground.reshape(stack.volume).astype(float)
    else:
        share = np.zeros(stack.volume)
        for k, weight in enumerate(weights):
            share += weight * (stack.decode(k) > 0)
    # float32 shares of K samples are exact to 1e-7
    labels, _ = ndi.label(share > 0.5 + 1e-6)
    return Fused(labels.astype(np.int32))
