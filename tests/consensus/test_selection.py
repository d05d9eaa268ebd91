"""Set packing and the choice of hypotheses, against enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divseg.consensus.evidence import THRESHOLDS, ObjectEvidence
from divseg.consensus.packing import _branch, _milp, _search, pack
from divseg.consensus.run_lengths import RunLengths, to_runs
from divseg.consensus.selection import select
from divseg.consensus.stack import LabelStack
from divseg.metrics import evaluate


def subsets(n, conflicts):
    for size in range(n + 1):
        for chosen in itertools.combinations(range(n), size):
            if not any(a in chosen and b in chosen for a, b in conflicts):
                yield list(chosen)


@st.composite
def packings(draw):
    n = draw(st.integers(1, 8))
    weight = draw(st.lists(st.integers(-3, 9), min_size=n, max_size=n))
    pairs = [p for p in itertools.combinations(range(n), 2) if draw(st.booleans())]
    return np.array(weight, float), np.array(pairs, np.int64).reshape(-1, 2)


@given(packings())
def test_packing_is_the_best_of_all_sets(problem):
    weight, conflicts = problem
    chosen = pack(weight, conflicts)
    assert not (chosen[conflicts].all(axis=1)).any()
    assert not chosen[weight <= 0].any()
    assert weight[chosen].sum() == max(weight[s].sum() for s in subsets(len(weight), conflicts.tolist()))


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(3, 20))
def test_branch_and_bound_equals_the_integer_programme(seed, n):
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(np.triu(rng.random((n, n)) < 0.25, 1))
    if len(pairs):
        weight = rng.random(n) + 0.01
        assert weight[_branch(weight, pairs)].sum() == pytest.approx(weight[_milp(weight, pairs)].sum())


def test_search_is_near_the_optimum_and_valid():
    rng = np.random.default_rng(0)
    ratio = []
    for _ in range(10):
        pairs = np.argwhere(np.triu(rng.random((60, 60)) < 0.06, 1))
        weight = rng.random(60) + 0.01
        chosen = _search(weight, pairs)
        assert not chosen[pairs].all(axis=1).any()
        ratio.append(weight[chosen].sum() / weight[_milp(weight, pairs)].sum())
    assert min(ratio) > 0.8
    assert np.mean(ratio) > 0.9


def test_noise_is_packed_in_time():
    """One component of 3000 hypotheses that no integer programme would solve."""
    rng = np.random.default_rng(0)
    pairs = np.unique(np.sort(rng.integers(0, 3000, (12000, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    chosen = pack(rng.random(3000), pairs)
    assert not chosen[pairs].all(axis=1).any()
    assert chosen.sum() > 600


def test_great_components_are_solved():
    """A path of 61 equal hypotheses: every second one, from the first."""
    pairs = np.stack([np.arange(60), np.arange(1, 61)], axis=1)
    assert pack(np.ones(61), pairs).nonzero()[0].tolist() == list(range(0, 61, 2))


def hypotheses(seed):
    """Samples of a row of cells, and overlapping hypotheses: every cell, every pair of neighbours merged."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(6):
        image = np.zeros((4, 30), int)
        for cell in range(5):
            if rng.random() < 0.8:
                a, b = rng.integers(-1, 2, 2)
                image[:, max(6 * cell + a, 0) : 6 * cell + 6 + b] = cell + 1
        for cell in range(4):
            if rng.random() < 0.25:
                image[image == cell + 2] = cell + 1
        samples.append(image)
    masks = [(c, c + 1) for c in range(5)] + [(c, c + 2) for c in range(4)]
    starts, lengths, objects = [], [], []
    for row in range(4):
        for i, (a, b) in enumerate(masks):
            starts.append(30 * row + 6 * a)
            lengths.append(6 * (b - a))
            objects.append(i)
    order = np.argsort(starts, kind="stable")
    runs = RunLengths(
        np.array(starts)[order],
        np.array(lengths, np.int32)[order],
        np.array(objects, np.int32)[order],
        np.array([24 * (b - a) for a, b in masks]),
    )
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(9), 2)
        if masks[i][0] < masks[j][1] and masks[j][0] < masks[i][1]
    ]
    return samples, ObjectEvidence(runs, LabelStack.of(samples)), np.array(pairs), masks


