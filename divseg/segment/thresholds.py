"""Thresholds: one for an image, from its histogram, or one for each pixel, from its surroundings.

Every rule that takes one threshold works on the same histogram of `BINS` bins over the image's robust range, so that
a few hot pixels cannot squeeze everything else into one bin, and gives the same objects after ``a * image + b`` with
a > 0. ``skimage.filters`` has the same rules on 256 bins over the full range; each docstring says how far they differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.segment.options import ThresholdOptions

BINS = 1024
TAIL = 0.006
"""Fraction of the pixels at either end that may lie far outside."""

_ITERATIONS = 1000

SAUVOLA_RANGE = 0.5
"""R of Sauvola's formula: the largest standard deviation that values between 0 and 1 can have."""


@dataclass(frozen=True, eq=False)
class Level:
    """What separates foreground from background.

    Attributes
    ----------
    low : float or float array of the image's shape
        Pixels above it are foreground, in the image's units; infinite if there is nothing to find.
    high : float, optional
        With hysteresis: only regions that also hold a pixel above this are foreground.
    """

    low: float | NDArray[np.floating]
    high: float | None = None


def find_level(
    image: NDArray[np.floating], method: str, options: ThresholdOptions, valid: NDArray[np.bool_] | None = None
) -> Level:
    """Choose the level of an image.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        Finite values.
    method : str
        A name of :data:`divseg.segment.options.METHODS`.
    options : ThresholdOptions
        Options of the method.
    valid : bool array, shape of `image`, optional
        What counts; by default all pixels.

    Returns
    -------
    Level
        Infinite for an image of one value, unless the user fixed the level.
    """
    if isinstance(options.threshold, float):
        return Level(options.threshold)
    if isinstance(options.low, float) and isinstance(options.high, float):
        return Level(options.low, options.high)
    data = image if valid is None else image[valid]
    counts = histogram(data)
    if counts is None:
        return Level(np.inf)
    if method in RULES:
        return Level(RULES[method](counts))
    if method == "local":
        return Level(local_level(image, options.window, options.offset, valid))
    if method == "sauvola":
        return Level(sauvola_level(image, options.window, options.k, valid))
    middle = otsu(counts)
    above = data > middle
    back, fore = float(data[~above].mean(dtype=np.float64)), float(data[above].mean(dtype=np.float64))
    return Level(middle - options.band * (middle - back), middle + options.band * (fore - middle))


def foreground(image: NDArray[np.floating], level: Level, connectivity: int) -> NDArray[np.bool_]:
    """Return the pixels above a level.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        In the units of `level`.
    level : Level
        With ``high``, of the regions above ``low`` only those that reach above ``high`` are foreground
        (hysteresis; Canny, IEEE Trans. PAMI 8, 1986), as with ``skimage.filters.apply_hysteresis_threshold``, which
        knows no other connectivity than 1.
    connectivity : int
        What makes a region, 1..ndim.

    Returns
    -------
    bool array, shape of `image`
    """
    mask = image > level.low
    if level.high is None:
        return mask
    regions, n = ndi.label(mask, ndi.generate_binary_structure(image.ndim, connectivity))
    strong = np.zeros(n + 1, bool)
    strong[regions[image > level.high]] = True
    strong[0] = False
    return strong[regions]


