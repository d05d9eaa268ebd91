"""Reassignment, support and conflicts of hypotheses."""

import numpy as np
import pytest

from divseg.consensus.evidence import ObjectEvidence
from divseg.consensus.hypotheses import find_conflicts, min_support, reassign
from divseg.consensus.run_lengths import RunLengths
from divseg.consensus.stack import LabelStack


def row(*spans, width=24):
    image = np.zeros((1, width), int)
    for label, (a, b) in enumerate(spans, 1):
        image[0, a:b] = label
    return image


def masks_of(*spans):
    """Masks in one row, which may overlap."""
    starts, stops = np.array(spans).T
    return RunLengths(starts, (stops - starts).astype(np.int32), np.arange(len(spans), dtype=np.int32), stops - starts)


@pytest.mark.parametrize(
    ("weights", "existence", "expected"),
    [
        ([1] * 7, None, (1, 1)),
        ([1] * 8, None, (2, 1)),
        ([1] * 100, None, (2, 5)),
        ([1] * 101, None, (2, 6)),
        ([1] * 100, 0.01, (1, 1)),
        ([1] * 100, 0.5, (1, 5)),
        ([1, 3], None, (1, 1)),
        ([1] * 7 + [93], None, (2, 5)),
    ],
)
def test_support_is_a_twentieth_of_the_weight_and_two_samples_of_eight(weights, existence, expected):
    assert min_support(LabelStack.of([row((0, 3))] * len(weights), weights), existence) == expected


def test_duplicates_are_one_hypothesis_with_all_members():
    stack = LabelStack.of([row((0, 10))] * 3 + [row((0, 9))] * 2)
    refined = reassign(stack, masks_of((0, 9), (0, 10)), None)
    assert np.diff(refined.votes.first).tolist() == [5]
    assert refined.runs.areas.tolist() == [10]


def test_an_object_votes_for_the_mask_that_it_matches_best():
    """The three wide objects match both masks, and most members of the two are different."""
    stack = LabelStack.of([row((0, 10))] * 4 + [row((0, 14))] * 3 + [row((0, 20))] * 4)
    refined = reassign(stack, masks_of((0, 10), (0, 20)), None)
    assert refined.runs.areas.tolist() == [10, 20]
    sizes = [sorted(stack.areas[refined.votes.members[a:b]].tolist()) for a, b in ((0, 7), (7, 11))]
    assert sizes == [[10] * 4 + [14] * 3, [20] * 4]


def test_masks_that_too_few_samples_hold_are_dropped():
    stack = LabelStack.of([row((0, 10))] * 8 + [row((0, 10), (14, 20))])
    assert reassign(stack, masks_of((0, 10), (14, 20)), None).n == 1
    assert reassign(stack, masks_of((0, 10), (14, 20)), 0.1).n == 2


def conflict(masks, *samples):
    """Whether two hypotheses exclude each other."""
    return len(find_conflicts(ObjectEvidence(masks_of(*masks), LabelStack.of(samples)))) > 0


def test_moderate_overlap_excludes_what_seldom_occurs_together():
    """Each in four of eight samples: independent objects would be together in two."""
    left, right, both, none = row((0, 10)), row((9, 19)), row((0, 10), (10, 19)), row()
    masks = [(0, 10), (9, 19)]
    assert conflict(masks, *[left] * 4, *[right] * 4)
    assert not conflict(masks, *[left] * 3, *[right] * 3, both, none)
    assert not conflict(masks, *[left] * 2, *[right] * 2, both, both, none, none)


def test_great_overlap_always_excludes_and_none_never():
    both = row((0, 10), (10, 16))
    assert conflict([(0, 10), (6, 16)], row((0, 10)), *[row((6, 16))] * 2, both, both)
    assert not conflict([(0, 10), (10, 20)], row((0, 10)), row((10, 20)))
