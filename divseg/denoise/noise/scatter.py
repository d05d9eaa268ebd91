"""From images to pixels with a signal and a scatter: the raw material of a measured noise model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.denoise.noise.estimate import kernel_gain, neighbour_correlation

Array = NDArray[np.float32]
Limits = tuple[float | None, float | None]

SMOOTHING = 4.0
"""Standard deviation, in pixels, of the weights with which a smooth frame's neighbours give a pixel's signal."""

MOST = 1 << 23
"""Pixels that are kept of one set of frames; of more, an even choice."""

_SIDE = 16
_TRUNCATE = 4.0
_KERNEL = np.array([1.0, -2.0, 1.0]) / np.sqrt(6.0)


@dataclass(frozen=True)
class Scatter:
    """Pixels, flat arrays of one length.

    Attributes
    ----------
    level : array
        By what pixels are grouped. Independent of the pixel's own noise, so that a group is no selection of
        high or low noise; it need not be the signal itself.
    mean, variance : array
        Of each pixel, without bias: their averages over a group lie on the photon-transfer line whatever the
        spread of signals within the group, because the line is linear.
    signal, observed : array
        A pair of the joint distribution of signal and observation.
    clipped : array of int8
        -1 for pixels at the detector's floor, 1 for those at its ceiling, 0 for the others.
    correlation : (float, float)
        Of the noise of horizontal and vertical neighbours.
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


def join(parts: list[Scatter], most: int) -> Scatter:
    """Concatenate, thinned evenly to about `most` pixels."""
    step = max(1, -(-sum(map(len, parts)) // most))
    names = [f.name for f in fields(Scatter) if f.name != "correlation"]
    arrays: dict[str, Any] = {n: np.concatenate([getattr(p, n)[::step] for p in parts]) for n in names}
    sizes = np.array([len(p) for p in parts], dtype=np.float64) + 1e-9
    correlation = np.average([p.correlation for p in parts], axis=0, weights=sizes)
    return Scatter(**arrays, correlation=(float(correlation[0]), float(correlation[1])))


def from_smooth(frame: NDArray[np.generic], limits: Limits) -> Scatter:
    """Pixels of one frame without detail, for example of a defocused field diaphragm.

    The signal of a pixel is the weighted mean of its neighbours, without itself; the residual's variance
    holds the variance of that mean too, which is divided out. Blocks that scatter far more than others of
    their level (dust, edges, hot pixels) and the borders are left out.
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


def from_stack(frames: NDArray[np.generic], limits: Limits) -> Scatter:
    """Pixels of a static scene, (N, Y, X) with N >= 2 frames.

    Pixels are grouped by the mean of their neighbours over all frames, which does not know their noise, so
    that few frames will do.
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
    return join(parts, MOST)


def from_pair(noisy: NDArray[np.generic], denoised: NDArray[np.generic], limits: Limits) -> Scatter:
    """Pixels of a noisy image whose signal is that of a denoised one.

    A denoised image errs, and its errors are in the residual: detail it lost adds variance, noise it kept
    takes variance away. Both are mostly coarser than a pixel, so the variance comes from the second
    difference of the residual along both axes, which is blind to what varies slowly (Immerkaer, "Fast noise
    variance estimation", 1996), and the mean from the same pixels with the same weights.
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
) -> Scatter:
    level, mean, variance, signal, observed = (a[inside].astype(np.float32) for a in arrays)
    return Scatter(level, mean, variance, signal, observed, clipped[inside], correlation)


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
    """Mark the pixels of blocks whose variance is not far above that of others of their level."""
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
        spread = 1.4826 * np.median(np.abs(logs - middle))
        good = np.empty(len(logs), bool)
        good[order] = logs - middle < 5.0 * spread
        keep[full] = good
    out = np.ones(level.shape, bool)
    out[cut] = np.repeat(np.repeat(keep, _SIDE, 0), _SIDE, 1)
    return out


def _neighbours(residual: NDArray[np.float64], inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Correlation of the standardised residual of horizontal and of vertical neighbours."""
    power = ndi.uniform_filter(np.square(residual), 2 * _SIDE + 1, mode="nearest")
    scale = np.sqrt(np.maximum(power, 0.0))  # its running sums may end below 0
    z = np.clip(residual / np.maximum(scale, 1e-12), -4.0, 4.0)  # a hot pixel must not decide
    found = []
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        both = inside[one] & inside[other]
        a, b = z[one][both], z[other][both]
        norm = np.sqrt(np.square(a).sum() * np.square(b).sum())
        found.append(float((a * b).sum() / norm) if norm > 0 else 0.0)
    return found[0], found[1]
