import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divseg.consensus.cluster_masks import cluster_masks
from divseg.consensus.run_lengths import RunLengths, from_runs
from divseg.consensus.stack import LabelStack

members = st.lists(hnp.arrays(bool, (4, 6)).filter(np.any), min_size=1, max_size=7)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@settings(max_examples=60)
@given(members)
def test_the_mask_has_the_greatest_mean_iou_of_all_levels(masks):
    stack = LabelStack.of([m.astype(int) for m in masks])
    result = cluster_masks(stack, np.zeros(len(masks), np.int64), np.arange(len(masks)))
    votes = np.sum(masks, axis=0)
    z0, y0, x0, z1, y1, x1 = result.votes.boxes[0]
    assert np.array_equal(result.votes.counts.reshape(z1 - z0, y1 - y0, x1 - x0)[0], votes[y0:y1, x0:x1])
    mask = from_runs(result.runs, stack.volume)[0] > 0
    score = np.mean([iou(mask, m) for m in masks])
    best = max(np.mean([iou(votes >= t, m) for m in masks]) for t in range(1, votes.max() + 1))
    assert score >= best - 1e-9
    assert np.array_equal(mask, votes >= result.min_votes[0])
    assert result.runs.areas[0] == mask.sum()


def test_clusters_do_not_mix_and_may_share_members():
    image = np.array([[1, 1, 0, 2, 2]])
    stack = LabelStack.of([image, image])
    result = cluster_masks(stack, np.array([0, 0, 1, 1, 2]), np.array([0, 2, 1, 3, 0]))
    assert np.diff(result.votes.first).tolist() == [2, 2, 1]
    assert result.runs.areas.tolist() == [2, 2, 2]
    assert result.runs.starts.tolist() == [0, 0, 3]


def test_many_members_are_read_at_fewer_levels():
    """With 200 members the level is within one step of the best one."""
    rng = np.random.default_rng(0)
    masks = [np.pad(np.ones((9, int(w)), int), ((1, 1), (1, 39 - int(w)))) for w in rng.integers(4, 30, 200)]
    stack = LabelStack.of(masks)
    result = cluster_masks(stack, np.zeros(200, np.int64), np.arange(200))
    votes = np.sum(masks, axis=0)
    scores = [np.mean([iou(votes >= t, m > 0) for m in masks]) for t in range(1, 200)]
    assert np.mean([iou(votes >= result.min_votes[0], m > 0) for m in masks]) > max(scores) - 0.002


def test_nothing_gives_nothing():
    stack = LabelStack.of([np.zeros((3, 3), int)])
    none = np.empty(0, np.int64)
    result = cluster_masks(stack, none, none)
    assert len(result.runs.areas) == 0
    assert isinstance(result.runs, RunLengths)
