import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divseg.errors import InputError
from divseg.napari.corrections import merged, removed, split


def dumbbell():
    """Return two discs of different size that touch, as one object, beside a third one."""
    y, x = np.indices((30, 60))
    labels = np.zeros(y.shape, np.int32)
    labels[(y - 14) ** 2 + (x - 15) ** 2 <= 100] = 3
    labels[(y - 14) ** 2 + (x - 30) ** 2 <= 64] = 3
    labels[(y - 14) ** 2 + (x - 50) ** 2 <= 49] = 7
    return labels


def test_removed_is_background_and_undo_brings_it_back():
    labels = dumbbell()
    made = removed(labels, 3)
    assert (labels == 3).any()
    made.do(labels)
    assert set(np.unique(labels)) == {0, 7}
    made.undo(labels)
    np.testing.assert_array_equal(labels, dumbbell())


def test_undo_leaves_what_was_painted_since():
    labels = dumbbell()
    made = removed(labels, 3)
    made.do(labels)
    labels[14, 15] = 9
    made.undo(labels)
    assert labels[14, 15] == 9
    assert np.count_nonzero(labels != dumbbell()) == 1


def test_split_parts_an_object_at_its_waist_and_the_larger_part_keeps_the_label():
    labels = dumbbell()
    made = split(labels, 3)
    assert made.labels == (3, 8)
    made.do(labels)
    assert labels[14, 12] == 3
    assert labels[14, 33] == 8
    waist = np.flatnonzero(labels[14, 5:38] == 8)[0] + 5
    assert 22 <= waist <= 26
    assert np.count_nonzero(labels == 3) > np.count_nonzero(labels == 8) > 100
    np.testing.assert_array_equal(labels > 0, dumbbell() > 0)


def test_split_at_points_gives_the_label_to_the_first():
    labels = dumbbell()
    split(labels, 3, [[14, 33.2], [13.8, 12]]).do(labels)
    assert labels[14, 33] == 3
    assert labels[14, 12] == 8


def test_merged_is_one_object_and_merging_undoes_a_split():
    labels = dumbbell()
    split(labels, 3).do(labels)
    merged(labels, 3, 8).do(labels)
    np.testing.assert_array_equal(labels, dumbbell())


def test_corners_touch():
    labels = np.array([[1, 0], [0, 2]], np.int32)
    merged(labels, 2, 1).do(labels)
    np.testing.assert_array_equal(labels, [[2, 0], [0, 2]])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda a: removed(a, 4), "no object 4"),
        (lambda a: removed(a, 0), "no object 0"),
        (lambda a: merged(a, 3, 3), "with itself"),
        (lambda a: merged(a, 3, 7), "3 and 7 do not touch"),
        (lambda a: split(a, 7), "7 has no waist"),
        (lambda a: split(a, 3, [[14, 15]]), "1 points"),
        (lambda a: split(a, 3, [[14, 15], [14, 50]]), "outside of object 3"),
        (lambda a: split(a, 3, [[14, 15], [-20, 15]]), "outside of object 3"),
        (lambda a: split(a, 3, [[14, 15], [14.2, 15]]), "in one pixel"),
    ],
)
def test_what_cannot_be_done_is_told(act, message):
    with pytest.raises(InputError, match=message):
        act(dumbbell())


@given(arrays(np.int32, (9, 11), elements=st.integers(0, 3)), st.data())
def test_corrections_change_nothing_else_and_can_be_undone(labels, data):
    label = data.draw(st.integers(1, 3))
    act = data.draw(st.sampled_from([removed, lambda a, k: merged(a, k, k % 3 + 1), split]))
    before = labels.copy()
    try:
        made = act(labels, label)
    except InputError:
        np.testing.assert_array_equal(labels, before)
        return
    made.do(labels)
    concerned = np.isin(before, made.labels)
    np.testing.assert_array_equal(labels[~concerned], before[~concerned])
    assert (labels != before).any()
    made.undo(labels)
    np.testing.assert_array_equal(labels, before)
