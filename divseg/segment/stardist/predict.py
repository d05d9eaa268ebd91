"""From a batch of images to object candidates, on the device, and no more of them than suppression can take."""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.errors import DivsegWarning
from divseg.segment.stardist.network import Span, StarDistNet, spans

BORDER = 2
"""Grid pixels along the edge of the padded image that give no candidates, as in StarDist."""

MIN_DISTANCE = 1e-3
"""Smallest distance to a boundary, as in StarDist: objects have an area."""

Part: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]"
"""Index (n, 1 + ndim) of image and grid pixel, probability (n,) and distances (n, n_rays) of a tile's candidates."""

_COMPARISONS = {2: 2e9, 3: 2e8}
"""Comparisons of candidates that take about half a minute on one core if none is suppressed early; 3D is slower."""


@dataclass(frozen=True)
class Candidates:
    """Pixels of one image that may be the centre of an object, in the image's raster order.

    Attributes
    ----------
    prob : float32 array, shape (n,)
        Object probability.
    dist : float32 array, shape (n, n_rays)
        Distance to the boundary along each ray, in pixels.
    points : int64 array, shape (n, ndim)
        Position of each candidate in pixels.
    """

    prob: NDArray[np.float32]
    dist: NDArray[np.float32]
    points: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.prob)


@contextlib.contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Compute without autograd and without TF32: ten bits of mantissa would not give StarDist's labels."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        yield


def pad_to(x: Tensor, divisor: tuple[int, ...]) -> Tensor:
    """Pad (B, C, ...) at the ends by reflection, to lengths divisible by `divisor`; any length, as ``numpy.pad``."""
    for axis, (length, div) in enumerate(zip(x.shape[2:], divisor, strict=True), start=2):
        missing = -length % div
        if missing:
            index = np.pad(np.arange(length), (0, missing), mode="reflect")
            x = x.index_select(axis, torch.from_numpy(index).to(x.device))
    return x


def resized(x: Tensor, scale: float) -> Tensor:
    """Resize images (B, C, Y, X) by a factor, smoothed first if they shrink; each side stays 1 pixel or more."""
    size = [max(1, round(side * scale)) for side in x.shape[2:]]
    return torch.nn.functional.interpolate(x, size, mode="bilinear", antialias=scale < 1.0, align_corners=False)


def resized_along_z(x: Tensor, planes: int) -> Tensor:
    """Resize volumes (B, C, Z, Y, X) to a number of planes, smoothed first if they shrink."""
    flat = x.flatten(3)  # interpolation of volumes has no smoothing
    made = torch.nn.functional.interpolate(
        flat, [planes, flat.shape[3]], mode="bilinear", antialias=planes < x.shape[2], align_corners=False
    )
    return made.unflatten(3, x.shape[3:])


