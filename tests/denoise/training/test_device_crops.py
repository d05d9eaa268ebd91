import numpy as np
import pytest
import torch

from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.device_crops import DeviceImages


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int32])
@pytest.mark.parametrize(("dims", "shapes"), [(2, [(40, 50), (64, 33)]), (3, [(9, 40, 40), (20, 33, 47)])])
@pytest.mark.parametrize("channels", [1, 3])
def test_crops_on_the_device_are_those_of_the_host(dtype, dims, shapes, channels):
    rng = np.random.default_rng(0)
    top = 60_000 if np.dtype(dtype).itemsize > 1 else 255
    images = [(rng.random((channels, *shape)) * top).astype(dtype) for shape in shapes]
    host = TrainingData(images, 64, 4, dims=dims)
    device = TrainingData(images, 64, 4, dims=dims)
    device._device = DeviceImages(images, torch.device("cpu"))
    for size in (1, 7, 20):
        a, b = (d.batch(size, np.random.default_rng(size)) for d in (host, device))
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_pixels_are_held_as_stored():
    images = [np.full((1, 32, 32), 60_000, np.uint16), np.full((1, 16, 64), 3, np.uint16)]
    held = DeviceImages(images, torch.device("cpu"))
    assert held.nbytes == 2 * 2 * 1024
    mixed = DeviceImages([images[0], images[1].astype(np.uint8)], torch.device("cpu"))
    assert mixed.nbytes == 4 * 2 * 1024
    for store in (held, mixed):
        assert store.crops(np.array([[0, 0, 0, 5]]), (16, 16)).unique().tolist() == [60_000.0]
