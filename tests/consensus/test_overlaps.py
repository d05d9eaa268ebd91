import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divseg.consensus.overlaps import cross_overlaps, iou_edges, overlaps, self_overlaps
from divseg.consensus.run_lengths import RunLengths, to_runs
from divseg.consensus.stack import LabelStack

labels = hnp.arrays(np.uint8, (5, 8), elements=st.integers(0, 4))
masks = st.lists(hnp.arrays(bool, (5, 8)), min_size=1, max_size=4)


def runs_of(masks):
    """RunLengths of overlapping masks, sorted by start."""
    single = [to_runs(m.astype(int)) for m in masks]
    starts = np.concatenate([r.starts for r in single])
    lengths = np.concatenate([r.lengths for r in single])
    objects = np.concatenate([np.full(len(r.starts), i, np.int32) for i, r in enumerate(single)])
    order = np.argsort(starts, kind="stable")
    return RunLengths(starts[order], lengths[order], objects[order], np.array([m.sum() for m in masks]))


@given(masks, st.lists(labels, min_size=1, max_size=4))
def test_contacts_count_shared_pixels(masks, samples):
    stack = LabelStack.of(samples)
    result = overlaps(runs_of(masks), stack)
    got = {
        (a, b): n for a, b, n in zip(result.first.tolist(), result.second.tolist(), result.shared.tolist(), strict=True)
    }
    expected = {}
    for a, mask in enumerate(masks):
        for k in range(len(samples)):
            image = stack.decode(k)[0]
            for i, n in enumerate(np.bincount(image[mask], minlength=1)):
                if i and n:
                    expected[a, i - 1 + stack.object_offsets[k]] = n
    assert got == expected
    assert len(result.first) == len(got)
    for a, b, iou in zip(result.first, result.second, result.iou, strict=True):
        other = stack.decode(stack.sample_of[b])[0] == b - stack.object_offsets[stack.sample_of[b]] + 1
        assert iou == (masks[a] & other).sum() / (masks[a] | other).sum()
        assert (result.members[a, stack.sample_of[b]] == b) == (iou > 0.5)


@given(labels, labels)
def test_iou_edges_of_a_pair(one, two):
    stack = LabelStack.of([one, two])
    first, second, iou = iou_edges(stack, np.array([[0, 1]]), 0.1)
    a, b = stack.decode(0), stack.decode(1)
    expected = {}
    for i in range(1, a.max() + 1):
        for j in range(1, b.max() + 1):
            value = ((a == i) & (b == j)).sum() / ((a == i) | (b == j)).sum()
            if value > 0.1:
                expected[i - 1, j - 1 + a.max()] = value
    assert dict(zip(zip(first.tolist(), second.tolist(), strict=True), iou.tolist(), strict=True)) == expected


@given(masks)
def test_masks_of_one_set_share_pixels(masks):
    first, second, shared = self_overlaps(runs_of(masks))
    expected = {
        (i, j): int((masks[i] & masks[j]).sum())
        for i in range(len(masks))
        for j in range(i + 1, len(masks))
        if (masks[i] & masks[j]).any()
    }
    assert dict(zip(zip(first.tolist(), second.tolist(), strict=True), shared.tolist(), strict=True)) == expected


@given(masks, labels)
def test_cross_contacts_with_one_image(masks, image):
    first, second, shared = cross_overlaps(runs_of(masks), to_runs(image))
    total = np.zeros(len(masks))
    np.add.at(total, first, shared)
    assert total.tolist() == [np.count_nonzero(image[m]) for m in masks]
    assert second.max(initial=-1) < len(np.unique(image))


def test_threads_give_the_same_pairs_in_the_same_order(monkeypatch):
    rng = np.random.default_rng(3)
    stack = LabelStack.of([rng.integers(0, 5, (12, 14)) for _ in range(7)])
    pairs = np.argwhere(np.triu(np.ones((7, 7), bool), 1))
    runs = stack.sample(2)
    alone = overlaps(runs, stack), iou_edges(stack, pairs, 0.0)
    monkeypatch.setattr("divseg.consensus.overlaps.THREADED", 0)
    monkeypatch.setattr("divseg.consensus.overlaps.config.NUMBA_NUM_THREADS", 3)
    shared = overlaps(runs, stack), iou_edges(stack, pairs, 0.0)
    for name in ("first", "second", "shared"):
        assert np.array_equal(getattr(alone[0], name), getattr(shared[0], name))
    assert len(alone[1][0]) > 100
    assert all(np.array_equal(a, b) for a, b in zip(alone[1], shared[1], strict=True))
