"""Baselines of fusion: a majority vote of the pixels, and the one sample that agrees best with the others."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.consensus.evidence import THRESHOLDS
from divseg.consensus.graph import sample_pairs
from divseg.consensus.hypotheses import FusionResult
from divseg.consensus.overlaps import iou_edges
from divseg.consensus.stack import LabelStack
from divseg.specs import Number


def fuse_majority(stack: LabelStack) -> FusionResult:
    """Take the pixels in the foreground of more than half of the samples' weight; face-connected pieces are objects.

    This is the Bayes estimate of the foreground under the loss per pixel. Touching objects merge if the samples
    disagree about the border between them.

    Parameters
    ----------
    stack : LabelStack
    """
    # exactly one half stays so in float32
    labels, _ = ndi.label(stack.foreground.reshape(stack.volume) > 0.5)
    return FusionResult(labels.astype(np.int32))


def fuse_medoid(stack: LabelStack, *, seed: int, links: Annotated[int, Number(2, whole=True)] = 24) -> FusionResult:
    """Take the sample with the highest weighted mean mAP to a random choice of others.

    The estimate of a partition by one of its samples (Dahl 2006). Cheap and always a possible segmentation, but
    a poor estimate: it has the noise of one sample.

    Parameters
    ----------
    stack : LabelStack
    seed : int
        Seed of the choice.
    links : int
        Number of samples that each sample is compared with, see :func:`divseg.consensus.graph.sample_pairs`.
    """
    score = agreement(stack, links, seed)
    if not stack.uniform:
        # copies of a sample agree with it; with equal weights that changes no order
        score = (stack.weights + (1 - stack.weights) * score).round(9)
    return FusionResult(stack.decode(int(np.argmax(score))))


def agreement(stack: LabelStack, links: int, seed: int) -> NDArray[np.float64]:
    """Return the weighted mean mAP of each sample to those it is compared with, shape (K,); two empty ones agree."""
    pairs = sample_pairs(stack.n_samples, links, seed)
    first, second, iou = iou_edges(stack, pairs, 0.5)
    codes = pairs[:, 0] * stack.n_samples + pairs[:, 1]
    pair = np.searchsorted(codes, stack.sample_of[first] * stack.n_samples + stack.sample_of[second])
    both = stack.counts[pairs].sum(axis=1)
    score = np.zeros(len(pairs))
    for threshold in THRESHOLDS:
        tp = np.bincount(pair[iou >= threshold], minlength=len(pairs))
        score += np.divide(tp, both - tp, out=np.ones(len(pairs)), where=both > 0) / len(THRESHOLDS)
    units = stack.units[pairs[:, ::-1]].ravel()  # each sample is given the weight of the other one
    total = np.bincount(pairs.ravel(), units * np.repeat(score, 2), minlength=stack.n_samples)
    met = np.bincount(pairs.ravel(), units, minlength=stack.n_samples)
    # sums in another order differ in the last digits, which must not decide
    return np.asarray((total / np.maximum(met, 1)).round(9))
