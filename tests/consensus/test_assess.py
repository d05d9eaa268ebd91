"""What samples say of a label image from anywhere."""

import numpy as np
import pytest

from divseg import assess, fuse
from divseg.consensus import LabelStack
from divseg.errors import ConfigError, InputError


def test_the_assessment_of_a_consensus_is_its_own(cells):
    result = fuse(cells)
    again = assess(result.labels, cells)
    assert np.array_equal(again.labels, result.labels)
    assert again.objects.equals(result.objects)
    assert again.expected == pytest.approx(result.expected)
    assert np.array_equal(again.foreground, result.foreground)
    assert (again.method, len(again.alternatives)) == ("given", 0)


def test_existence_is_the_share_of_samples_and_labels_are_renumbered():
    drawn = np.zeros((12, 20), np.uint16)
    drawn[2:8, 12:18], drawn[3:9, 2:8] = 7, 900
    there = np.zeros((12, 20), np.int32)
    there[2:8, 12:18] = 1
    result = assess(drawn, [there, there, np.zeros_like(there), there])
    assert result.objects["label"].tolist() == [1, 2]  # in the order of their first pixels
    assert result.objects["existence"].tolist() == [0.75, 0.0]
    assert result.objects["mean_iou"].tolist()[0] == 1
    assert result.counts.tolist() == [1, 1, 0, 1]
    heavy = assess(drawn, [there, np.zeros_like(there)], weights=[3, 1])
    assert heavy.objects["existence"].tolist() == [0.75, 0.0]
    volume = assess(np.stack([drawn, drawn]), [np.stack([there, there])])
    assert volume.objects["existence"].tolist() == [1.0, 0.0]


def test_wrong_labels(cells):
    with pytest.raises(InputError, match="labels have the shape"):
        assess(cells[0][1:], cells)
    with pytest.raises(InputError, match="labels: a label image holds integers, not float64"):
        assess(np.zeros(cells[0].shape), cells)
    with pytest.raises(InputError, match=r"labels: label -\d+ is negative"):
        assess(-cells[0].astype(np.int32), cells)


def test_existence_is_what_the_samples_say_whoever_else_voted():
    """One sample in four, but five other voters, hold the left object; all hold the right one."""
    both = np.zeros((12, 24), np.int32)
    both[2:10, 2:10], both[2:10, 13:21] = 1, 2
    samples = [both, *[np.where(both == 2, 2, 0)] * 3]
    voters = LabelStack.of([*samples, *[both] * 5])
    fused = fuse(voters)
    assert fused.objects["existence"].tolist() == pytest.approx([6 / 9, 1])
    assert len(fuse(voters, existence=0.5).objects) == 2
    result = assess(fused, voters.select(range(4)), existence=0.5)
    assert result.objects["existence"].tolist() == [1]
    assert np.array_equal(result.labels, both == 2), "renumbered from 1"
    assert result.objects["label"].tolist() == [1]
    assert result.n_samples == 4
    assert result.method == fused.method
    assert result.expected == assess(both == 2, samples).expected
    assert len(assess(fused, samples).objects) == len(assess(fused, samples, existence=0.25).objects) == 2
    assert len(assess(fused, samples, existence=0.26).objects) == 1
    with pytest.raises(ConfigError, match=r"existence=1\.1"):
        assess(fused, samples, existence=1.1)


def test_alternatives_of_a_consensus_follow_its_labels(pair):
    both, merged, left = pair
    rare = np.zeros_like(both)
    rare[0, 0] = 5
    first = np.where(rare > 0, 3, both)
    fused = fuse([first] * 5 + [merged] * 3 + [left] * 2)
    assert fused.alternatives["rivals"].tolist() == ["2 3"]
    result = assess(fused, [both] * 3, existence=0.5)
    assert result.alternatives["rivals"].tolist() == ["1 2"]
    assert result.alternatives.drop(columns="rivals").equals(fused.alternatives.drop(columns="rivals"))
    gone = assess(fused, [np.zeros_like(both), left], existence=0.5)
    assert gone.alternatives["rivals"].tolist() == ["1"]


def test_a_stack_is_as_good_as_its_label_images(cells):
    stack, labels = LabelStack.of(cells), cells[3]
    weights = [2, 0, 1] * 4
    for weight in (None, weights):
        a, b = assess(labels, stack, weights=weight), assess(labels, cells, weights=weight)
        assert a.objects.equals(b.objects)
        assert a.expected == b.expected
