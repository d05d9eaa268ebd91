"""Shapes are those of scikit-image, whatever the object looks like."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import regionprops_table

from divseg.metrics.shape import measure_shape

THEIRS = {
    "area": "area",
    "perimeter": "perimeter",
    "axis_major": "axis_major_length",
    "axis_minor": "axis_minor_length",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "extent": "extent",
    "euler_number": "euler_number",
}


def check(labels):
    ours = measure_shape(labels, int(labels.max(initial=0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the hull of single pixels
        theirs = regionprops_table(labels, properties=("label", "orientation", *THEIRS.values()))
    rows = theirs["label"] - 1
    round_ones = ours["axis_major"][rows] - ours["axis_minor"][rows] < 1e-3  # their direction is chance
    turn = np.where(round_ones, 0, ours["orientation"][rows] - theirs["orientation"])
    np.testing.assert_allclose(np.sin(turn), 0, atol=1e-6)
    for name, other in THEIRS.items():
        np.testing.assert_allclose(ours[name][rows], theirs[other], rtol=1e-9, atol=1e-6, err_msg=name)
    absent = np.setdiff1d(np.arange(len(ours["area"])), rows)
    assert all(np.isnan(values[absent]).all() for values in ours.values())


@given(arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4)))
def test_any_label_image(labels):
    """With holes, in pieces, with labels left out, at the edges of the image."""
    check(labels)


def test_smooth_objects_far_from_the_corner():
    y, x = np.indices((300, 5000))
    labels = np.zeros(y.shape, np.int32)
    for k, (cy, cx, a, b, turn) in enumerate(
        [(80, 4700, 60, 25, 0.5), (200, 4500, 40, 40, 0), (220, 4800, 70, 9, 2.2)]
    ):
        u, v = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn), (x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)
        labels[(u / a) ** 2 + (v / b) ** 2 <= 1] = k + 1
    check(labels)
    found = measure_shape(labels, 3)
    np.testing.assert_allclose(found["axis_major"], [120, 80, 140], rtol=0.01)
    np.testing.assert_allclose(found["circularity"][1], 0.908, atol=0.005)


@pytest.mark.parametrize("shape", [(4, 5), (1, 1)])
def test_an_image_without_objects(shape):
    assert {len(values) for values in measure_shape(np.zeros(shape, np.uint16), 0).values()} == {0}
