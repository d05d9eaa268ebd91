import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.morphology import h_maxima

from divseg.segment.flooding import flood, neighbours


def hills(*peaks, shape=(21, 61)):
    """A landscape of cones: (row, column, height)."""
    y, x = np.indices(shape)
    return np.max([h - np.hypot(y - r, x - c) for r, c, h in peaks], axis=0).astype(np.float32)


def test_two_hills_are_two_basins():
    height = hills((10, 15, 12), (10, 40, 12))
    labels = flood(height, height > -2, depth=1.0)
    assert labels.max() == 2
    assert labels[10, 15] == 1
    assert labels[10, 40] == 2
    assert labels[10, 26] == 1
    assert labels[10, 29] == 2


def test_the_dip_decides():
    height = hills((10, 20, 12), (10, 32, 9))
    dip = 9 - height[10, 20:33].min()
    mask = height > -5
    assert flood(height, mask, depth=dip - 0.01).max() == 2
    assert flood(height, mask, depth=dip).max() == 1
    assert flood(height, mask, depth=0, relative_depth=dip / 12 - 0.01).max() == 2
    assert flood(height, mask, depth=0, relative_depth=dip / 12 + 0.01).max() == 1


def test_near_peaks_are_one():
    height = hills((10, 20, 12), (10, 32, 12))
    assert flood(height, height > -5, depth=0, min_distance=12).max() == 2
    assert flood(height, height > -5, depth=0, min_distance=12.1).max() == 1
    assert flood(height, height > -5, depth=0, min_distance=12.1, spacing=(1, 2)).max() == 2


def test_a_plateau_is_one_basin():
    assert flood(np.ones((9, 9), np.float32), np.ones((9, 9), bool), depth=0).max() == 1


def test_empty():
    assert not flood(np.ones((3, 3)), np.zeros((3, 3), bool), depth=1).any()


def test_neighbours():
    assert [len(neighbours(2, 1)), len(neighbours(2, 2))] == [4, 8]
    assert [len(neighbours(3, c)) for c in (1, 2, 3)] == [6, 18, 26]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), depth=st.sampled_from([0.02, 0.1, 0.3]))
def test_as_many_basins_as_h_maxima(seed, depth):
    """Reconstruction, an independent way to the same peaks, over the whole plane with 8 neighbours."""
    rng = np.random.default_rng(seed)
    height = ndi.gaussian_filter(rng.random((24, 24)), 1.2)
    height = (height - height.min()) / (height.max() - height.min()) + 1
    expected = ndi.label(h_maxima(height, depth), np.ones((3, 3)))[1]
    assert flood(height, np.ones(height.shape, bool), depth=depth, connectivity=2).max() == expected


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 999),
    shape=st.sampled_from([(1, 1), (13, 17), (5, 6, 7)]),
    connectivity=st.integers(1, 2),
    depth=st.sampled_from([0.0, 0.1]),
)
def test_basins_are_a_partition_of_connected_regions(seed, shape, connectivity, depth):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.7
    labels = flood(rng.random(shape), mask, depth=depth, connectivity=connectivity)
    assert labels.dtype == np.int32
    assert np.array_equal(labels > 0, mask)
    found, first = np.unique(labels[mask], return_index=True)
    assert np.array_equal(found, np.arange(1, labels.max() + 1))
    assert np.array_equal(first, np.sort(first))  # numbered in raster order
    structure = ndi.generate_binary_structure(len(shape), connectivity)
    assert all(ndi.label(labels == k, structure)[1] == 1 for k in found)
    assert np.array_equal(ndi.label(mask, structure)[0] > 0, mask)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_joins_at_great_depth(dtype):
    rng = np.random.default_rng(0)
    mask = rng.random((40, 40)) < 0.7
    labels = flood(rng.random((40, 40)).astype(dtype), mask, depth=2.0)
    assert np.array_equal(labels, ndi.label(mask)[0])
