"""Drawn fluorescence images of nuclei with known labels, for training beside the real ones.

Real training images hold few kinds of nuclei. The drawn ones are meant to be what those lack: bright spots and dark
nucleoli, faint nuclei beside bright ones, large, crowded and blurred ones, sizes from 6 to 90 pixels, uneven
background, debris, saturation, and the remains of noise or of denoising.

    python -m benchmarks.nuclei_model.synthetic sheet.png

draws a sheet of them (needs Pillow).
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Image = NDArray[np.float32]
Labels = NDArray[np.int32]

DIAMETERS = (6.0, 90.0)
"""Range of the mean diameter of the nuclei of an image, in pixels."""
MOST = 160
"""Nuclei drawn into one image at most."""
EMPTY = 0.03
"""Share of images without a nucleus."""


def draw(side: int, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Draw one image of `side` x `side` pixels, nuclei at about 1 and background at about 0, and its labels."""
    diameter = float(np.exp(rng.uniform(*np.log(DIAMETERS))))
    labels, rim, count = _place(side, diameter, rng)
    inside = labels > 0
    shade = _brightness(count, rng)[labels]
    dome = (1 - rim**2 * rng.uniform(0, 0.9)) ** rng.choice([0.0, 0.5, 1.0])
    ring = 1 + rng.choice([0.0, 0.5]) * rng.random() * rim**4
    nuclei = inside * shade * dome * ring
    if rng.random() < 0.7:
        nuclei *= texture(labels, diameter, rng)
    image = gaussian_filter(nuclei, rng.uniform(0.3, 0.8 + min(0.06 * diameter, 2.5)))
    if rng.random() < 0.25:  # a saturated camera, or a display stretched too far
        image = np.minimum(image, rng.uniform(0.2, 0.8) * image.max())
    image = image / max(np.percentile(image[inside], 75), 1e-6) if count else image
    image = image + _surroundings(image, inside, diameter, rng)
    return _stretched(_degraded(image, diameter, rng)), labels


def texture(labels: NDArray[np.integer], diameter: float, rng: np.random.Generator) -> Image:
    """Return factors of the grey values inside nuclei: smooth noise, dark nucleoli, bright spots; some or all of them.

    Parameters
    ----------
    labels : integer array, (Y, X)
        Nuclei.
    diameter : float
        Their diameter in pixels, to which spots and grain are proportional.
    rng : Generator
        Random numbers.
    """
    shape = labels.shape
    factor = np.ones(shape, np.float32)
    inside = np.flatnonzero(labels)
    per_area = len(inside) / (np.pi / 4 * diameter**2)  # number of nuclei, by area
    kinds = rng.random(3) < 0.6
    if kinds[0]:
        grain = gaussian_filter(rng.standard_normal(shape, np.float32), max(0.6, rng.uniform(0.05, 0.25) * diameter))
        factor *= np.exp(rng.uniform(0.1, 0.5) * grain / max(float(grain.std()), 1e-6))
    for dark in np.flatnonzero(kinds[1:] & (diameter > 9)):
        each = rng.uniform(1, 4) if dark == 0 else rng.uniform(1, 14)
        width = max(0.6, diameter * (rng.uniform(0.05, 0.13) if dark == 0 else rng.uniform(0.025, 0.08)))
        field = np.zeros(shape, np.float32)
        if len(inside):
            np.add.at(field.ravel(), rng.choice(inside, rng.poisson(each * per_area)), 1.0)
        blobs = gaussian_filter(field, width) * (2 * np.pi * width**2)
        if dark == 0:
            factor *= 1 - rng.uniform(0.3, 0.85) * np.minimum(1.3 * blobs, 1)
        else:
            factor *= 1 + rng.uniform(0.4, 3.0) * np.minimum(blobs, 1.5)
    return factor


