"""Pairs of signal and observation from calibration frames or denoised images, and their photon-transfer line."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.denoise.noise.estimate import PhotonTransfer, kernel_gain, neighbour_correlation
from divseg.errors import InputError

Array = NDArray[np.float32]
Limits = tuple[float | None, float | None]

SMOOTHING = 4.0
"""Width sigma, in pixels, of the Gaussian weights of the neighbours that give a pixel's signal in a smooth frame."""

MAX_PIXELS = 1 << 23
"""Largest number of pixels that is used of one set of frames; more are thinned evenly."""

LEVELS = 32
"""Number of levels of the signal, equally far apart as the exposures of EMVA standard 1288 are."""

MIN_PIXELS = 100
"""Number of pixels that a level must have."""

MISFIT = 0.02
"""Relative error of a level's variance that remains with any number of pixels, because no camera's line is exact."""

_MAX_CLIPPED = 1e-3  # fraction of a level's pixels
_SIDE = 16
_TRUNCATE = 4.0
_KERNEL = np.array([1.0, -2.0, 1.0]) / np.sqrt(6.0)


@dataclass(frozen=True)
class PixelPairs:
    """Signal, observation and variance of pixels, as flat arrays of one length.

    Attributes
    ----------
    level : array
        Value by which pixels are grouped. It is independent of the pixel's own noise, so that a group does not select
        high or low noise; it need not be the signal itself.
    mean, variance : array
        Unbiased estimates for each pixel: their averages over a group lie on the photon-transfer line for any
        distribution of signals within the group, because the line is linear.
    signal, observed : array
        A pair of the joint distribution of signal and observation.
    clipped : array of int8
        -1 for pixels at the detector's floor, 1 for those at its ceiling, 0 for the others.
    correlation : (float, float)
        Correlation of the noise of horizontal and vertical neighbours.
    """

    level: Array
    mean: Array
    variance: Array
    signal: Array
    observed: Array
    clipped: NDArray[np.int8]
    correlation: tuple[float, float] = (0.0, 0.0)

    def __len__(self) -> int:
        return len(self.level)