def predict_candidates(net: StarDistNet, x: Tensor, threshold: float, tile: int) -> list[Candidates]:
    """Predict a batch and keep the pixels above a probability; they alone leave the device, once for each tile.

    Parameters
    ----------
    net : StarDistNet
        The model's network.
    x : tensor, shape (B, C, Y, X) or (B, C, Z, Y, X)
        Normalised images on the network's device.
    threshold : float
        Object probability that a candidate exceeds.
    tile : int
        Longest side that goes through the network at once, without the halo; longer images are predicted tile by
        tile, with the same result.
    """
    c = net.config
    shape = x.shape[2:]
    with exact(x.device):
        padded = pad_to(x, c.divisor)
        full = padded.shape[2:]
        parts = []
        for tile_spans in tiles(tuple(full), tile, c.divisor, c.halo):
            outer = tuple(slice(s.low, s.high) for s in tile_spans)
            prob, dist = net(_layout(padded[(slice(None), slice(None), *outer)]))
            inner = tuple(
                slice((s.start - s.low) // g, (s.stop - s.low) // g) for s, g in zip(tile_spans, c.grid, strict=True)
            )
            prob, dist = prob[(slice(None), *inner)], dist[(slice(None), *inner)]
            offset = [s.start // g for s, g in zip(tile_spans, c.grid, strict=True)]
            parts.append(_above(prob, dist, threshold, offset, full, shape, c.grid))
        return _by_image(parts, len(x), c.grid)


def tiles(
    shape: tuple[int, ...], tile: int, divisor: tuple[int, ...], halo: tuple[int, ...]
) -> Iterator[tuple[Span, ...]]:
    """Yield tiles that cover an image, cut at multiples of `divisor` with a halo that hides the cuts.

    Parameters
    ----------
    shape : tuple of int
        Lengths of the padded image, multiples of `divisor`.
    tile : int
        Longest side of what a tile answers for.
    divisor, halo : tuple of int
        Divisor and halo of the network.
    """
    axes = []
    for length, div, reach in zip(shape, divisor, halo, strict=True):
        margin = -(-reach // div) * div
        count = -(-length // max(tile // div * div, div))
        step = -(-length // (count * div)) * div
        axes.append(spans(length, step, margin))
    yield from itertools.product(*axes)


def _layout(x: Tensor) -> Tensor:
    """Put channels last in memory, where convolutions are fastest."""
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def _above(
    prob: Tensor,
    dist: Tensor,
    threshold: float,
    offset: list[int],
    full: torch.Size,
    shape: torch.Size,
    grid: tuple[int, ...],
) -> Part:
    """Return the pixels above the threshold. The host waits twice: for their number, and for them."""
    mask = prob > float(np.float32(threshold))
    for axis, (first, whole, length, g) in enumerate(zip(offset, full, shape, grid, strict=True), start=1):
        at = torch.arange(first, first + mask.shape[axis], device=mask.device)
        # neither near the edge of the padded image nor on padding
        keep = (at >= BORDER) & (at < whole // g - BORDER) & (at * g < length)
        mask &= keep.reshape([-1 if a == axis else 1 for a in range(mask.ndim)])
    index = mask.nonzero()
    chosen = tuple(index.T)
    rows = torch.cat([prob[chosen][:, None], dist[chosen].clamp_min(MIN_DISTANCE)], 1)
    # one transfer; bits as integers survive it, whatever number they would be
    bits = torch.cat([index.to(torch.int32), rows.view(torch.int32)], 1).cpu().numpy()
    places, numbers = bits[:, : mask.ndim], bits[:, mask.ndim :].view(np.float32)
    # intensities far outside the percentiles overflow
    finite = np.isfinite(numbers).all(1)
    places, numbers = places[finite] + np.array([0, *offset]), numbers[finite]
    return places, numbers[:, 0], numbers[:, 1:]


def _by_image(parts: list[Part], images: int, grid: tuple[int, ...]) -> list[Candidates]:
    index, prob, dist = (np.concatenate(p) for p in zip(*parts, strict=True))
    if len(parts) > 1:
        order = np.lexsort(index.T[::-1])
        index, prob, dist = index[order], prob[order], dist[order]
    ends = np.searchsorted(index[:, 0], np.arange(images + 1))
    points = index[:, 1:] * np.asarray(grid)
    return [Candidates(prob[a:b], dist[a:b], points[a:b]) for a, b in itertools.pairwise(ends)]


def max_candidates(candidates: Candidates, shape: tuple[int, ...]) -> int:
    """Return how many candidates of such sizes suppression can compare in about half a minute.

    Suppression compares each candidate with all near it. On an image unlike the training data (a white background)
    every pixel can become a candidate, and StarDist's suppression, which is quick on nuclei, then takes hours: the
    comparisons grow with the square of the density. Candidates are compared if their discs (balls) meet: n candidates
    of radius r in an area A make about ``n * n * pi * (2 r)**2 / A`` comparisons.

    Parameters
    ----------
    candidates : Candidates
        Candidates of one image.
    shape : tuple of int
        Shape of the image.
    """
    if not len(candidates):
        return 0
    ndim = len(shape)
    reach = 2 * float(np.percentile(candidates.dist.max(1), 99))
    near = min({2: math.pi, 3: 4 / 3 * math.pi}[ndim] * reach**ndim / math.prod(shape), 1.0)
    return max(int(math.sqrt(_COMPARISONS[ndim] / max(near, 1e-12))), 1)


def limit_candidates(
    candidates: Candidates, limit: int | None, shape: tuple[int, ...], grid: tuple[int, ...], what: str
) -> Candidates:
    """Drop the least probable candidates if there are too many, with a warning.

    Parameters
    ----------
    candidates : Candidates
        Candidates of one image.
    limit : int, optional
        Largest number of candidates; by default :func:`max_candidates`.
    shape, grid : tuple of int
        Shape of the image, grid of the network.
    what : str
        Name of the image for the warning.
    """
    limit = max_candidates(candidates, shape) if limit is None else limit
    if len(candidates) <= limit:
        return candidates
    best = np.sort(np.argsort(-candidates.prob, kind="stable")[:limit])
    pixels = math.prod(-(-n // g) for n, g in zip(shape, grid, strict=True))
    warnings.warn(
        f"{what}: {len(candidates):,} of {pixels:,} grid pixels are object candidates, more than can be compared in "
        f"reasonable time; kept the {limit:,} most probable (probability above {candidates.prob[best].min():.3f}); if "
        "the background is bright, invert the image, otherwise raise prob or max_candidates",
        DivsegWarning,
        stacklevel=2,
    )
    return Candidates(candidates.prob[best], candidates.dist[best], candidates.points[best])
