"""Real images that stand for the samples of one image: noise of its own in each, smoothed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from tifffile import imread

from benchmarks.record import data_root


def tiles(first: int, count: int) -> list[NDArray[np.float32]]:
    """Return 512x512 pixels of images of bbbc039, from one of them on."""
    files = sorted((data_root() / "bbbc039/images").iterdir())[first : first + count]
    return [imread(file)[:512, :512].astype(np.float32) for file in files]


def bright_background(shape: tuple[int, int] = (832, 992), seed: int = 0) -> NDArray[np.float32]:
    """Return an image whose uneven background is brighter than what lies in it: most of it looks like objects."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    glow = 300 * np.exp(-((y - 300) ** 2 + (x - 650) ** 2) / (2 * 350**2))
    field = gaussian_filter(rng.normal(size=shape), 12)
    noise = 12 * gaussian_filter(rng.normal(size=shape), 1.5)
    image: NDArray[np.float32] = (500 + glow + 300 * (field > -0.5 * field.std()) + noise).astype(np.float32)
    return image


def like_samples(image: NDArray[np.float32], count: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield versions of an image one by one."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        noise = rng.normal(0, 0.3 * image.std(), image.shape).astype(np.float32)
        yield gaussian_filter(image + noise, 1)
