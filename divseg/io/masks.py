"""Masks that are not label images as they stand: foreground alone, a plane for each object, no background."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from divseg.errors import DivsegWarning, FileProblem

_WHITE = (255, 65535)
"""Values of foreground in masks that were made to be looked at."""


def separate_objects(
    labels: NDArray[np.signedinteger[Any]], path: str | os.PathLike[str], *, lone: bool = True
) -> NDArray[np.signedinteger[Any]]:
    """Return a label image in which each piece of a mask of foreground is an object.

    Parameters
    ----------
    labels : integer array, shape (Y, X) or (Z, Y, X)
        As read; not changed.
    path : path
        The file, for messages.
    lone : bool
        Take a mask whose only value is 1 for one of foreground, as one whose only value is 255 or 65535 always is.

    Returns
    -------
    array
        `labels` itself if it is a label image. Pieces are 8-connected in 2-D, 26-connected in 3-D.

    Warns
    -----
    DivsegWarning
        If pieces were made objects; or if the mask has no background and one label has most of its border, so that this
        label may be the background.
    """
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if high in (*_WHITE, *((1,) if lone else ())) and bool(((labels == 0) | (labels == high)).all()):
        pieces, n = ndimage.label(labels, np.ones((3,) * labels.ndim))
        if n > 1:
            warnings.warn(
                f"{os.fspath(path)}: a mask of foreground (0 and {high}): each of its {n} connected pieces is taken as "
                "an object; give a label image if objects touch",
                DivsegWarning,
                stacklevel=2,
            )
            return np.asarray(pieces, np.int32)
    if low > 0 and low < high:
        _warn_of_background(labels, path)
    return labels


def _warn_of_background(labels: NDArray[np.signedinteger[Any]], path: str | os.PathLike[str]) -> None:
    edges = [labels.take(k, axis) for axis in range(labels.ndim)[-2:] for k in (0, -1)]
    values, counts = np.unique(np.concatenate([edge.ravel() for edge in edges]), return_counts=True)
    label = int(values[counts.argmax()])
    share = float((labels == label).mean())
    if 2 * counts.max() > counts.sum() and share > 0.25:
        warnings.warn(
            f"{os.fspath(path)}: no pixel is 0, and label {label} has {100 * share:.0f} % of the pixels and most "
            "of the border: it is scored as an object; if it is the background, set it to 0",
            DivsegWarning,
            stacklevel=3,
        )


def join_planes(planes: NDArray[np.signedinteger[Any]], path: str | Path) -> NDArray[np.int32]:
    """Return the label image of a mask with a plane for each object.

    Parameters
    ----------
    planes : integer array, shape (N, Y, X) or (N, Z, Y, X)
        In each plane 0 and one other value.
    path : path
        The file, for messages.

    Returns
    -------
    int32 array, shape (Y, X) or (Z, Y, X)
        Object k is that of plane k - 1; where objects overlap the first one stays.

    Raises
    ------
    FileProblem
        If a plane holds several values: it is a stack of label images.

    Warns
    -----
    DivsegWarning
        If objects overlap.
    """
    labels = np.zeros(planes.shape[1:], np.int32)
    overlap = 0
    for k, plane in enumerate(planes):
        inside = plane != 0
        if inside.any() and bool((plane[inside] != plane.max()).any()):
            raise FileProblem(
                path,
                f"{len(planes)} planes with several labels each, for one image of shape {labels.shape}",
                "give one label image, or a plane for each object",
            )
        overlap += int((inside & (labels > 0)).sum())
        labels[inside & (labels == 0)] = k + 1
    if overlap:
        warnings.warn(
            f"{os.fspath(path)}: objects overlap in {overlap} pixels, which go to the first of them",
            DivsegWarning,
            stacklevel=2,
        )
    return labels
