import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from divseg.segment.clean import drop_objects, fill_holes


@settings(deadline=None, max_examples=50)
@given(shape=st.sampled_from([(1, 1), (12, 15), (5, 6, 7)]), density=st.floats(0.1, 0.99), seed=st.integers(0, 999))
def test_filling_equals_scipy(shape, density, seed):
    mask = np.random.default_rng(seed).random(shape) < density
    assert np.array_equal(fill_holes(mask), ndi.binary_fill_holes(mask))


def test_large_holes_stay_open():
    mask = np.ones((12, 20), bool)
    mask[2:5, 2:5] = False  # 9 pixels
    mask[3:7, 10:14] = False  # 16 pixels
    filled = fill_holes(mask, 9)
    assert filled[3, 3]
    assert not filled[5, 12]
    assert fill_holes(mask, 16).all()
    assert not fill_holes(mask, 8)[3, 3]


LABELS = np.array(
    [
        [1, 1, 0, 2, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 3, 3, 3, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 4, 4, 5, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    np.int32,
)


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"min_size": 2}, [1, 3, 4]),
        ({"max_size": 2}, [1, 2, 4, 5]),
        ({"min_size": 2, "max_size": 2}, [1, 4]),
        ({"clear_border": True}, [3, 4, 5]),
        ({"clear_border": True, "min_size": 2}, [3, 4]),
        ({"min_size": 99}, []),
    ],
)
def test_objects_are_dropped_and_numbered_anew(limits, kept):
    expected = np.zeros_like(LABELS)
    for new, old in enumerate(kept, 1):
        expected[old == LABELS] = new
    found = drop_objects(LABELS, **limits)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)


def test_volumes_have_six_faces():
    labels = np.zeros((5, 5, 5), np.int32)
    labels[0, 2, 2], labels[2, 2, 2], labels[2, 2, 4] = 1, 2, 3
    assert np.argwhere(drop_objects(labels, clear_border=True)).tolist() == [[2, 2, 2]]
