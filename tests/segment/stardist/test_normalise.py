import numpy as np
import pytest
import torch
from csbdeep.utils import normalize

from divseg.segment.stardist import normalise as module
from divseg.segment.stardist.normalise import find_limits, normalise


def batches():
    rng = np.random.default_rng(0)
    yield rng.normal(100, 20, (2, 1, 37, 41)).astype(np.float32)
    yield rng.normal(100, 20, (1, 1, 37, 41))
    yield rng.integers(0, 255, (3, 1, 31, 33)).astype(np.uint8)
    yield rng.integers(0, 60000, (2, 2, 31, 33)).astype(np.uint16)
    yield rng.integers(0, 2**31, (2, 1, 31, 33))
    yield rng.random((1, 1, 31, 33)) < 0.3
    yield rng.normal(0, 1e-3, (1, 1, 5, 9, 11)).astype(np.float32)
    yield np.full((1, 1, 8, 8), 7.0, np.float32)


@pytest.fixture(params=["numpy", "sorted"])
def way(request, monkeypatch):
    """Percentiles of NumPy, and of pixels sorted on the device."""
    monkeypatch.setattr(module, "NUMPY_ON", ("cpu",) if request.param == "numpy" else ())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("limits", [(1, 99.8), (0, 100), (3, 60.5), (49.9, 50.1)])
def test_as_csbdeep_to_the_last_bit(limits):
    for batch in batches():
        tensor = torch.from_numpy(batch)
        ours = normalise(tensor, find_limits(tensor, limits, joint=False)).numpy()
        joint = normalise(tensor, find_limits(tensor, limits, joint=True)).numpy()
        for i, image in enumerate(batch.astype(float) if batch.dtype == bool else batch):
            np.testing.assert_array_equal(ours[i], normalize(image, *limits, axis=tuple(range(1, image.ndim))))
            np.testing.assert_array_equal(joint[i], normalize(image, *limits))


@pytest.mark.usefixtures("way")
def test_flat_images_are_known():
    varied = torch.arange(10000.0).reshape(1, 1, 100, 100)
    constant = torch.full_like(varied, 3)
    speck = constant.clone()
    speck[..., 7, 7] = 5
    flat = find_limits(torch.cat([varied, constant, speck]), (1, 99.8), False).flat
    assert flat.tolist() == [False, False, True]
    two = torch.cat([varied, speck], 1)
    assert find_limits(two, (1, 99.8), False).flat.tolist() == [True]
    assert find_limits(two, (1, 99.8), True).flat.tolist() == [False]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_known(value):
    batch = torch.rand(3, 2, 9, 9)
    batch[1, 1, 4, 5] = value
    assert find_limits(batch, (1, 99.8), False).finite.tolist() == [True, False, True]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_a_grain_of_dust_does_not_move_the_percentiles(dtype):
    rng = np.random.default_rng(0)
    image = np.where(rng.random((1, 1, 100, 100)) < 0.2, 600, 100) + rng.normal(0, 5, (1, 1, 100, 100))
    dusty = image.copy()
    dusty[..., 50:57, 50:57] = 60000
    plain, moved = (find_limits(torch.from_numpy(x.astype(dtype)), (1, 99.8), False) for x in (image, dusty))
    np.testing.assert_allclose(moved.low, plain.low, atol=1)
    np.testing.assert_allclose(moved.high, plain.high, atol=2)
    assert moved.greatest.item() == 60000
