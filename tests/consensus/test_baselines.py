import numpy as np
import pytest

from divseg import fuse
from divseg.consensus.baselines import agreement
from divseg.consensus.stack import LabelStack
from divseg.metrics import evaluate


def test_majority_of_the_pixels_and_pieces(pair):
    both, _, left = pair
    result = fuse([both, both, left], method="majority")
    assert np.array_equal(result.labels > 0, both > 0)
    assert len(result.objects) == 1, "touching objects merge: the weakness of this baseline"
    assert not fuse([both, np.zeros_like(both)], method="majority").labels.any(), "half is no majority"


def test_weights_follow_their_samples(pair):
    both, _, left = pair
    masks = [left, both, left, both]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]):
        heavy = fuse([masks[k] for k in order], method="majority", weights=[1 + 2 * (k % 2) for k in order])
        assert np.array_equal(heavy.labels > 0, both > 0)
        light = fuse([masks[k] for k in order], method="majority", weights=[1 + 2 * (k % 2 == 0) for k in order])
        assert np.array_equal(light.labels > 0, left > 0)


def test_agreement_is_the_mean_map_to_the_others(cells):
    masks = [*cells[:5], np.zeros_like(cells[0])]
    stack = LabelStack.of(masks)
    score = agreement(stack, 24, 0)
    for k in range(6):
        others = [evaluate(masks[stack.order[k]], masks[j]).map for j in range(6) if j != stack.order[k]]
        assert score[k] == pytest.approx(np.mean(others))


def test_the_medoid_is_a_sample(cells, make_cells):
    rng = np.random.default_rng(0)
    noisy = [make_cells(rng, miss=0.6, jitter=2.0) for _ in range(3)]
    result = fuse([*noisy, *cells], method="medoid")
    matches = [k for k, m in enumerate([*noisy, *cells]) if np.array_equal(m > 0, result.labels > 0)]
    assert len(matches) == 1
    assert matches[0] >= 3


def test_two_empty_samples_agree(cells):
    empty = np.zeros_like(cells[0])
    result = fuse([empty, cells[0], empty], method="medoid")
    assert not result.labels.any()
