"""How many candidates suppression can take: it compares each with all near it.

On an image unlike the training data (a white background) every pixel can become a candidate, and StarDist's
suppression, which is quick on nuclei, then takes hours: the comparisons grow with the square of the density.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from divseg.errors import DivsegWarning
from divseg.segment.stardist.predict import Candidates

_COMPARISONS = {2: 2e9, 3: 2e8}
"""Bearable number: about half a minute on one core where nothing is suppressed early. Pairs cost more in 3D."""


def bearable(found: Candidates, shape: tuple[int, ...]) -> int:
    """Return how many candidates of that size and image can be compared in bearable time.

    Candidates are compared where their discs (balls) meet: n candidates of radius r in an area A make about
    ``n * n * pi * (2 r)**2 / A`` comparisons.

    Parameters
    ----------
    found : Candidates
    shape : tuple of int
        Of the image.
    """
    if not len(found):
        return 0
    ndim = len(shape)
    reach = 2 * float(np.percentile(found.dist.max(1), 99))
    near = min({2: math.pi, 3: 4 / 3 * math.pi}[ndim] * reach**ndim / math.prod(shape), 1.0)
    return max(int(math.sqrt(_COMPARISONS[ndim] / max(near, 1e-12))), 1)


def keep_best(
    found: Candidates, most: int | None, shape: tuple[int, ...], grid: tuple[int, ...], what: str
) -> Candidates:
    """Keep the most probable candidates where there are too many, and say so.

    Parameters
    ----------
    found : Candidates
    most : int, optional
        How many may stay; by default what is :func:`bearable`.
    shape, grid : tuple of int
        Of the image and of the network.
    what : str
        Name of the image for the warning.
    """
    limit = bearable(found, shape) if most is None else most
    if len(found) <= limit:
        return found
    best = np.sort(np.argsort(-found.prob, kind="stable")[:limit])
    pixels = math.prod(-(-n // g) for n, g in zip(shape, grid, strict=True))
    warnings.warn(
        f"{what}: {len(found):,} of {pixels:,} grid pixels are object candidates; kept the {limit:,} most probable "
        f"(probability above {found.prob[best].min():.3f}) so that suppression ends in bearable time; if the "
        "background is bright, invert the image, otherwise raise prob or max_candidates",
        DivsegWarning,
        stacklevel=2,
    )
    return Candidates(found.prob[best], found.dist[best], found.points[best])
