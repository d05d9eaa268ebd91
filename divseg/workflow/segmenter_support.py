"""How well posterior samples support a segmenter: objects found again, variance explained, edges met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi

from divseg.io.defects import within
from divseg.metrics import evaluate
from divseg.segment import Segmenter
from divseg.segment.outlying import without_outlying
from divseg.segment.thresholding import ThresholdSegmenter

AGAIN = 0.8
"""IoU at which an object of one sample is found again in the next: its outline is reproducible, not only its place."""

DARKEST = 1.0
"""Percentile of the pixels that counts as dark, where roots are taken."""

SHARPEST = 0.5
"""Width of smoothing in pixels up to which it counts as none."""

OFFSET = 1e-3
"""Added before a root is taken, as a fraction of the range."""


class Support(NamedTuple):
    """What the samples of one image say of a segmenter."""

    again: float
    """Objects of one sample that are found again in the next with an IoU of at least `AGAIN`."""
    explained: float
    """Variance of the mean sample that the labels explain, as a fraction."""
    edges: float
    """Gradient of the root of intensities on the outlines of objects, relative to its mean over the image."""
    n_objects: float
    """Mean number of objects of a sample."""
    sharpness: float
    """1 for the least smoothing that is tried, falling with its width: smoothing makes samples agree by itself."""


class Judged:
    """The samples of an image, with what all segmenters are judged by.

    Parameters
    ----------
    samples : float array, shape (K, Y, X) or (K, Z, Y, X)
        Posterior samples.
    valid : bool array, shape (Y, X), optional
        False where a pixel is no data.
    distance : float, optional
        Distance of the planes of a volume in units of the pixel size.
    """

    def __init__(
        self, samples: NDArray[np.float32], valid: NDArray[np.bool_] | None = None, distance: float | None = None
    ) -> None:
        self.samples, self.valid, self.distance = samples, valid, distance
        self.mean = samples.mean(axis=0)
        self._even = without_outlying(self.mean, valid, 0.0)[0]
        self._gradient = ndi.gaussian_gradient_magnitude(root_of(self._even, valid), 1.0)
        self._usual = float(within(self._gradient, valid).mean())

    def support(self, segment: Segmenter) -> Support:
        """Return how well the samples support a segmenter."""
        fitted = self._fitted(segment)
        masks = [np.asarray(labels) for labels in fitted(self.samples)]
        labels = np.asarray(fitted(self.mean))
        again = float(np.mean([evaluate(a, b, thresholds=AGAIN).tp[0] for a, b in pairwise(masks)]))
        return Support(
            again,
            explained_variance(within(self._even, self.valid), within(labels, self.valid)),
            self._edges(labels),
            float(np.mean([m.max() for m in masks])),
            sharpness(segment),
        )

    def labels(self, segment: Segmenter) -> NDArray[np.integer]:
        """Return the label image that a segmenter makes of the mean sample."""
        return np.asarray(self._fitted(segment)(self.mean))

    def _fitted(self, segment: Segmenter) -> Segmenter:
        return segment.within(self.valid).spaced(self.distance).fit(self.mean)

    def _edges(self, labels: NDArray[np.integer]) -> float:
        size = (3,) * labels.ndim
        outline = (ndi.maximum_filter(labels, size) != labels) | (ndi.minimum_filter(labels, size) != labels)
        if self.valid is not None:
            outline &= self.valid
        return float(self._gradient[outline].mean()) / self._usual if outline.any() and self._usual > 0 else 0.0


def sharpness(segment: Segmenter) -> float:
    """Return `SHARPEST` by the width of a thresholding's smoothing, at most 1; 1 of segmenters of other kinds."""
    width = segment.options.smooth if isinstance(segment, ThresholdSegmenter) else 0.0
    return SHARPEST / max(width, SHARPEST)


def root_of(image: NDArray[np.floating], valid: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the root of an image's intensities above its dark pixels, in which photon noise is about even.

    Parameters
    ----------
    image : float array, shape (Y, X)
    valid : bool array, shape (Y, X), optional
        False where a pixel is no data.

    Returns
    -------
    float64 array, shape (Y, X)
    """
    known = within(image, valid)
    dark = float(np.percentile(known, DARKEST))
    return np.sqrt(np.maximum(image - dark, 0.0, dtype=np.float64) + OFFSET * (float(known.max()) - dark))


def explained_variance(image: ArrayLike, labels: ArrayLike) -> float:
    """Share of an image's variance that its labels explain, with one level for each label, background included.

    Parameters
    ----------
    image : float array
    labels : array of integers, same shape

    Returns
    -------
    float
        In [0, 1]; 0 for a constant image.
    """
    values, places = np.asarray(image, np.float64).ravel(), np.asarray(labels).ravel()
    values = values - values.mean()
    total = float(values @ values)
    sizes = np.bincount(places)
    sums = np.bincount(places, weights=values)
    between = float((sums[sizes > 0] ** 2 / sizes[sizes > 0]).sum())
    return min(between / total, 1.0) if total > 0 else 0.0


def measure_support(
    names: Sequence[str],
    judged: Sequence[Judged],
    make: Callable[[str], Segmenter],
    step: Callable[[str], None] | None = None,
) -> NDArray[np.float64]:
    """Return the support of every segmenter by every image, shape (segmenters, images, fields of `Support`).

    Parameters
    ----------
    names : sequence of str
        Segmenters.
    judged : sequence of Judged
        Images.
    make : callable
        Makes a segmenter of its name.
    step : callable, optional
        Told which segmenter begins.
    """
    rows = []
    for name in names:
        if step is not None:
            step(name)
        segment = make(name)
        rows.append([image.support(segment) for image in judged])
    return np.array(rows, np.float64)
