"""Whether an object differs from the background around it: its signal-to-noise ratio, and its contrast."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi

from divseg.consensus.table import diameter

MARGIN = 1.5
"""Pixels around an object that belong to its blurred border, not to its background."""

LEAST_WIDTH = 8.0
"""Pixels around an object in which its background is looked for, at least; more around objects of greater diameter."""

LEAST_PIXELS = 20
"""Pixels of background that are needed around an object; the whole background is taken for objects with fewer."""


class Contrast(NamedTuple):
    """How objects differ from their background; float64 arrays of shape (n,), NaN if no pixel is background."""

    snr: NDArray[np.float64]
    """Difference in the noisy image, in standard errors."""
    contrast: NDArray[np.float64]
    """Difference in the posterior mean, in standard deviations of a background pixel of a sample."""


def measure_contrast(labels: NDArray[np.integer], noisy: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Contrast:
    """Measure how objects differ from the background around them.

    A threshold divides every image in two, also one of nothing but noise, and a network that follows the noise a little
    gives samples that agree on where. Two things then give it away:

    - ``snr``: in the noisy image itself the object is no brighter than chance makes it. The difference in standard
      errors is the signal-to-noise ratio of the detection of an object of known place and shape (Rose, JOSA 38, 1948,
      who finds that about 5 are needed).
    - ``contrast``: the object is no brighter than the background varies from pixel to pixel of a sample: by the
      variance of the posterior mean, plus the mean posterior variance of a pixel (law of total variance).

    Uneven light is not an object: before, a polynomial of second degree that objects and background have in common
    is taken off (:func:`level`). The background of an object are the pixels outside of all objects that are nearest to
    it, from :data:`MARGIN` to its diameter (at least :data:`LEAST_WIDTH`) away.

    Parameters
    ----------
    labels : integer array, shape (Y, X) or (Z, Y, X)
        Objects 1..n, 0 = background.
    noisy, mean, std : float arrays, same shape
        Noisy image, NaN where it is no data; posterior mean and standard deviation of each pixel. All in intensity
        units.

    Returns
    -------
    Contrast
        Both regardless of sign. 0 for an object that fills the image alone: it stands out from nothing.
    """
    n = int(labels.max(initial=0))
    valid = np.isfinite(np.asarray(noisy, np.float64))
    background = (labels == 0) & valid
    if n == 0 or background.sum() < LEAST_PIXELS:
        return Contrast(*(np.full(n, 0.0 if n == 1 else np.nan),) * 2)
    areas = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    reach = np.maximum(diameter(areas, labels.ndim), LEAST_WIDTH)
    distance, nearest = ndi.distance_transform_edt(labels == 0, return_indices=True)
    owner = labels[tuple(nearest)] - 1
    around = background & (distance > MARGIN) & (distance <= reach[owner])
    count = np.bincount(owner[around], minlength=n)
    few = count < LEAST_PIXELS

    def moments(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance of the background of each object."""
        centre, values = np.bincount(owner[around], image[around], minlength=n), image[background]
        centre = np.where(few, values.mean(), centre / np.maximum(count, 1))
        spread = np.bincount(owner[around], (image[around] - centre[owner[around]]) ** 2, minlength=n)
        return np.asarray(centre, np.float64), np.asarray(np.where(few, values.var(), spread / np.maximum(count, 1)))

    # what is no data gets a level of its own
    groups = np.where(valid, labels, n + 1)
    flat = [level(np.where(valid, np.asarray(image, np.float64), 0.0), groups) for image in (noisy, mean)]
    inside = [np.bincount(labels.ravel(), image.ravel(), minlength=n + 1)[1:] / np.maximum(areas, 1) for image in flat]
    (dark, noise), (base, spread) = (moments(image) for image in flat)
    posterior, _ = moments(np.asarray(std, np.float64) ** 2)
    pixels = np.where(few, background.sum(), count)
    return Contrast(
        _ratio(inside[0] - dark, noise * (1 / np.maximum(areas, 1) + 1 / pixels)),
        _ratio(inside[1] - base, spread + posterior),
    )


def level(image: NDArray[np.float64], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Take off the polynomial of second degree that runs through objects and background alike.

    It is fitted by least squares beside a level of its own for the background and each object (analysis of
    covariance), so that it has no part in the differences between them.

    Parameters
    ----------
    image : float64 array, shape (Y, X) or (Z, Y, X)
    labels : integer array, same shape
        0 = background.

    Returns
    -------
    float64 array, same shape
    """
    places = np.meshgrid(*(np.linspace(-1, 1, side) for side in image.shape), indexing="ij", sparse=True)
    terms = [*places, *(a * b for a, b in combinations_with_replacement(places, 2))]
    group = labels.ravel()
    size = np.maximum(np.bincount(group), 1)

    def within(values: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = np.broadcast_to(values, image.shape).ravel()
        return np.asarray(flat - (np.bincount(group, flat) / size)[group])

    columns = np.stack([within(term) for term in terms])
    weight = np.linalg.lstsq(columns @ columns.T, columns @ within(image), rcond=None)[0]
    return np.asarray(image - sum(w * term for w, term in zip(weight, terms, strict=True)))


def _ratio(difference: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(difference == 0, 0.0, np.abs(difference) / np.sqrt(variance)))