def join(parts: list[PixelPairs], max_pixels: int) -> PixelPairs:
    """Concatenate, thinned evenly to at most about `max_pixels`."""
    step = max(1, -(-sum(map(len, parts)) // max_pixels))
    names = [f.name for f in fields(PixelPairs) if f.name != "correlation"]
    arrays: dict[str, Any] = {n: np.concatenate([getattr(p, n)[::step] for p in parts]) for n in names}
    sizes = np.array([len(p) for p in parts], dtype=np.float64) + 1e-9
    correlation = np.average([p.correlation for p in parts], axis=0, weights=sizes)
    return PixelPairs(**arrays, correlation=(float(correlation[0]), float(correlation[1])))


def from_smooth(frame: NDArray[np.generic], limits: Limits) -> PixelPairs:
    """Return the pixels of one frame without detail, for example of a defocused field diaphragm.

    The signal of a pixel is the weighted mean of its neighbours, without itself; the residual's variance includes the
    variance of that mean, which is divided out. Blocks with a far larger variance than others of their level (dust,
    edges, hot pixels) and the borders are left out.
    """
    image = np.asarray(frame, dtype=np.float64)
    one = np.ones(image.shape)
    line = _gaussian_line()
    centre = line.max() ** 2
    total = _separable(one, line) - centre
    mean = (_separable(image, line) - centre * image) / total
    excess = (_separable(one, line**2) - centre**2) / total**2
    residual = (image - mean) / np.sqrt(1.0 + excess)
    inside = total > (1.0 - centre) - 1e-9
    variance = np.square(residual)
    inside &= _even_blocks(mean, variance, inside)
    arrays = (mean, image, variance, mean, mean + residual)
    return _flat(inside, arrays, _clipped(image, limits), _neighbours(residual, inside))


def from_stack(frames: NDArray[np.generic], limits: Limits) -> PixelPairs:
    """Return the pixels of a static scene, (N, Y, X) with N >= 2 frames.

    Pixels are grouped by the mean of their neighbours over all frames, which is independent of their own noise, so
    that few frames are enough.
    """
    stack = np.asarray(frames, dtype=np.float64)
    n = len(stack)
    mean = stack.mean(0)
    variance = stack.var(0, ddof=1)
    around = (ndi.uniform_filter(mean, 3, mode="nearest") * 9.0 - mean) / 8.0
    residual = (stack - mean) * np.sqrt(n / (n - 1.0))
    inside = np.ones(mean.shape, bool)
    x, y = np.mean([_neighbours(r, inside) for r in residual[:8]], axis=0)
    clipped = _clipped(stack, limits)
    parts = [
        _flat(inside, (around, mean, variance, mean, mean + r), c, (float(x), float(y)))
        for r, c in zip(residual, clipped, strict=True)
    ]
    return join(parts, MAX_PIXELS)


def from_pair(noisy: NDArray[np.generic], denoised: NDArray[np.generic], limits: Limits) -> PixelPairs:
    """Return the pixels of a noisy image, with their signal from a denoised one.

    A denoised image has errors, which are in the residual: lost detail adds variance, remaining noise removes it. Both
    are mostly coarser than a pixel, so the variance comes from the second difference of the residual along both axes,
    which is blind to slow variation (Immerkaer, "Fast noise variance estimation", 1996), and the mean from the same
    pixels with the same weights.
    """
    x, s = np.asarray(noisy, dtype=np.float64), np.asarray(denoised, dtype=np.float64)
    residual = x - s
    fine = _separable(residual, _KERNEL)
    mean = _separable(x, _KERNEL**2)
    inside = np.zeros(x.shape, bool)
    inside[1:-1, 1:-1] = True
    level = _separable(s, _KERNEL**2)
    correlation = neighbour_correlation(x)
    variance = np.square(fine) / kernel_gain(*correlation, x.size)
    inside &= _even_blocks(level, variance, inside)
    return _flat(inside, (level, mean, variance, s, x), _clipped(x, limits), correlation)


def _flat(
    inside: NDArray[np.bool_],
    arrays: tuple[NDArray[np.float64], ...],
    clipped: NDArray[np.int8],
    correlation: tuple[float, float],
) -> PixelPairs:
    level, mean, variance, signal, observed = (a[inside].astype(np.float32) for a in arrays)
    return PixelPairs(level, mean, variance, signal, observed, clipped[inside], correlation)


def _clipped(image: NDArray[np.float64], limits: Limits) -> NDArray[np.int8]:
    """Mark the pixels at the detector's limits."""
    floor, ceiling = limits
    marked = np.zeros(image.shape, np.int8)
    if floor is not None:
        marked[image <= floor] = -1
    if ceiling is not None:
        marked[image >= ceiling] = 1
    return marked


def _gaussian_line() -> NDArray[np.float64]:
    reach = np.arange(-int(_TRUNCATE * SMOOTHING), int(_TRUNCATE * SMOOTHING) + 1)
    line = np.exp(-0.5 * np.square(reach / SMOOTHING))
    return line / line.sum()


def _separable(image: NDArray[np.float64], line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlate along both axes, zeros outside."""
    return ndi.correlate1d(ndi.correlate1d(image, line, axis=0, mode="constant"), line, axis=1, mode="constant")


def _even_blocks(
    level: NDArray[np.float64], variance: NDArray[np.float64], inside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Mark the pixels of blocks with a variance not far above that of others of their level."""
    rows, columns = (n // _SIDE for n in level.shape)
    if rows * columns < 32:
        return np.ones(level.shape, bool)
    cut = np.s_[: rows * _SIDE, : columns * _SIDE]
    shape = (rows, _SIDE, columns, _SIDE)
    weight = inside[cut].reshape(shape).sum((1, 3))
    safe = np.maximum(weight, 1)
    v = np.where(inside, variance, 0.0)[cut].reshape(shape).sum((1, 3)) / safe
    z = np.where(inside, level, 0.0)[cut].reshape(shape).sum((1, 3)) / safe
    full = (weight > _SIDE**2 // 2) & (v > 0)
    keep = np.ones((rows, columns), bool)
    if full.sum() >= 32:
        order = np.argsort(z[full], kind="stable")
        logs = np.log(v[full][order])
        window = min(101, 2 * (len(logs) // 8) + 1)
        middle = ndi.median_filter(logs, window, mode="nearest")
        deviation = 1.4826 * np.median(np.abs(logs - middle))
        good = np.empty(len(logs), bool)
        good[order] = logs - middle < 5.0 * deviation
        keep[full] = good
    out = np.ones(level.shape, bool)
    out[cut] = np.repeat(np.repeat(keep, _SIDE, 0), _SIDE, 1)
    return out


def _neighbours(residual: NDArray[np.float64], inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the correlation of the standardised residual of horizontal and of vertical neighbours."""
    power = ndi.uniform_filter(np.square(residual), 2 * _SIDE + 1, mode="nearest")
    scale = np.sqrt(np.maximum(power, 0.0))  # its running sums may end below 0
    z = np.clip(residual / np.maximum(scale, 1e-12), -4.0, 4.0)  # a hot pixel must not decide
    correlation = []
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        both = inside[one] & inside[other]
        a, b = z[one][both], z[other][both]
        norm = np.sqrt(np.square(a).sum() * np.square(b).sum())
        correlation.append(float((a * b).sum() / norm) if norm > 0 else 0.0)
    return correlation[0], correlation[1]


def level_index(level: NDArray[np.float32], count: int = LEVELS) -> NDArray[np.int64]:
    """Return the level of each pixel, 0 to count - 1, or -1 for the 0.05 % darkest and brightest."""
    low, high = np.quantile(level, [0.0005, 0.9995])
    if not high > low:
        return np.zeros(level.shape, np.int64)
    index = np.floor((level - low) * (count / (high - low))).astype(np.int64)
    return np.where((index >= 0) & (index < count), index, -1)


def effective_count(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the number of pixels that a level is weighted with.

    With many pixels a level's error is the misfit of the model rather than chance: beyond 2 / MISFIT^2 further pixels
    hardly add weight. Otherwise the levels that fill most of the calibration frame (often the darkest) would determine
    the line alone, though the images may have quite different signals.
    """
    return count / (1.0 + 0.5 * MISFIT**2 * count)


def fit_photon_transfer(pixels: PixelPairs, limits: Limits = (None, None)) -> PhotonTransfer:
    """Fit ``variance = a * signal + b`` to the levels of pixels with known signal.

    Levels at which more than one pixel in 1000 is at a limit of the detector are left out: clipping reduces their
    variance.

    Returns
    -------
    PhotonTransfer
        The line; its `notes` say whether levels were left out.

    Raises
    ------
    InputError
        If every level is clipped or has fewer than MIN_PIXELS pixels, or there is no noise.

    References
    ----------
    EMVA Standard 1288, release 4.0 (2021), section 6.6: the gain as the slope of the variance against the
    mean at equally spaced levels.
    """
    index = level_index(pixels.level)
    inside = index >= 0
    index = index[inside]

    def total(values: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.bincount(index, values[inside].astype(np.float64), LEVELS).astype(np.float64)

    count = np.bincount(index, minlength=LEVELS).astype(np.float64)
    clipped = total(pixels.clipped != 0)
    full = count >= MIN_PIXELS
    unclipped = full & (clipped <= _MAX_CLIPPED * count)
    if not unclipped.any():
        if full.any():
            raise InputError(
                "the frames are clipped at the detector's limits everywhere: expose less, or lower the gain"
            )
        raise InputError(f"{len(pixels)} pixels are too few to measure the noise; give larger or more frames")
    n = count[unclipped]
    signal, variance = total(pixels.mean)[unclipped] / n, total(pixels.variance)[unclipped] / n
    if not variance.max() > 1e-12 * float(np.abs(signal).max()) ** 2:  # less is rounding
        raise InputError("the frames have no noise")
    variance = np.maximum(variance, 1e-6 * variance.max())
    notes: tuple[str, ...] = ()
    if (full & ~unclipped).any():
        notes = (
            f"{100 * clipped.sum() / count.sum():.2g} % of the pixels are at the detector's limits; the variance was "
            f"measured from the {unclipped.sum()} of {full.sum()} levels without them",
        )
    order = np.argsort(signal)
    signal, variance, n = signal[order], variance[order], n[order]
    a, b = _line(signal, variance, effective_count(n))
    low, high = float(signal[0]), float(signal[-1])
    high = max(high, low + 1e-6 * (1 + abs(low)))
    return PhotonTransfer(a, b, low, high, signal, variance, n, *limits, _darkest(pixels), notes)


def _darkest(pixels: PixelPairs) -> float | None:
    """Return the variance of the darkest pixels, at least MIN_PIXELS; None if they are clipped at the floor."""
    rank = min(max(MIN_PIXELS, len(pixels) // 200), len(pixels) - 1)
    dark = pixels.level <= np.partition(pixels.level, rank)[rank]
    if (pixels.clipped[dark] != 0).mean() > _MAX_CLIPPED:
        return None
    variance = float(pixels.variance[dark].mean(dtype=np.float64))
    return variance if variance > 0 else None


def _line(
    signal: NDArray[np.float64], variance: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Return slope and intercept of the weighted line, robust against single levels, positive within the range.

    The error of a level's variance is proportional to the variance. Levels further from the line than three times the
    median deviation have less weight (Huber). A slope within two standard errors of 0 is set to 0.
    """
    flat = float((weight / variance).sum() / (weight / variance**2).sum())
    if signal.size < 3:
        return 0.0, flat
    floor = 0.1 * float(variance.min())
    model = variance.copy()
    a, b, error = 0.0, flat, 0.0
    for _ in range(50):
        deviation = (variance / model - 1.0) * np.sqrt(weight / 2.0)
        cutoff = 3.0 * max(1.0, 1.4826 * float(np.median(np.abs(deviation))))
        w = weight / model**2 * np.minimum(1.0, cutoff / np.maximum(np.abs(deviation), 1e-12))
        x0, y0 = np.average(signal, weights=w), np.average(variance, weights=w)
        moment = float((w * (signal - x0) ** 2).sum())
        previous = (a, b)
        a = float((w * (signal - x0) * (variance - y0)).sum() / moment)
        b = float(y0 - a * x0)
        error = float(np.sqrt(2.0 / moment))
        model = np.maximum(a * signal + b, floor)
        if np.allclose(previous, (a, b), rtol=1e-10, atol=0.0):
            break
    if a < 2.0 * error:
        return 0.0, flat
    return (a, b) if a * signal[0] + b >= floor else (a, floor - a * float(signal[0]))
