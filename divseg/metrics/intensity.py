"""Intensity of objects, and of the background around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi

RING = (2.0, 7.0)
"""The background of an object: pixels outside of all objects, farther than the first number of pixels from each, and at
most the second from this object, the nearest."""


class Regions:
    """Pixels of the objects of a label image, and of the rings around them, in the order of the objects.

    Parameters
    ----------
    labels : integer array, shape (Y, X) or (Z, Y, X)
        0 = background.
    n : int
        Largest label.
    valid : bool array, same shape, optional
        Pixels that are data; the others are neither measured nor background.
    distance : float, optional
        Distance of the planes of a volume in units of the pixel size, 1 by default.
    """

    def __init__(
        self,
        labels: NDArray[np.integer],
        n: int,
        valid: NDArray[np.bool_] | None = None,
        distance: float | None = None,
    ) -> None:
        self.n, self.shape = n, labels.shape
        known = np.ones(labels.shape, bool) if valid is None else valid
        inside = np.flatnonzero((labels > 0) & known)
        self.objects = _Groups(inside, labels.ravel()[inside] - 1, n)
        spacing = (distance or 1.0, 1.0, 1.0)[-labels.ndim :]
        away, nearest = ndi.distance_transform_edt(labels == 0, sampling=spacing, return_indices=True)
        around = np.flatnonzero((away > RING[0]) & (away <= RING[1]) & known)
        at = tuple(axis.ravel()[around] for axis in nearest)
        self.rings = _Groups(around, labels[at] - 1 if n else around[:0], n)

    def background(self, image: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the mean of an image in the ring around each object; NaN if the ring has no pixel."""
        return self.rings.mean(image.ravel()[self.rings.pixels])

    def measure(self, image: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return statistics of each object in one image.

        Returns
        -------
        dict of str to float64 array, shape (n,)
            ``mean median std`` (with n) ``sum``, and of the ring around the object ``background``; ``corrected`` is
            mean less background, ``corrected_sum`` that times the number of pixels. NaN without pixels.
        """
        pixels = np.asarray(image, np.float64)
        values, count = pixels.ravel()[self.objects.pixels], self.objects.count
        mean, background = self.objects.mean(values), self.background(pixels)
        return {
            "mean": mean,
            "median": self.objects.median(values),
            "std": np.sqrt(self.objects.mean((values - mean[self.objects.owner]) ** 2)),
            "sum": mean * count,
            "background": background,
            "corrected": mean - background,
            "corrected_sum": (mean - background) * count,
        }


class _Groups:
    """Pixels of several groups, those of one group side by side.

    Attributes
    ----------
    pixels : int array, shape (P,)
        Positions in the flat image.
    owner : int array, shape (P,)
        Group of each, ascending.
    count : int array, shape (n,)
        Pixels of each group.
    """

    def __init__(self, pixels: NDArray[np.int64], owner: NDArray[np.integer], n: int) -> None:
        order = np.argsort(owner, kind="stable")
        self.pixels, self.owner = pixels[order], owner[order]
        self.count = np.bincount(owner, minlength=n)[:n]
        self._start = np.concatenate([[0], np.cumsum(self.count)])

    def mean(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the mean of the values of each group; NaN if it is empty."""
        total = np.bincount(self.owner, values, minlength=len(self.count))
        return np.divide(total, self.count, out=np.full(len(self.count), np.nan), where=self.count > 0)

    def median(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the median of the values of each group; NaN if it is empty."""
        if not len(values):
            return np.full(len(self.count), np.nan)
        ordered = values[np.lexsort((values, self.owner))]
        some = self.count > 0
        low = np.where(some, self._start[:-1] + (self.count - 1) // 2, 0)
        high = np.where(some, self._start[:-1] + self.count // 2, 0)
        return np.where(some, (ordered[low] + ordered[high]) / 2, np.nan)


def channel_columns(
    regions: Regions, image: ArrayLike, channels: Sequence[str], prefix: str = "raw"
) -> dict[str, NDArray[np.float64]]:
    """Return columns of the statistics of every channel of an image.

    Parameters
    ----------
    regions : Regions
        The objects.
    image : array_like, shape (C, Y, X) or (C, Z, Y, X)
        The channels.
    channels : sequence of str
        Their names; the columns of a channel named ``""``, the only one, are without it.
    prefix : str
        What the names of the columns begin with, such as ``raw_mean`` or ``raw_DAPI_mean``.
    """
    stacked = np.asarray(image)
    parts = [f"{prefix}_{name}_" if name else f"{prefix}_" for name in channels]
    measured = [regions.measure(channel) for channel in stacked]
    return {part + name: values for part, one in zip(parts, measured, strict=True) for name, values in one.items()}
