"""Shared fixtures: small folders of noisy images with ground truth, made on the fly."""

import os

import numpy as np
import pytest
import tifffile
from hypothesis import settings

# one thread: small work gains nothing from two, and loses much beside other work
os.environ.setdefault("OMP_NUM_THREADS", "1")

# the first call of a loop compiles it, which takes longer than any deadline for one example
settings.register_profile("divseg", deadline=None)
settings.load_profile("divseg")


def discs(shape, count, seed):
    """Return a label image of separate discs."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint16)
    y, x = np.indices(shape)
    placed = 0
    while placed < count:
        r = rng.uniform(6, 9)
        cy, cx = rng.uniform(r + 1, shape[0] - r - 1), rng.uniform(r + 1, shape[1] - r - 1)
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= r**2
        near = (y - cy) ** 2 + (x - cx) ** 2 <= (r + 3) ** 2
        if not labels[near].any():
            placed += 1
            labels[disc] = placed
    return labels


@pytest.fixture(scope="session")
def make_plate():
    """Return a function that writes a folder of noisy discs and one of their masks."""

    def make(folder, n=3, shape=(72, 80), sd=12.0, seed=0):
        images, masks = folder / "images", folder / "masks"
        images.mkdir(parents=True)
        masks.mkdir()
        for i in range(n):
            labels = discs(shape, 6, seed + i)
            rng = np.random.default_rng(seed + 100 + i)
            noisy = np.where(labels > 0, 160.0, 100.0) + rng.normal(0, sd, shape)
            tifffile.imwrite(images / f"cell{i}.tif", noisy.astype(np.uint16))
            tifffile.imwrite(masks / f"cell{i}.tif", labels)
        return images, masks

    return make
