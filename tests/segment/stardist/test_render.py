import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stardist.geometry import polygons_to_label

from divseg.segment.stardist.render import paint_polygons


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 12), rays=st.integers(3, 40), whole=st.booleans())
def test_pixel_for_pixel_as_stardist(seed, n, rays, whole):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 40, 2))
    points = rng.integers(-3, 43, (n, 2))
    dist = rng.uniform(1e-3, 15, (n, rays)).astype(np.float32)
    if whole:  # many vertices and edges on pixels
        dist = np.round(dist)
    prob = rng.choice(np.float32([0.2, 0.5, 0.7, 0.9]), n)  # with ties
    np.testing.assert_array_equal(
        paint_polygons(dist, points, prob, shape), polygons_to_label(dist, points, shape, prob=prob)
    )


@pytest.mark.parametrize("rays", [4, 8, 32])
def test_pixels_on_edges_and_vertices(rays):
    points = np.array([[5, 5], [5, 9], [0, 0], [15, 15]])
    dist = np.full((4, rays), 4, np.float32)
    prob = np.float32([0.9, 0.8, 0.7, 0.6])
    labels = paint_polygons(dist, points, prob, (16, 16))
    np.testing.assert_array_equal(labels, polygons_to_label(dist, points, (16, 16), prob=prob))
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4}
    assert labels[1, 5] == labels[9, 5] == labels[5, 9] == 1
