"""Small worlds of cells with known truth."""

import numpy as np
import pytest


def disc(image, y, x, radius, label):
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    image[(yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = label


def draw_cells(rng, side=72, pitch=18, radius=6.5, miss=0.1, jitter=0.7):
    """Cells on a grid, each moved and resized a little, some missed; labels in random order."""
    image = np.zeros((side, side), np.int32)
    names = rng.permutation(200)[:100] + 1
    count = 0
    for y in range(pitch // 2, side, pitch):
        for x in range(pitch // 2, side, pitch):
            place = np.array([y, x]) + rng.normal(0, jitter, 2)
            if rng.random() >= miss:
                disc(image, *place, radius + rng.normal(0, jitter / 2), names[count])
            count += 1
    return image


@pytest.fixture
def make_cells():
    """Return the function that draws a sample."""
    return draw_cells


@pytest.fixture
def cells():
    """Return 12 samples of 16 cells."""
    rng = np.random.default_rng(3)
    return [draw_cells(rng) for _ in range(12)]


@pytest.fixture
def pair():
    """Return two touching cells, the same as one merged object, and the left one alone; 12 x 24 pixels."""
    both = np.zeros((12, 24), np.int32)
    both[2:10, 2:12] = 1
    both[2:10, 12:22] = 2
    return both, (both > 0).astype(np.int32), np.where(both == 1, 1, 0).astype(np.int32)
