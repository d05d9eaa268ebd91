"""Whether images show anything but noise."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from divseg.denoise.training.content import holds_only_noise


def field(cells, std=25.0, seed=0, side=192, light=0.0):
    """Return a noisy field of discs of contrast 60, under light that rises over the field."""
    rng = np.random.default_rng(seed)
    clean, (y, x) = np.full((side, side), 100.0), np.indices((side, side))
    for cy, cx in rng.uniform(0, side, (cells, 2)):
        clean[np.hypot(y - cy, x - cx) < 9] = 160.0
    clean = ndi.gaussian_filter(clean, 1) + light * x / side
    return (clean + rng.normal(0, std, clean.shape)).astype(np.float32)


def empty(planes, valid=None):
    return holds_only_noise(planes, valid or [None] * len(planes))


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_nothing(seed):
    rng = np.random.default_rng(seed)
    photons = rng.poisson(0.3, (192, 192)).astype(np.float32)
    for planes in ([field(0, seed=seed)] * 2, [1e4 * field(0, seed=seed)], [photons], [field(0, light=40, seed=seed)]):
        assert empty(planes)


@pytest.mark.parametrize("std", [12, 25, 50])
@pytest.mark.parametrize("cells", [1, 12])
def test_cells_in_one_of_many_fields_are_something(cells, std):
    assert not empty([field(cells, std)] + [field(0, std, k) for k in range(1, 8)])


def test_faint_texture_everywhere_is_something():
    """No block stands out, but all of them together do."""
    rng = np.random.default_rng(3)
    texture = ndi.gaussian_filter(rng.standard_normal((4, 256, 256)), (0, 1.5, 1.5))
    noise = rng.standard_normal(texture.shape)
    assert not empty(list(noise + 0.15 * texture / texture.std()))
    assert empty(list(noise))


def test_only_data_counts():
    padded, valid = field(0), np.ones((192, 192), bool)
    padded[:, :61], valid[:, :61] = 0, False
    padded[100, 100], valid[100, 100] = 1e4, False
    assert empty([padded], [valid])
    assert not empty([padded])


@pytest.mark.parametrize("planes", [[], [np.zeros((8, 900), np.float32)], [field(0, side=64)]])
def test_too_few_pixels_leave_it_open(planes):
    assert not empty(planes)
