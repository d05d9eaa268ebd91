import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from divseg.segment.distance import distance_to_background


@settings(deadline=None, max_examples=60)
@given(
    shape=st.one_of(st.tuples(*[st.integers(1, 25)] * 2), st.tuples(*[st.integers(1, 10)] * 3)),
    density=st.sampled_from([0.3, 0.9, 0.99]),
    seed=st.integers(0, 999),
    step=st.sampled_from([1.0, 0.4, 2.7]),
)
def test_equals_scipy(shape, density, seed, step):
    mask = np.random.default_rng(seed).random(shape) < density
    mask.flat[seed % mask.size] = False
    spacing = (step, *[1.0] * (len(shape) - 1))
    expected = ndi.distance_transform_edt(mask, sampling=spacing)
    distance = distance_to_background(mask, spacing)
    assert distance.dtype == np.float32
    np.testing.assert_allclose(distance, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4)])
def test_no_background_no_distance(shape):
    assert np.isinf(distance_to_background(np.ones(shape, bool))).all()
    assert not distance_to_background(np.zeros(shape, bool)).any()
