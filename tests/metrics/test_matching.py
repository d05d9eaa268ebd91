from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divseg.errors import InputError
from divseg.metrics import count_overlap, match
from divseg.metrics.matching import _DENSE_NODES, heaviest_matching


def best_by_brute_force(weights):
    """Total weight of the heaviest matching of a dense table, by trying all."""
    weights = weights if weights.shape[0] <= weights.shape[1] else weights.T
    rows = range(len(weights))
    return max(weights[rows, list(chosen)].sum() for chosen in permutations(range(weights.shape[1]), len(weights)))


@given(st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_heaviest_matching_is_the_heaviest(seed):
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(1, 6, 2)
    # few distinct weights, so that there are ties
    weights = rng.integers(0, 4, (rows, cols)) / 4 * (rng.random((rows, cols)) < 0.7)
    row, col = np.nonzero(weights)
    chosen = heaviest_matching(row, col, weights[row, col])
    assert len(set(row[chosen])) == len(set(col[chosen])) == len(chosen)
    assert weights[row[chosen], col[chosen]].sum() == pytest.approx(best_by_brute_force(weights))


@pytest.mark.parametrize(("rows", "cols"), [(300, 280), (250, 320)])
def test_sparse_solver_agrees_with_the_dense_one(rows, cols):
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(rows)
    dense = rng.random((rows, cols)) * (rng.random((rows, cols)) < 0.05)
    assert rows + cols > _DENSE_NODES
    row, col = np.nonzero(dense)
    chosen = heaviest_matching(row, col, dense[row, col])
    assert len(set(row[chosen])) == len(set(col[chosen])) == len(chosen)
    expected = dense[linear_sum_assignment(dense, maximize=True)].sum()
    assert dense[row[chosen], col[chosen]].sum() == pytest.approx(expected)


def test_more_matches_win_over_better_ones():
    """The prediction in the middle could take either reference; only one choice leaves room for its neighbour."""
    truth = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2]])
    pred = np.array([[7, 7, 8, 8, 8, 8, 8, 8, 8]])
    overlap = count_overlap(pred, truth)
    assert overlap.iou.tolist() == [2 / 6, 4 / 9, 3 / 7]
    assert match(overlap, 0.3).tolist() == [0, 2]
    assert match(overlap, 0.4).tolist() == [1]


def test_exactly_one_half_counts_and_is_shared_out():
    truth, pred = np.array([[1, 1, 0]]), np.array([[3, 4, 0]])
    overlap = count_overlap(pred, truth)
    assert overlap.iou.tolist() == [0.5, 0.5]
    assert len(match(overlap, 0.5)) == 1
    assert len(match(overlap, 0.51)) == 0


@pytest.mark.parametrize("tenths", range(1, 11))
def test_iou_equal_to_the_threshold_counts_whatever_its_rounding(tenths):
    """np.arange gives 0.6000000000000001 where 0.6 is meant."""
    truth = np.ones((1, 10), int)
    pred = (np.arange(10) < tenths).astype(int)[None]
    overlap = count_overlap(pred, truth)
    for threshold in (tenths / 10, tenths * 0.1, np.nextafter(tenths / 10, 2), np.arange(0, 1.01, 0.1)[tenths]):
        assert len(match(overlap, threshold)) == 1
    assert len(match(overlap, min(1, tenths / 10 + 1e-6))) == (tenths == 10)


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, np.nan, "half", None])
def test_impossible_thresholds(threshold):
    overlap = count_overlap(np.ones((2, 2), int), np.ones((2, 2), int))
    with pytest.raises(InputError, match="IoU threshold"):
        match(overlap, threshold)
