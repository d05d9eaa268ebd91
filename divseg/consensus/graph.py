"""The graph of objects across samples: which objects could be the same physical object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divseg.consensus.overlaps import iou_edges
from divseg.consensus.stack import LabelStack

IOU_FLOOR = 0.1
"""Objects of two samples are linked above this IoU."""

CLIP = (0.02, 0.98)
"""IoU values are clipped to this range before they are read as probabilities."""


@dataclass(frozen=True, eq=False)
class ObjectGraph:
    """Objects of all samples and the log-odds that linked ones are the same object.

    Attributes
    ----------
    sample : int64 array, shape (N,)
        Sample of each object; two objects of one sample are never the same.
    first, second : int64 arrays, shape (E,)
        Linked objects, of different samples.
    weight : float64 array, shape (E,)
        log(p / (1 - p)) with p the clipped IoU, times the weights of both samples: positive if the two are
        more likely the same object than not.
    """

    sample: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float64]

    @property
    def n_objects(self) -> int:
        """Number of objects."""
        return len(self.sample)


def sample_pairs(n_samples: int, links: int, seed: int) -> NDArray[np.int64]:
    """Return the pairs of samples to compare: a union of random Hamiltonian cycles.

    A union of random cycles is connected and, with high probability, an expander: every object meets enough
    of its counterparts while the number of comparisons stays linear in the number of samples.

    Parameters
    ----------
    n_samples : int
        Number of samples K.
    links : int
        Number of samples that each sample is compared with (degree of the graph), rounded down to an even number;
        all others if K <= links + 1.
    seed : int
        Seed of the cycles.

    Returns
    -------
    int64 array, shape (G, 2)
        Distinct pairs k < l in ascending order.
    """
    if n_samples <= links + 1:
        return np.argwhere(np.triu(np.ones((n_samples, n_samples), bool), 1))
    rng = np.random.default_rng(seed)
    cycles = [rng.permutation(n_samples) for _ in range(links // 2)]
    pairs = np.concatenate([np.stack([c, np.roll(c, -1)], axis=1) for c in cycles])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def object_graph(stack: LabelStack, links: int, seed: int) -> ObjectGraph:
    """Link the objects of compared samples by the log-odds of their IoU, times the weights of both samples.

    That is the sum over all pairs of copies, with as many copies of a sample as it has weight units. The
    mean weight is 1, so that equal weights leave the log-odds as they are.
    """
    pairs = sample_pairs(stack.n_samples, links, seed)
    first, second, iou = iou_edges(stack, pairs, IOU_FLOOR)
    p = np.clip(iou, *CLIP)
    weight = stack.object_units * (stack.n_samples / stack.total)
    return ObjectGraph(stack.sample_of, first, second, np.log(p / (1 - p)) * (weight[first] * weight[second]))
