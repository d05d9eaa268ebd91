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
    is taken off (:class:`Light`), and what it may be wrong by adds to the standard error. The background of an object
    are the pixels outside of all objects that are nearest to it, from :data:`MARGIN` to its diameter (at least
    :data:`LEAST_WIDTH`) away.

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

    def difference(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how much each object is above its background, and the variance of that background."""
        centre, spread = moments(image)
        return np.bincount(labels.ravel(), image.ravel(), minlength=n + 1)[1:] / np.maximum(areas, 1) - centre, spread

    light = Light(np.where(valid, labels, n + 1))  # what is no data gets a level of its own
    known = [np.where(valid, np.asarray(image, np.float64), 0.0) for image in (noisy, mean)]
    (in_noisy, noise), (in_mean, spread) = (difference(light.taken_off(image)) for image in known)
    posterior, _ = moments(np.asarray(std, np.float64) ** 2)
    # what the light may be wrong by: most for an object that is as large as its slopes
    slopes = np.stack([difference(np.broadcast_to(term, labels.shape))[0] for term in light.terms])
    unsure = np.einsum("ik,ij,jk->k", slopes, light.covariance, slopes)
    pixels = np.where(few, background.sum(), count)
    return Contrast(
        _ratio(in_noisy, noise * (1 / np.maximum(areas, 1) + 1 / pixels + unsure)),
        _ratio(in_mean, spread + posterior),
    )


class Light:
    """A polynomial of second degree that runs through objects and background alike.

    It is fitted by least squares beside a level of its own for the background and each object (analysis of
    covariance), so that it has no part in the differences between them.

    Parameters
    ----------
    labels : integer array, shape (Y, X) or (Z, Y, X)
        0 = background.

    Attributes
    ----------
    terms : list of float64 arrays
        The monomials of first and second degree, each of a shape that broadcasts to that of the labels.
    covariance : float64 array, shape (T, T)
        Covariance of their coefficients, if pixels have independent noise of variance 1.
    """

    def __init__(self, labels: NDArray[np.integer]) -> None:
        self._group = labels.ravel()
        self._size = np.maximum(np.bincount(self._group), 1)
        places = np.meshgrid(*(np.linspace(-1, 1, side) for side in labels.shape), indexing="ij", sparse=True)
        self.terms = [*places, *(a * b for a, b in combinations_with_replacement(places, 2))]
        self._columns = np.stack([self._within(np.broadcast_to(term, labels.shape)) for term in self.terms])
        self.covariance = np.linalg.pinv(self._columns @ self._columns.T, hermitian=True)

    def _within(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the pixels, less the mean of the object or background that they belong to."""
        flat = image.ravel()
        return np.asarray(flat - (np.bincount(self._group, flat) / self._size)[self._group])

    def taken_off(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return an image (float64, shape of the labels) less the polynomial that fits it."""
        weights = self.covariance @ (self._columns @ self._within(image))
        return np.asarray(image - sum(w * term for w, term in zip(weights, self.terms, strict=True)))


def _ratio(difference: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(difference == 0, 0.0, np.abs(difference) / np.sqrt(variance)))