def paint(masks, chosen):
    image = np.zeros((4, 30), int)
    for i in chosen:
        image[:, 6 * masks[i][0] : 6 * masks[i][1]] = i + 1
    return image


def score(image, samples, name):
    """Mean score over the samples as truth, by the metrics room; here a match must exceed an IoU of 0.5."""
    thresholds = [0.500001, *THRESHOLDS[1:]]
    rows = [evaluate(image, s, thresholds=thresholds) for s in samples]
    read = {
        "ap50": lambda r: r.ap[0],
        "f1": lambda r: r.f1_at[0],
        "pq": lambda r: r.pq_at[0],
    }
    return np.nanmean([read.get(name, lambda r: getattr(r, name))(r) for r in rows])


@pytest.mark.parametrize("seed", range(5))
def test_an_additive_objective_is_optimal(seed):
    samples, evidence, conflicts, masks = hypotheses(seed)
    chosen = np.flatnonzero(select(evidence, conflicts, "seg", None))
    best = max(score(paint(masks, s), samples, "seg") for s in subsets(9, conflicts.tolist()) if s)
    assert score(paint(masks, chosen), samples, "seg") == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("objective", ["map", "ap50", "f1", "pq"])
def test_ratios_of_expectations_are_optimal(seed, objective):
    _, evidence, conflicts, _ = hypotheses(seed)
    n_mean = evidence.stack.counts.mean()

    def ratio(chosen):
        tp = evidence.hit_rates[:, chosen].sum(axis=1)
        both = len(chosen) + n_mean
        return {
            "map": np.mean(tp / (both - tp)),
            "ap50": tp[0] / (both - tp[0]),
            "f1": 2 * tp[0] / both,
            "pq": 2 * evidence.iou_rate[chosen].sum() / both,
        }[objective]

    chosen = np.flatnonzero(select(evidence, conflicts, objective, None))
    assert ratio(chosen) == pytest.approx(max(ratio(s) for s in subsets(9, conflicts.tolist())))


def test_threshold_takes_the_best_of_what_is_frequent():
    _, evidence, conflicts, _ = hypotheses(1)
    chosen = select(evidence, conflicts, "map", 0.5)
    assert (evidence.existence[chosen] >= 0.5).all()
    left_out = np.flatnonzero((evidence.existence >= 0.5) & ~chosen)
    assert all(any(j in pair and chosen[pair].any() for pair in conflicts) for j in left_out)
    assert not select(evidence, conflicts, "map", 1.0)[evidence.existence < 1].any()


@pytest.mark.parametrize("seed", range(4))
def test_expected_scores_are_means_over_the_samples(seed):
    samples, _, _, masks = hypotheses(seed)
    image = paint(masks, [0, 6, 3])
    evidence = ObjectEvidence(to_runs(image), LabelStack.of(samples))
    expected = evidence.expected()
    assert list(expected) == ["seg", "det", "ap50", "ap75", "map", "f1", "pq"]
    for name, value in expected.items():
        assert value == pytest.approx(score(image, samples, name)), name
    np.testing.assert_allclose(THRESHOLDS, np.arange(0.5, 0.96, 0.05))


def test_expected_scores_of_nothing():
    empty = np.zeros((3, 3), int)
    assert all(np.isnan(v) for v in ObjectEvidence(to_runs(empty), LabelStack.of([empty])).expected().values())
    some = np.eye(3, dtype=int)
    assert ObjectEvidence(to_runs(empty), LabelStack.of([some])).expected()["map"] == 0
    extra = ObjectEvidence(to_runs(some), LabelStack.of([empty])).expected()
    assert extra["map"] == 0
    assert np.isnan(extra["seg"])
