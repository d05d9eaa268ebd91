"""Drawn volumes of nuclei with known labels, that the StarDist network of this benchmark is trained on.

Ellipsoids with a smoothly moved boundary, of several sizes, densities, textures, blurs and noise levels; planes are
:data:`DISTANCE` pixels apart. What is scored comes from :mod:`benchmarks.volumes.grown`, which makes them in another
way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

DISTANCE = 2.0
"""Distance between planes in units of the pixel size."""

DIAMETERS = (11.0, 26.0)
"""Range of the mean diameter of the nuclei of a volume, in pixels."""


def draw(shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Draw a volume, nuclei at about 1 and background at about 0, and its labels.

    Parameters
    ----------
    shape : (int, int, int)
        Planes, height and width.
    rng : Generator
        Random numbers.

    Returns
    -------
    image : float32 array, shape (Z, Y, X)
        Percentiles 1 and 99.8 are 0 and 1, as StarDist takes volumes.
    labels : int32 array, shape (Z, Y, X)
    """
    diameter = float(np.exp(rng.uniform(*np.log(DIAMETERS))))
    labels = _place(shape, diameter, rng)
    shades = np.concatenate([[0.0], np.exp(rng.normal(0, rng.choice([0.15, 0.4]), labels.max()))]).astype(np.float32)
    image = shades[labels]
    if rng.random() < 0.7:
        grain = _field(shape, rng.uniform(0.05, 0.25) * diameter, rng)
        image *= np.exp(rng.uniform(0.1, 0.4) * grain)
    blur = rng.uniform(0.4, 1.6)
    image = gaussian_filter(image, (blur * rng.uniform(1, 2) / DISTANCE, blur, blur))
    if rng.random() < 0.6:
        image += rng.uniform(0, 0.2) * _field(shape, rng.uniform(0.6, 2) * diameter, rng)
    kind = rng.random()
    if kind > 0.35:
        noise = rng.standard_normal(shape, np.float32)
        if kind > 0.65:  # what denoising leaves
            image = gaussian_filter(image, (0.4, *[rng.uniform(0.4, 1.2)] * 2))
            noise = _field(shape, rng.uniform(0.6, 1.6), rng)
        image = image + rng.uniform(0.02, 0.2) * np.sqrt(0.2 + np.clip(image, 0, 2)) * noise
    low, high = np.percentile(image, (1, 99.8))
    return ((image - low) / max(high - low, 1e-6)).astype(np.float32), labels


def _place(shape: tuple[int, int, int], diameter: float, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return labels of ellipsoids, which may push into one another a little."""
    labels = np.zeros(shape, np.int32)
    size = np.array([shape[0] * DISTANCE, shape[1], shape[2]])
    wanted = int(rng.uniform(0.05, 0.45) * size.prod() / (np.pi / 6 * diameter**3)) + 1
    wobble, overlap, long = rng.uniform(0, 0.15), rng.choice([0.0, 0.08, 0.2]), rng.choice([1.15, 1.5, 1.9])
    bumps = _field(shape, 0.25 * diameter, rng)
    count = 0
    for _ in range(4 * wanted):
        if count == wanted:
            break
        centre = rng.uniform(-0.3 * diameter, size + 0.3 * diameter)
        axes = diameter / 2 * np.exp(rng.normal(0, 0.15)) * rng.uniform(1, long) ** rng.permutation([0.6, 0.0, -0.6])
        turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        reach = 1.3 * axes.max() + 1
        step = np.array([DISTANCE, 1, 1])
        first = np.maximum(0, (centre - reach) / step).astype(int)
        last = np.minimum(shape, (centre + reach) / step + 2).astype(int)
        if (last <= first + 1).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        places = np.stack(np.mgrid[box], -1) * step - centre
        distance = np.linalg.norm(places @ turn / axes, axis=-1)
        mine = distance <= 1 + wobble * bumps[box]
        free = mine & (labels[box] == 0)
        if np.count_nonzero(mine) < 30 or np.count_nonzero(free) < (1 - overlap) * np.count_nonzero(mine):
            continue
        count += 1
        labels[box][free] = count
    return labels


def _field(shape: tuple[int, int, int], width: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return Gaussian noise, smooth on a scale of `width` pixels, of standard deviation 1."""
    field = gaussian_filter(rng.standard_normal(shape, np.float32), (width / DISTANCE, width, width), mode="wrap")
    return field / max(float(field.std()), 1e-6)
