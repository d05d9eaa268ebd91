"""The factor by which an image is resized so that its objects have the size that a network knows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SCALES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Factors that are tried, about a square root of 2 apart."""


def surest_scale(probabilities: Callable[[float], NDArray[np.floating]]) -> float:
    """Return the factor at which a network is surest of the objects that it finds.

    The object probability of StarDist is the distance of a pixel to the nearest background in units of the largest
    such distance in its object. A network that meets objects of a size that it was not trained on finds pieces of
    them, or several as one, and gives those less.

    Parameters
    ----------
    probabilities : callable
        Returns the probabilities of the objects that are found at a factor, shape (N,).

    Returns
    -------
    float
        One of :data:`SCALES`, by the mean probability; 1 if nothing is found at any of them.
    """
    found = {scale: probabilities(scale) for scale in SCALES}
    means = {scale: float(p.mean()) for scale, p in found.items() if p.size}
    return max(means, key=lambda scale: means[scale]) if means else 1.0