def _place(side: int, diameter: float, rng: np.random.Generator) -> tuple[Labels, Image, int]:
    """Return labels, the relative distance of each pixel from its nucleus' centre (1 at the rim), and their number."""
    labels, rim = np.zeros((side, side), np.int32), np.ones((side, side), np.float32)
    if rng.random() < EMPTY:
        return labels, rim, 0
    wanted = int(np.clip(rng.uniform(0.1, 0.75) * side**2 / (np.pi / 4 * diameter**2), 1, MOST))
    spread = rng.choice([0.08, 0.18, 0.35])
    long = rng.choice([1.1, 1.3, 1.8])
    wobble = rng.choice([0.02, 0.05, 0.1])
    overlap = rng.choice([0.0, 0.06, 0.2])
    clusters = rng.uniform(0, side, (max(1, wanted // int(rng.integers(3, 30))), 2)) if rng.random() < 0.6 else None
    aligned = rng.uniform(0, np.pi) if rng.random() < 0.2 else None
    count = 0
    for _ in range(2 * wanted):
        if count == wanted:
            break
        centre = rng.uniform(-0.3 * diameter, side + 0.3 * diameter, 2)
        if clusters is not None and rng.random() < 0.9:
            centre = clusters[rng.integers(len(clusters))] + rng.normal(0, diameter * rng.uniform(0.5, 2.5), 2)
        axes = diameter / 2 * np.exp(rng.normal(0, spread)) * rng.uniform(1, long) ** np.array([0.5, -0.5])
        angle = rng.uniform(0, np.pi) if aligned is None else rng.normal(aligned, 0.2)
        count += _nucleus(labels, rim, count + 1, centre, axes, angle, wobble, overlap, rng)
    return labels, rim, count


def _nucleus(
    labels: Labels,
    rim: Image,
    number: int,
    centre: NDArray[np.float64],
    axes: NDArray[np.float64],
    angle: float,
    wobble: float,
    overlap: float,
    rng: np.random.Generator,
) -> bool:
    """Draw an ellipse with a smoothly moved boundary, if what is free of it suffices; return whether it was drawn."""
    reach = axes.max() * (1 + 3 * wobble) + 1
    first = np.maximum(0, np.floor(centre - reach)).astype(int)
    last = np.minimum(len(labels), np.ceil(centre + reach) + 1).astype(int)
    if (last <= first + 1).any():
        return False
    box = (slice(first[0], last[0]), slice(first[1], last[1]))
    y = np.arange(first[0], last[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    x = np.arange(first[1], last[1], dtype=np.float32)[None] - np.float32(centre[1])
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (c * x + s * y) / np.float32(axes[0]), (c * y - s * x) / np.float32(axes[1])
    theta = np.arctan2(v, u)
    edge = np.ones_like(theta)
    for k in range(2, 6):
        edge += np.float32(rng.normal(0, wobble * 1.5 / k)) * np.cos(k * theta + np.float32(rng.uniform(0, 2 * np.pi)))
    distance = np.sqrt(u**2 + v**2) / np.maximum(edge, np.float32(0.3))
    mine = distance <= 1
    free = mine & (labels[box] == 0)
    area = np.count_nonzero(mine)
    if area < 12 or np.count_nonzero(free) < (1 - overlap) * area:
        return False
    labels[box][free] = number
    rim[box][free] = distance[free]
    return True


def _brightness(count: int, rng: np.random.Generator) -> Image:
    """Return the brightness of each label, 0 for the background: alike, varied, or spread over a decade."""
    kind = rng.integers(3)
    values = np.exp(rng.normal(0, 0.12 if kind == 0 else 0.35, count))
    if kind == 2:
        values = 10 ** -rng.uniform(0, 1, count)
    return np.concatenate([[0.0], values]).astype(np.float32)


def _surroundings(image: Image, inside: NDArray[np.bool_], diameter: float, rng: np.random.Generator) -> Image:
    """Return what lies outside and under nuclei: uneven background, haze, nuclei out of focus, debris."""
    side = len(image)
    extra = np.zeros_like(image)
    if rng.random() < 0.5:
        slope = rng.normal(0, 0.5, 2)
        steps = np.linspace(-1, 1, side)
        extra += rng.uniform(0, 0.3) * (slope[0] * steps[:, None] + slope[1] * steps).astype(np.float32)
    if rng.random() < 0.5:
        clouds = _smooth(rng.standard_normal(image.shape, np.float32), rng.uniform(0.5, 2) * diameter + 4)
        extra += rng.uniform(0, 0.2) * clouds / max(float(clouds.std()), 1e-6)
    if rng.random() < 0.5:
        extra += rng.uniform(0, 0.5) * _smooth(image, rng.uniform(0.4, 1.2) * diameter)
    if rng.random() < 0.3:
        ghosts = _sprinkled(image.shape, rng.poisson(3), rng.uniform(0.35, 0.6) * diameter + 2, rng)
        extra += rng.uniform(0.05, 0.3) * ghosts
    if rng.random() < 0.4:
        extra += rng.uniform(0.2, 1.5) * _sprinkled(
            image.shape, rng.poisson(6), rng.uniform(0.6, 0.06 * diameter + 1), rng
        )
    return extra


def _sprinkled(shape: tuple[int, ...], count: int, width: float, rng: np.random.Generator) -> Image:
    """Return blobs of random brightness up to 1."""
    field = np.zeros(shape, np.float32)
    for y, x in rng.integers(0, shape, (count, 2)):
        field[y, x] += rng.random()
    return gaussian_filter(field, width) * np.float32(2 * np.pi * width**2)


def _smooth(image: Image, width: float) -> Image:
    """Return a Gaussian filter of the image, by way of every n-th pixel if it is a wide one."""
    step = max(1, int(width // 4))
    coarse = gaussian_filter(image[::step, ::step], width / step)
    places = np.indices(image.shape, np.float32) / step
    return coarse if step == 1 else map_coordinates(coarse, places, order=1, mode="nearest")


def _degraded(image: Image, diameter: float, rng: np.random.Generator) -> Image:
    """Leave the image as it is, add noise, or do what denoising does: less detail, smooth noise."""
    kind = rng.random()
    if kind < 0.35:
        return image
    level = np.sqrt(rng.uniform(0, 0.5) + np.clip(image, 0, 2))
    noise = rng.standard_normal(image.shape, np.float32)
    if kind < 0.65:
        return image + rng.uniform(0.02, 0.2) * level * noise
    soft = gaussian_filter(image, rng.uniform(0.5, 0.8 + 0.04 * diameter))
    noise = gaussian_filter(noise, rng.uniform(0.6, 1.0 + 0.04 * diameter))
    return soft + rng.uniform(0.0, 0.15) * level * noise / max(float(noise.std()), 1e-6)


def _stretched(image: Image) -> Image:
    """Normalise as StarDist does: 1st and 99.8th percentile become 0 and 1."""
    low, high = np.percentile(image, (1, 99.8))
    return ((image - low) / max(high - low, 1e-6)).astype(np.float32)


def main() -> None:
    from PIL import Image as Picture

    rng = np.random.default_rng(0)
    rows = []
    for _ in range(5):
        images = [draw(256, rng) for _ in range(8)]
        rows.append(np.hstack([np.clip(image, 0, 1) ** 0.7 for image, _ in images]))
        edges = [
            np.where((np.diff(y, axis=0, append=0) != 0) | (np.diff(y, axis=1, append=0) != 0), 1, 0) for _, y in images
        ]
        rows.append(np.hstack(edges))
    Picture.fromarray((255 * np.vstack(rows)).astype(np.uint8)).save(sys.argv[1])


if __name__ == "__main__":
    main()
