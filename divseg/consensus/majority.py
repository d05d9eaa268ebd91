"""Fusion by a majority vote of the pixels: the simplest baseline."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from divseg.consensus.hypotheses import Fused
from divseg.consensus.stack import LabelStack


def fuse_majority(stack: LabelStack) -> Fused:
    """Take the pixels in the foreground of more than half of the samples' weight; face-connected pieces are objects.

    This is the Bayes estimate of the foreground under the loss per pixel. It knows no objects: where
    samples disagree about the border between touching objects, these merge.

    Parameters
    ----------
    stack : LabelStack
    """
    # exactly one half stays so in float32
    labels, _ = ndi.label(stack.foreground.reshape(stack.volume) > 0.5)
    return Fused(labels.astype(np.int32))
