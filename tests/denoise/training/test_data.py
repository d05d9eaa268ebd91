import numpy as np
import pytest
import torch

from divseg.denoise.training import data as data_module
from divseg.denoise.training.data import TrainingData
from divseg.errors import DivsegWarning, InputError


def ramp(shape, dtype=np.uint16, offset=0):
    return (np.arange(shape[0] * shape[1]).reshape(shape) % 1000 + offset).astype(dtype)


def test_normalised_by_all_pixels_of_all_sizes():
    images = [ramp((40, 50)), ramp((64, 33), np.uint8), ramp((70, 70), np.float32)]
    data = TrainingData(images, patch=64, multiple=4)
    pixels = np.concatenate([im.ravel().astype(float) for im in images])
    assert data.intensity.mean == pytest.approx((pixels.mean(),))
    assert data.intensity.sd == pytest.approx((pixels.std(),))
    assert data.crop == (32, 32)  # the smallest side, 33, cut to a multiple of 4
    batch = data.batch(5, np.random.default_rng(0))
    assert batch.shape == (5, 1, 32, 32)
    assert batch.dtype == torch.float32


def test_crops_are_crops_in_all_eight_positions():
    image = np.arange(64.0).reshape(8, 8)
    data = TrainingData([np.tile(image, (2, 2))[:16, :16]], patch=16, multiple=4)
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(20):
        for crop in data.batch(8, rng):
            seen.add(tuple(np.rint(data.intensity.restore(crop[None]).numpy()).ravel().astype(int)))
    assert len(seen) == 8
    assert all(sorted(s) == sorted(np.tile(image, (2, 2)).ravel()) for s in seen)


def test_same_generator_same_crops():
    data = TrainingData([ramp((50, 50))], 16, 4)
    a, b = (data.batch(4, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(a, b)


def test_too_large_collections_are_thinned_with_a_warning(monkeypatch):
    monkeypatch.setattr(data_module, "MAX_BYTES", 5 * 32 * 32 * 2)
    with pytest.warns(DivsegWarning, match="of 16 images"):
        data = TrainingData([ramp((32, 32), offset=i) for i in range(16)], 16, 4)
    assert [int(im[0, 0, 0]) for im in data.images] == [0, 4, 8, 12]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "no images"),
        ([ramp((64, 64)), ramp((8, 64))], "8x64 pixels is smaller than the network's tile of 16x16"),
        ([np.full((32, 32), 5)], "same value"),
        ([np.zeros((3, 2, 32, 32))], "2-D"),
        ([np.zeros((3, 32, 32)), np.zeros((2, 32, 32))], "same channels"),
    ],
)
def test_unusable_images(images, message):
    with pytest.raises(InputError, match=message):
        TrainingData(images, 64, 4)


def test_thin_volumes_are_told_to_be_taken_plane_by_plane():
    with pytest.raises(InputError, match=r"3x64x64 pixels is smaller .* 4x16x16 pixels; give its planes"):
        TrainingData([np.stack([ramp((64, 64))] * 3)[None]], 64, 4, dims=3)
