"""Automatic thresholds from the histogram of an image.

Every rule works on the same histogram of `BINS` bins over the image's robust range, so that a few hot pixels
cannot squeeze everything else into one bin, and gives the same objects after ``a * image + b`` with a > 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

BINS = 1024
TAIL = 0.001
"""Share of the pixels at either end that may lie far outside."""

_STEPS = 1000


class Histogram(NamedTuple):
    """Counts of the intensities of an image.

    Attributes
    ----------
    counts : float64 array, shape (`BINS`,)
        Pixels of each bin; what lies outside the range is in the first and last.
    low, width : float
        Lower end of the first bin and width of a bin, in the image's units.
    """

    counts: NDArray[np.float64]
    low: float
    width: float

    @property
    def means(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Share and mean (in bins) of the pixels up to and including each bin, and of those above it."""
        position = np.arange(len(self.counts)) + 0.5
        p = self.counts / self.counts.sum()
        below, first = np.cumsum(p), np.cumsum(p * position)
        above = np.maximum(1.0 - below, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = first / below, (first[-1] - first) / above
        return below, low, above, high

    def value(self, edge: float) -> float:
        """Intensity of a position counted in bins."""
        return self.low + self.width * edge


def robust_range(image: NDArray[np.floating]) -> tuple[float, float] | None:
    """Return the lower and upper end of what an image's intensities span, but for a few outliers.

    The range ends at the extremes, but no farther beyond the quantiles `TAIL` and 1 - `TAIL` than these are from
    each other. None where all values are the same, up to rounding.
    """
    values = image.ravel()
    lowest, highest = float(values.min()), float(values.max())
    if highest - lowest <= 4 * float(np.finfo(image.dtype).eps) * max(abs(lowest), abs(highest)):
        return None
    k = int(TAIL * (values.size - 1))
    parts = np.partition(values, (k, values.size - 1 - k))
    inner_low, inner_high = float(parts[k]), float(parts[values.size - 1 - k])
    spread = inner_high - inner_low
    if spread == 0:  # fewer foreground pixels than outliers are allowed
        return lowest, highest
    return max(lowest, inner_low - spread), min(highest, inner_high + spread)


def histogram(image: NDArray[np.floating]) -> Histogram | None:
    """Count the intensities of an image within its robust range; None where they are all the same."""
    ends = robust_range(image)
    if ends is None:
        return None
    low, high = ends
    width = (high - low) / BINS
    # in bins, not in the image's units: ranges of 1e-30 and 1e30 are all the same here
    position = (image.ravel().astype(np.float64) - low) / (high - low) * BINS
    counts = np.bincount(np.clip(position, 0, BINS - 1).astype(np.int16), minlength=BINS)
    return Histogram(counts.astype(np.float64), low, width)


def otsu(h: Histogram) -> float:
    """Maximal variance between the classes (Otsu, IEEE Trans. SMC 9, 1979, eq. 18), as an intensity."""
    below, low, above, high = h.means
    between = np.nan_to_num(below * above * (high - low) ** 2)[:-1]
    # the middle of the plateau: between two separate heaps every edge is as good
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return h.value((best[0] + best[-1]) / 2 + 1)


def li(h: Histogram) -> float:
    """Minimal cross entropy by the fixed-point iteration of Li and Tam (Pattern Recognition Lett. 19, 1998, eq. 9).

    Intensities are counted from the lower end of the range, which makes the rule indifferent to an offset.
    """
    _, low, _, high = h.means
    edge = _mean_edge(h)
    for _ in range(_STEPS):
        b = min(max(round(edge), 1), BINS - 1) - 1
        back, fore = low[b], high[b]
        if not (np.isfinite(back) and np.isfinite(fore)):
            break
        new = (fore - back) / (np.log(fore) - np.log(back))
        if abs(new - edge) < 0.5:
            edge = new
            break
        edge = new
    return h.value(edge)


def isodata(h: Histogram) -> float:
    """Midway between the means of the two classes (Ridler and Calvard, IEEE Trans. SMC 8, 1978), from the mean on."""
    _, low, _, high = h.means
    edge = _mean_edge(h)
    for _ in range(_STEPS):
        b = min(max(round(edge), 1), BINS - 1) - 1
        new = (low[b] + high[b]) / 2
        if not np.isfinite(new) or abs(new - edge) < 0.5:
            break
        edge = new
    return h.value(edge)


def triangle(h: Histogram) -> float:
    """Bin farthest below the line from the peak to the end of the longer tail.

    Zack, Rogers and Latt, J. Histochem. Cytochem. 25, 1977.

    The histogram is smoothed first, by 4 bins or more where the image has few grey levels: empty bins between
    those would be taken for the valley.
    """
    filled = np.flatnonzero(h.counts)
    gap = float(np.median(np.diff(filled)))
    counts = ndi.gaussian_filter1d(h.counts, max(4.0, gap), mode="constant")
    peak, first, last = int(np.argmax(counts)), int(filled[0]), int(filled[-1])
    flipped = peak - first > last - peak
    if flipped:
        counts, peak, last = counts[::-1], BINS - 1 - peak, BINS - 1 - first
    if last == peak:
        return h.value(peak + 0.5)
    x = np.arange(peak, last + 1)
    line = counts[peak] + (counts[last] - counts[peak]) * (x - peak) / (last - peak)
    edge = peak + int(np.argmax(line - counts[peak : last + 1])) + 1
    return h.value(BINS - edge if flipped else edge)


def yen(h: Histogram) -> float:
    """Maximal correlation of the classes (Yen, Chang and Chang, IEEE Trans. Image Process. 4, 1995, eq. 4)."""
    p = h.counts / h.counts.sum()
    below, squares = np.cumsum(p), np.cumsum(p**2)
    rest = np.maximum(squares[-1] - squares, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = 2 * np.log(below * (1 - below)) - np.log(squares * rest)
    score = score[:-1]
    return h.value(int(np.argmax(np.where(np.isfinite(score), score, -np.inf))) + 1)


RULES: dict[str, Callable[[Histogram], float]] = {
    "otsu": otsu,
    "li": li,
    "triangle": triangle,
    "yen": yen,
    "isodata": isodata,
}
"""Rules that take one threshold from the histogram, by name."""


def _mean_edge(h: Histogram) -> float:
    return float((h.counts * (np.arange(BINS) + 0.5)).sum() / h.counts.sum())
