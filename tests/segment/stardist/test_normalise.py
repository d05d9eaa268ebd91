import numpy as np
import pytest
import torch
from csbdeep.utils import normalize

from divseg.segment.stardist import normalise as module
from divseg.segment.stardist.normalise import find_limits, normalise


def images():
    rng = np.random.default_rng(0)
    yield rng.normal(100, 20, (1, 37, 41)).astype(np.float32)
    yield rng.normal(100, 20, (1, 37, 41))
    yield rng.integers(0, 255, (1, 31, 33)).astype(np.uint8)
    yield rng.integers(0, 60000, (2, 31, 33)).astype(np.uint16)
    yield rng.normal(0, 1e-3, (1, 5, 9, 11)).astype(np.float32)
    yield np.full((1, 8, 8), 7.0, np.float32)


@pytest.mark.parametrize("limits", [(1, 99.8), (0, 100), (3, 60.5)])
def test_as_csbdeep_to_the_last_bit(limits):
    for image in images():
        tensor = torch.from_numpy(image)
        axis = tuple(range(1, image.ndim))
        ours = normalise(tensor, find_limits(tensor, limits, joint=False)).numpy()
        np.testing.assert_array_equal(ours, normalize(image, *limits, axis=axis))
        joint = normalise(tensor, find_limits(tensor, limits, joint=True)).numpy()
        np.testing.assert_array_equal(joint, normalize(image, *limits))


def test_sorted_on_the_device_the_percentiles_are_numpys():
    for image in images():
        flat = torch.from_numpy(image.reshape(len(image), -1))
        flat = flat if flat.is_floating_point() else flat.double()
        for q in ((1, 99.8), (0, 100), (49.9, 50.1)):
            ours = module._percentiles(flat, q).astype(np.float32)
            np.testing.assert_array_equal(ours, np.percentile(flat.numpy(), q, axis=1).astype(np.float32))


def test_a_flat_image_is_known():
    assert find_limits(torch.ones(1, 4, 4), (1, 99.8), False).flat
    assert not find_limits(torch.arange(16.0).reshape(1, 4, 4), (1, 99.8), False).flat
