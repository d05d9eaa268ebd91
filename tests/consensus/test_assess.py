"""What samples say of a label image from anywhere."""

import numpy as np
import pytest

from divseg import assess, fuse
from divseg.errors import InputError


def test_the_consensus_itself_is_told_the_same(cells):
    found = fuse(cells)
    again = assess(found.labels, cells)
    assert np.array_equal(again.labels, found.labels)
    assert again.objects.equals(found.objects)
    assert again.expected == pytest.approx(found.expected)
    assert np.array_equal(again.foreground, found.foreground)
    assert (again.method, len(again.alternatives)) == ("given", 0)


def test_existence_is_the_share_of_samples_and_labels_are_renumbered():
    drawn = np.zeros((12, 20), np.uint16)
    drawn[2:8, 12:18], drawn[3:9, 2:8] = 7, 900
    there = np.zeros((12, 20), np.int32)
    there[2:8, 12:18] = 1
    found = assess(drawn, [there, there, np.zeros_like(there), there])
    assert found.objects["label"].tolist() == [1, 2]  # in the order of their first pixels
    assert found.objects["existence"].tolist() == [0.75, 0.0]
    assert found.objects["mean_iou"].tolist()[0] == 1
    assert found.counts.tolist() == [1, 1, 0, 1]
    heavy = assess(drawn, [there, np.zeros_like(there)], weights=[3, 1])
    assert heavy.objects["existence"].tolist() == [0.75, 0.0]
    volume = assess(np.stack([drawn, drawn]), [np.stack([there, there])])
    assert volume.objects["existence"].tolist() == [1.0, 0.0]


def test_wrong_labels(cells):
    with pytest.raises(InputError, match="labels have the shape"):
        assess(cells[0][1:], cells)
    with pytest.raises(InputError, match="labels has dtype float64"):
        assess(np.zeros(cells[0].shape), cells)
    with pytest.raises(InputError, match="negative label"):
        assess(-cells[0].astype(np.int32), cells)
