"""Hot and dead pixels, cosmic rays."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from divseg.denoise.noise import outliers


def noisy(seed=0):
    rng = np.random.default_rng(seed)
    structure = 60.0 * (ndi.gaussian_filter(rng.standard_normal((160, 120)), 4) > 0.08)
    return 100 + structure + rng.normal(0, 5, structure.shape)


@pytest.mark.parametrize("value", [0.0, 400.0, 65535.0])
def test_single_extreme_pixels_are_marked(value):
    image = noisy()
    spots = np.random.default_rng(1).permutation(image.size)[:15]
    image.ravel()[spots] = value
    marked = np.flatnonzero(outliers(image))
    assert set(marked) <= set(spots)
    assert len(marked) >= 12  # some lie on edges or beside each other


def test_nothing_is_marked_in_good_images():
    assert not outliers(noisy()).any()
    assert not outliers(np.zeros((20, 20))).any()


@pytest.mark.parametrize("light", [0.05, 2.0, 20.0])
def test_photons_are_not_outliers(light):
    assert outliers(np.random.default_rng(2).poisson(light, (300, 300))).sum() < 5


def test_a_spot_as_wide_as_optics_make_it_is_not_one_pixel():
    image = noisy()
    image[80:83, 60:63] += np.outer([1, 2, 1], [1, 2, 1]) * 100
    assert not outliers(image)[78:85, 58:65].any()


def test_planes_are_taken_one_by_one():
    image = noisy()
    image[50, 50] = 5000
    stack = np.stack([image, noisy(3)])
    np.testing.assert_array_equal(outliers(stack)[0], outliers(image))
    assert outliers(stack).sum() == 1
