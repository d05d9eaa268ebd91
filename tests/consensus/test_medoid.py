import numpy as np
import pytest

from divseg import fuse
from divseg.consensus.medoid import agreement
from divseg.consensus.stack import LabelStack
from divseg.metrics import evaluate


def test_agreement_is_the_mean_map_to_the_others(cells):
    masks = [*cells[:5], np.zeros_like(cells[0])]
    stack = LabelStack.of(masks)
    found = agreement(stack, 24, 0)
    for k in range(6):
        others = [evaluate(masks[stack.order[k]], masks[j]).map for j in range(6) if j != stack.order[k]]
        assert found[k] == pytest.approx(np.mean(others))


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
