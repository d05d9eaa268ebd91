import math

import numpy as np
import pytest
import torch

from divseg.denoise import dihedral
from divseg.denoise.training.crops import CropSource


def plain(image, first, turn, crop):
    """The crop, cut by slices."""
    region = tuple(slice(a, a + c) for a, c in zip(first, crop, strict=True))
    return dihedral.transform(image[(slice(None), *region)], turn).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int32, ">u2"])
@pytest.mark.parametrize(
    ("crop", "shapes"), [((16, 16), [(40, 50), (64, 33)]), ((4, 16, 16), [(9, 40, 40), (20, 33, 47)])]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_crops_are_slices_turned_and_flipped(dtype, crop, shapes, channels):
    rng = np.random.default_rng(0)
    top = 60_000 if np.dtype(dtype).itemsize > 1 else 255
    images = [(rng.random((channels, *shape)) * top).astype(dtype) for shape in shapes]
    held = list(images)
    source = CropSource(held, crop)
    positions = []
    for turn in range(dihedral.COUNT):
        for i, shape in enumerate(shapes):
            first = [rng.integers(side - c + 1) for side, c in zip(shape, crop, strict=True)]
            positions.append([i, *first, turn])
    rows = source.rows(np.array(positions))
    crops = source.cut(torch.from_numpy(rows))
    assert crops.shape == (len(positions), channels, *crop)
    for got, (i, *first, turn) in zip(crops.numpy(), positions, strict=True):
        np.testing.assert_array_equal(got, plain(images[i], first, turn, crop))
    for image, view in zip(images, held, strict=True):
        np.testing.assert_array_equal(image, view)
    assert source.rows(np.array(positions).reshape(2, 8, -1)).shape == (2, 8, 2 + len(crop))


def test_pixels_are_held_as_stored_and_once():
    images = [np.full((1, 32, 32), 60_000, np.uint16), np.full((1, 16, 64), 3, np.uint16)]
    for other, size in ((np.uint16, 2), (np.uint8, 2), (np.int16, 4), (np.float64, 4)):
        held = [images[0], images[1].astype(other)]
        source = CropSource(held, (16, 16))
        assert source.nbytes == size * sum(math.prod(im.shape) for im in images)
        assert all(im.base is held[0].base for im in held)
        rows = source.rows(np.array([[0, 0, 0, 5], [1, 0, 3, 2]]))
        assert source.cut(torch.from_numpy(rows)).unique().tolist() == [3.0, 60_000.0]
