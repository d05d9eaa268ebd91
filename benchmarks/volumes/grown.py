"""Grown volumes with known truth, that the results of this benchmark are measured on.

Cells grow from seeds, each as fast as it likes and in a space that is warped smoothly, until they touch another cell or
reach their size; they are brighter at the rim, dim with depth, and a camera records them with Poisson and read-out
noise. Nothing of it is shared with :mod:`benchmarks.volumes.drawn`, on which the network was trained.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

GAIN, OFFSET, READ_NOISE = 4.0, 100.0, 6.0
"""Grey values for a photon, of darkness, and the standard deviation of reading them out."""


def grow(
    shape: tuple[int, int, int], distance: float, seed: int, *, radius: float = 9.0, cells: int = 260
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Grow a volume.

    Parameters
    ----------
    shape : (int, int, int)
        Planes, height and width.
    distance : float
        Distance of the planes in units of the pixel size.
    seed : int
        Of all random numbers; other distances show other planes of the same tissue.
    radius : float
        Mean radius of the cells in pixels.
    cells : int
        Number of seeds.

    Returns
    -------
    clean : float32 array, shape (Z, Y, X)
        Photons that are expected.
    labels : uint16 array, shape (Z, Y, X)
    """
    rng = np.random.default_rng(seed)
    size = np.array([shape[0] * distance, shape[1], shape[2]])
    seeds = _seeds(rng, size, cells, 1.4 * radius)
    pace = np.exp(rng.normal(0, 0.12, len(seeds)))
    reach = radius * np.exp(rng.normal(0, 0.18, len(seeds)))
    stretch = np.exp(rng.normal(0, 0.15, (len(seeds), 3)))
    waves = rng.normal(0, 1, (3, 6, 3)), rng.uniform(0, 2 * np.pi, (3, 6))
    at = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, (distance, 1, 1), strict=True)), indexing="ij"))
    warped = at + np.stack([_wave(at, *wave, radius) for wave in zip(*waves, strict=True)])
    nearest, owner = np.full(shape, np.inf), np.zeros(shape, np.int32)
    for k, seed_at in enumerate(seeds):  # only the box that a cell can reach
        lengths = 2.2 * reach[k] + 4
        low = np.maximum(0, np.floor((seed_at - lengths) / (distance, 1, 1))).astype(int)
        high = np.minimum(shape, np.ceil((seed_at + lengths) / (distance, 1, 1)) + 1).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        away = np.sqrt((((warped[(slice(None), *box)].T - seed_at) * stretch[k]) ** 2).sum(-1).T) / pace[k]
        mine = (away < nearest[box]) & (away * pace[k] <= reach[k])
        nearest[box][mine] = away[mine]
        owner[box][mine] = k + 1
    kept = np.flatnonzero(np.bincount(owner.ravel(), minlength=len(seeds) + 1)[1:] * distance > 0.6 * radius**3) + 1
    number = np.zeros(len(seeds) + 1, np.uint16)
    number[kept] = np.arange(1, len(kept) + 1)
    labels = number[owner]
    light = np.concatenate([[0.0], rng.gamma(9.0, 1 / 9.0, len(kept))])[labels]
    rim = distance_transform_edt(labels > 0, sampling=(distance, 1, 1))
    light *= 0.6 + 0.8 * np.exp(-rim / 2.5)
    light *= np.exp(-0.5 * np.linspace(0, 1, shape[0]))[:, None, None]
    clean = 2.0 + 25.0 * gaussian_filter(light, (1.6 / distance, 0.9, 0.9))
    return clean.astype(np.float32), labels


def record(clean: NDArray[np.floating], seed: int) -> NDArray[np.uint16]:
    """Return what a camera makes of expected photons."""
    rng = np.random.default_rng([seed, 1])
    counts = GAIN * rng.poisson(clean) + OFFSET + rng.normal(0, READ_NOISE, clean.shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def _seeds(rng: np.random.Generator, size: NDArray[np.float64], count: int, least: float) -> NDArray[np.float64]:
    """Return places, about half of them in clusters, that are at least some distance apart."""
    centres = rng.uniform(0, size, (max(1, count // 12), 3))
    seeds: list[NDArray[np.float64]] = []
    for _ in range(40 * count):
        if len(seeds) == count:
            break
        at = rng.uniform(0, size)
        if rng.random() < 0.5:
            at = centres[rng.integers(len(centres))] + rng.normal(0, 2.2 * least, 3)
        if (at < 0).any() or (at >= size).any():
            continue
        if not seeds or np.min(np.linalg.norm(np.array(seeds) - at, axis=1)) >= least:
            seeds.append(at)
    return np.array(seeds)


def _wave(
    at: NDArray[np.float64], directions: NDArray[np.float64], phases: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Return a sum of plane waves about as long as a cell is wide."""
    total = np.zeros(at.shape[1:])
    for direction, phase in zip(directions, phases, strict=True):
        total += np.sin(np.tensordot(direction / radius, at, 1) + phase)
    return 0.09 * radius * total
