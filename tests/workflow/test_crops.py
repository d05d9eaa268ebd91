import numpy as np
import torch

from divseg.results.crops import SAMPLES, SIDE
from divseg.workflow.crops import CropWatch, busiest_corner


def test_the_part_is_where_objects_and_background_share_the_space():
    y, x = np.indices((400, 300))
    image = np.random.default_rng(0).normal(100, 5, y.shape)
    block = (abs(y - 300) < 50) & (abs(x - 200) < 50) & ((y // 25 + x // 25) % 2 == 0)
    image[block] += 60
    image[20:23, 20:23] += 100_000  # a hot spot does not attract it
    top, left = busiest_corner(image, (SIDE, SIDE))
    assert top <= 255
    assert top + SIDE >= 345
    assert left <= 155
    assert left + SIDE >= 245


def test_the_first_samples_are_kept_whatever_the_batches():
    noisy = np.random.default_rng(1).normal(size=(150, 40)).astype(np.float32)
    samples = torch.arange(5)[:, None, None] * 1000 + torch.from_numpy(noisy)
    crops = []
    for sizes in ([5], [1, 1, 1, 1, 1], [2, 3]):
        watch = CropWatch(noisy)
        for batch in samples.split(sizes):
            watch.add(batch)
        crops.append(watch.crop)
    for crop in crops:
        assert crop.samples.shape == (SAMPLES, SIDE, 40)
        part = slice(crop.y, crop.y + SIDE), slice(crop.x, crop.x + 40)
        np.testing.assert_array_equal(crop.samples, samples.numpy()[:SAMPLES, part[0], part[1]])


def test_of_a_volume_the_plane_in_the_middle_is_kept():
    noisy = np.random.default_rng(2).normal(size=(5, 30, 40)).astype(np.float32)
    watch = CropWatch(noisy)
    watch.add(torch.from_numpy(noisy[None]) + torch.tensor([0.0, 1.0])[:, None, None, None])
    assert (watch.crop.z, watch.crop.samples.shape) == (2, (2, 30, 40))
    np.testing.assert_array_equal(watch.crop.samples[0], noisy[2])
