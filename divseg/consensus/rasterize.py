"""From chosen hypotheses, whose masks may overlap, to one label image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from skimage.measure import label as label_components

from divseg.consensus.cluster_masks import ClusterMasks

MAX_ROUNDS = 5


def rasterize(hypotheses: ClusterMasks, chosen: NDArray[np.bool_], volume: tuple[int, int, int]) -> NDArray[np.int32]:
    """Give every pixel to the chosen hypothesis that has most votes for it.

    A vote is the weight of the samples in which the pixel belongs to the object: existence times fraction of votes.
    Only the largest connected piece of each object is kept, and objects left with less than half of their
    mask are dropped and their pixels given to the others.

    Parameters
    ----------
    hypotheses : ClusterMasks
    chosen : bool array, shape (C,)
    volume : tuple of three int
        Shape of the image.

    Returns
    -------
    int32 array, shape (Z, Y, X)
        Hypothesis + 1, or 0.
    """
    chosen, votes = chosen.copy(), hypotheses.votes
    for _ in range(MAX_ROUNDS):
        image = np.zeros(volume, np.int32)
        strength = np.zeros(volume, np.int32)
        _rasterize(
            np.flatnonzero(chosen),
            votes.counts,
            hypotheses.min_votes,
            votes.boxes,
            votes.offsets,
            image,
            strength,
        )
        keep_largest_pieces(image)
        left = np.bincount(image.ravel(), minlength=hypotheses.n + 1)[1:]
        slivers = chosen & (2 * left < hypotheses.runs.areas)
        if not slivers.any():
            break
        chosen &= ~slivers
    else:
        image[np.concatenate([[False], slivers])[image]] = 0
    return image


def keep_largest_pieces(image: NDArray[np.int32]) -> None:
    """Set all but the largest connected piece (8- or 26-neighbours) of each label to 0, in place.

    Of equally large pieces the one that a raster scan meets first is kept.
    """
    pieces = label_components(image, connectivity=image.ndim)
    sizes = np.bincount(pieces.ravel())
    if len(sizes) - 1 <= np.count_nonzero(np.bincount(image.ravel())[1:]):
        return
    _, first = np.unique(pieces, return_index=True)
    flat = image.reshape(-1)
    owner = np.zeros(len(sizes), np.int64)
    present = np.unique(pieces)
    owner[present] = flat[first]
    # largest first; a stable sort keeps the scan order among equals
    order = np.argsort(-sizes, kind="stable")
    order = order[owner[order] > 0]
    _, winners = np.unique(owner[order], return_index=True)
    removed = np.ones(len(sizes), bool)
    removed[order[winners]] = False
    image[removed[pieces]] = 0


@njit(cache=True, nogil=True)
def _rasterize(
    chosen: Any, votes: Any, min_votes: Any, boxes: Any, offsets: Any, image: Any, strength: Any
) -> None:  # pragma: no cover - compiled
    for c in chosen:
        box = boxes[c]
        at = offsets[c]
        for z in range(box[0], box[3]):
            for y in range(box[1], box[4]):
                for x in range(box[2], box[5]):
                    if votes[at] >= min_votes[c] and votes[at] > strength[z, y, x]:
                        strength[z, y, x] = votes[at]
                        image[z, y, x] = c + 1
                    at += 1