class Histogram(NamedTuple):
    """Counts of the intensities of an image.

    Attributes
    ----------
    counts : float64 array, shape (`BINS`,)
        Number of pixels in each bin; what lies outside the range is in the first and last.
    low, width : float
        Lower end of the first bin and width of a bin, in the image's units.
    """

    counts: NDArray[np.float64]
    low: float
    width: float

    @property
    def means(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Fraction and mean (in bins) of the pixels up to and including each bin, and of those above it."""
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
    """Return the lower and upper end of an image's intensities without far outliers.

    The range ends at the extremes, but no farther beyond the quantiles `TAIL` and 1 - `TAIL` than these are from
    each other. None if all values are the same, up to rounding.
    """
    values = image.ravel()
    lowest, highest = float(values.min()), float(values.max())
    if highest - lowest <= 4 * float(np.finfo(image.dtype).eps) * max(abs(lowest), abs(highest)):
        return None
    k = int(TAIL * (values.size - 1))
    parts = np.partition(values, (k, values.size - 1 - k))
    inner_low, inner_high = float(parts[k]), float(parts[values.size - 1 - k])
    spread = inner_high - inner_low
    if spread == 0:  # fewer foreground pixels than there may be outliers
        return lowest, highest
    return max(lowest, inner_low - spread), min(highest, inner_high + spread)


def histogram(image: NDArray[np.floating]) -> Histogram | None:
    """Count the intensities of an image within its robust range; None if they are all the same."""
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
    """Maximal variance between the classes (Otsu, IEEE Trans. SMC 9, 1979, eq. 18), as an intensity.

    ``skimage.filters.threshold_otsu`` gives the same up to a few of its bins, except that hot pixels move it.
    """
    below, low, above, high = h.means
    between = np.nan_to_num(below * above * (high - low) ** 2)[:-1]
    # the middle of the plateau: between two separate heaps every edge is as good
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return h.value((best[0] + best[-1]) / 2 + 1)


def li(h: Histogram) -> float:
    """Minimal cross entropy by the fixed-point iteration of Li and Tam (Pattern Recognition Lett. 19, 1998, eq. 9).

    Intensities are counted from the lower end of the range, which makes the rule indifferent to an offset.
    ``skimage.filters.threshold_li`` iterates on the pixels themselves and gives the same to one bin, except that hot
    pixels move it.
    """
    _, low, _, high = h.means
    edge = _mean_edge(h)
    for _ in range(_ITERATIONS):
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
    """Midway between the means of the two classes (Ridler and Calvard, IEEE Trans. SMC 8, 1978).

    Iterated from the mean of the image on. ``skimage.filters.threshold_isodata`` returns the lowest of all such points,
    which is the same to a few of its bins if there is only one.
    """
    _, low, _, high = h.means
    edge = _mean_edge(h)
    for _ in range(_ITERATIONS):
        b = min(max(round(edge), 1), BINS - 1) - 1
        new = (low[b] + high[b]) / 2
        if not np.isfinite(new) or abs(new - edge) < 0.5:
            break
        edge = new
    return h.value(edge)


def triangle(h: Histogram) -> float:
    """Bin farthest below the line from the peak to the end of the longer tail.

    Zack, Rogers and Latt, J. Histochem. Cytochem. 25, 1977.

    The histogram is smoothed first, by 4 bins or more if the image has few grey levels: empty bins between those would
    be taken for the valley. ``skimage.filters.threshold_triangle`` does not smooth and can differ by a tenth of the
    range in noisy histograms.
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
    """Maximal correlation of the classes (Yen, Chang and Chang, IEEE Trans. Image Process. 4, 1995, eq. 4).

    ``skimage.filters.threshold_yen`` gives the same up to a few of its bins, except that hot pixels move it.
    """
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


def local_level(
    image: NDArray[np.floating], window: int, offset: float, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.floating]:
    """Return the mean of each pixel's surroundings plus a margin.

    That is ``skimage.filters.threshold_local(image, window, "mean", -margin)``.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        Brighter objects on a darker background.
    window : int
        Side in pixels of the square (cube) of surroundings, larger than an object.
    offset : float
        Margin in standard deviations of the image around its local mean. Without a margin, half of an empty background
        would be foreground.
    valid : bool array, shape of `image`, optional
        What the standard deviation is taken of; by default all pixels.

    Returns
    -------
    array, shape of `image`
        Level above which a pixel is foreground.
    """
    mean = ndi.uniform_filter(image, window)
    around = image - mean
    return mean + np.asarray(offset * float((around if valid is None else around[valid]).std()), image.dtype)


def sauvola_level(
    image: NDArray[np.floating], window: int, k: float, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.floating]:
    """Return Sauvola's threshold, mirrored for bright objects on a dark background.

    Sauvola and Pietikainen (Pattern Recognition 33, 2000, eq. 5) call dark text on bright paper everything below
    ``m (1 + k (s / R - 1))``. On the negative ``u = 1 - x`` of an image scaled to 0..1 this becomes
    ``x > m + (1 - m) k (1 - s / R)``: near the local mean m where the local standard deviation s is large,
    well above it in flat surroundings. ``skimage.filters.threshold_sauvola`` of ``u`` with ``r=SAUVOLA_RANGE`` is the
    mirrored threshold, except within half a window of the edge, where it extends the image in another way.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        Brighter objects on a darker background; scaled by its robust range.
    window : int
        Side in pixels of the square (cube) of surroundings.
    k : float
        Weight of the contrast; more gives smaller objects.
    valid : bool array, shape of `image`, optional
        What the range is taken of; by default all pixels.

    Returns
    -------
    array, shape of `image`
        Level above which a pixel is foreground, in the image's units.
    """
    ends = robust_range(image if valid is None else image[valid])
    if ends is None:
        return np.full_like(image, np.inf)
    low, high = ends
    scaled = np.clip((image - low) / (high - low), 0.0, 1.0)
    mean = ndi.uniform_filter(scaled, window)
    spread = np.sqrt(np.maximum(ndi.uniform_filter(scaled * scaled, window) - mean * mean, 0.0))
    level = mean + (1 - mean) * k * (1 - np.minimum(spread / SAUVOLA_RANGE, 1.0))
    return (low + level * (high - low)).astype(image.dtype)
