"""Weights of samples: what they mean, for every method."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divseg import fuse
from divseg.consensus import METHODS, OBJECTIVES
from divseg.consensus.evidence import ObjectEvidence
from divseg.consensus.run_lengths import to_runs
from divseg.consensus.stack import LabelStack
from divseg.consensus.weights import UNIT, effective_number, weight_units, weighted_quantiles
from divseg.errors import InputError
from divseg.metrics import evaluate

every_method = pytest.mark.parametrize("method", METHODS)
small = hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 3))

OF_THE_EFFECTIVE_NUMBER = ("n_members", "_std", "_q05", "_q50", "_q95")
"""Columns that a weight does not change as copies would: a heavy sample is still one sample."""

VARIANTS = [
    *({"method": m} for m in METHODS if m != "voting"),
    # the single mask of the fail-safe is that of the heaviest sample, and copies are not heavy
    {"method": "voting", "fail_safe": False},
    {"method": "voting", "fail_safe": False, "scheme": "simple"},
    {"method": "voting", "fail_safe": False, "threshold": 2 / 3, "collisions": "drop"},
    {"method": "mutex", "refine": False},
    {"existence": 0.4},
    *({"objective": t} for t in OBJECTIVES),
]


def worlds(make_cells, seed, count=4):
    """Samples that disagree: misses, moved borders, and neighbours merged now and then."""
    rng = np.random.default_rng(seed)
    masks = [make_cells(rng, miss=0.25, jitter=1.2, pitch=16) for _ in range(count)]
    for mask in masks:
        names = [n for n in np.unique(mask) if n]
        for a, b in zip(names[::2], names[1::2], strict=False):
            if rng.random() < 0.15:
                mask[mask == b] = a
    return masks


def same(a, b, copies=False):
    """Equal labels and maps, tables equal to rounding; for copies only what copies have in common."""
    assert np.array_equal(a.labels, b.labels)
    np.testing.assert_allclose(a.foreground, b.foreground, atol=1e-6)
    np.testing.assert_allclose(a.boundary, b.boundary, atol=1e-6)
    for one, two in ((a.objects, b.objects), (a.alternatives, b.alternatives)):
        columns = [c for c in one if not (copies and c.endswith(OF_THE_EFFECTIVE_NUMBER))]
        assert list(one.columns) == list(two.columns)
        assert len(one) == len(two)
        for column in columns:
            if column in ("kind", "rivals"):
                assert one[column].tolist() == two[column].tolist(), column
            else:
                np.testing.assert_allclose(one[column], two[column], rtol=1e-9, atol=1e-12, err_msg=column)
    assert a.expected == pytest.approx(b.expected, nan_ok=True)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_whole_weight_is_so_many_copies(make_cells, seed, options):
    """Up to seven copies: from eight samples on a hypothesis needs two of them, and copies are two."""
    masks = worlds(make_cells, seed)
    weights = np.random.default_rng(seed).permutation([1, 1, 2, 3])
    copies = [m for m, w in zip(masks, weights, strict=True) for _ in range(w)]
    same(fuse(masks, weights=weights, **options), fuse(copies, **options), copies=True)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "majority"},
        {"method": "medoid"},
        {"method": "mutex", "refine": False},
        {"method": "voting", "markers": None},
        {"method": "voting", "markers": None, "scheme": "simple"},
    ],
    ids=str,
)
@settings(max_examples=15, deadline=None)
@given(masks=st.lists(small, min_size=2, max_size=3), weights=st.lists(st.integers(1, 2), min_size=3, max_size=3))
def test_a_whole_weight_is_so_many_copies_of_anything(options, masks, weights):
    """Methods without hypotheses: noise makes hypotheses of equal worth, of which copies may leave another one."""
    weights = weights[: len(masks)]
    copies = [m for m, w in zip(masks, weights, strict=True) for _ in range(w)]
    given_ = options | {"markers": masks[0]} if "markers" in options else options
    same(fuse(masks, weights=weights, **given_), fuse(copies, **given_), copies=True)


@every_method
@pytest.mark.parametrize("seed", range(3))
def test_weight_0_leaves_a_sample_out(make_cells, method, seed):
    masks = worlds(make_cells, seed, 6)
    weights = np.array([1, 0, 2.5, 1, 0, 1.7])
    some = fuse([masks[k] for k in (0, 2, 3, 5)], weights=weights[weights > 0], method=method)
    all_ = fuse(masks, weights=weights, method=method)
    same(all_, some)
    assert all_.objects.equals(some.objects)
    assert all_.n_samples == 4
    assert all_.counts.tolist() == [len(np.unique(m)) - 1 for m in masks]
    assert all_.weights.tolist() == pytest.approx((weights / weights.sum()).tolist(), abs=1e-6)


@every_method
@pytest.mark.parametrize("weight", [1, 0.3, 7e20, 1e-300])
def test_equal_weights_are_no_weights(cells, method, weight):
    with_, without = fuse(cells, weights=[weight] * 12, method=method), fuse(cells, method=method)
    assert np.array_equal(with_.labels, without.labels)
    assert np.array_equal(with_.foreground, without.foreground)
    assert with_.objects.equals(without.objects)
    assert with_.expected == without.expected
    assert with_.weights.tolist() == without.weights.tolist() == [1 / 12] * 12


@every_method
@settings(max_examples=10, deadline=None)
@given(masks=st.lists(small, min_size=2, max_size=5), seed=st.integers(0, 99))
def test_weights_go_with_their_samples(method, masks, seed):
    rng = np.random.default_rng(seed)
    weights = rng.choice([0.5, 1.0, 1.3, 4.0], len(masks))
    order = rng.permutation(len(masks))
    a = fuse(masks, weights=weights, method=method)
    b = fuse([masks[k] for k in order], weights=weights[order], method=method)
    assert np.array_equal(a.labels, b.labels)
    assert a.objects.equals(b.objects)
    assert np.array_equal(a.weights[order], b.weights)


@every_method
def test_weights_of_a_stream_and_of_volumes(cells, method):
    weights = np.arange(1, 13)
    flat = fuse(iter(cells), weights=weights, method=method)
    solid = fuse((np.stack([c, c, c]) for c in cells), weights=weights, method=method)
    assert all(np.array_equal(plane, flat.labels) for plane in solid.labels)
    assert np.array_equal(solid.objects["existence"], flat.objects["existence"])


@every_method
def test_one_sample_with_all_the_weight_is_the_result(cells, method):
    result = fuse(cells, weights=[0] * 5 + [1] + [0] * 6, method=method)
    assert evaluate(result.labels, cells[5]).map == 1
    assert result.objects["existence"].eq(1).all()
    heavy = fuse(cells, weights=[1] * 5 + [1000] + [1] * 6, method=method)
    assert evaluate(heavy.labels, cells[5]).map > 0.98


@pytest.mark.parametrize("method", [m for m in METHODS if m != "medoid"])
def test_weight_for_the_better_raters_helps(make_cells, method):
    """Three careful raters and four careless ones: the truth is nearer with weight for the careful."""
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = make_cells(rng, miss=0.0, jitter=0.0)
        careful = [make_cells(rng, miss=0.05, jitter=0.4) for _ in range(3)]
        careless = [make_cells(rng, miss=0.45, jitter=2.0) for _ in range(4)]
        scores = [
            evaluate(fuse(careful + careless, weights=[a] * 3 + [b] * 4, method=method).labels, truth).map
            for a, b in ((4, 1), (1, 1), (1, 4))
        ]
        gains.append([scores[0] - scores[1], scores[1] - scores[2]])
    assert np.mean(gains, axis=0).min() > 0.02


def test_votes_decide_between_merged_and_split(pair):
    both, merged, _ = pair
    masks = [both, both, merged, merged, merged]
    assert fuse(masks).labels.max() == 1
    assert np.array_equal(fuse(masks, weights=[2, 2, 1, 1, 1]).labels, both)
    table = fuse(masks, weights=[2, 2, 1, 1, 1]).objects
    assert table["existence"].tolist() == pytest.approx([4 / 7] * 2)
    assert table["p_merge"].tolist() == pytest.approx([3 / 7] * 2)
    assert table["n_members"].tolist() == [2, 2]


def test_evidence_is_the_weighted_mean_over_the_samples(make_cells):
    masks, weights = worlds(make_cells, 5, 5), np.array([3, 1, 0.5, 2, 7])
    weights = weights / weights.sum()
    labels = fuse(masks).labels
    stack = LabelStack.of(masks, weights)
    evidence = ObjectEvidence(to_runs(labels), stack)
    rows = [evaluate(labels, m, thresholds=[0.500001, *np.arange(0.55, 0.96, 0.05)]) for m in masks]
    for name, read in {"map": lambda r: r.map, "seg": lambda r: r.seg, "f1": lambda r: r.f1_at[0]}.items():
        assert evidence.expected()[name] == pytest.approx(np.dot(weights, [read(r) for r in rows])), name
    assert evidence.seg_gain.sum() == pytest.approx(np.dot(weights, [r.seg for r in rows]))
    np.testing.assert_allclose(stack.foreground, np.tensordot(weights, [m > 0 for m in masks], 1), atol=1e-6)
    np.testing.assert_allclose(stack.weights, weights[stack.order])


@pytest.mark.parametrize(
    ("weights", "units"),
    [
        ([1, 1, 1], [1, 1, 1]),
        ([2, 4, 6], [1, 2, 3]),
        ([0.5, 0.3, 0.2], [5, 3, 2]),
        ([1 / 3, 1 / 6, 1 / 2], [2, 1, 3]),
        ([0, 0.7, 0], [0, 1, 0]),
        ([1e300, 1e300, 5e299], [2, 2, 1]),
    ],
)
def test_simple_ratios_become_their_whole_numbers(weights, units):
    assert weight_units(weights).tolist() == units


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30).filter(any))
def test_units_keep_the_ratio(weights):
    values = np.array(weights)
    units = weight_units(values)
    assert ((units > 0) == (values > 0)).all()
    assert units.sum() <= UNIT + 2 * len(values)
    np.testing.assert_allclose(units / units.sum(), values / values.sum(), atol=len(values) / UNIT)


def test_quantiles_of_equal_weights_are_those_of_numpy():
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 40):
        values = rng.normal(size=(3, n))
        wanted = np.quantile(values, [0.05, 0.5, 0.95], axis=-1)
        np.testing.assert_allclose(weighted_quantiles(values, np.full((3, n), 0.3), (0.05, 0.5, 0.95)), wanted)


def test_quantiles_follow_the_weights():
    values, weights = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, 1.0, 6.0, 0.0])
    low, middle, high = weighted_quantiles(values, weights, (0.0, 0.5, 1.0))
    assert 1 < low < middle <= high == 3
    nudged = weighted_quantiles(values[:3], np.array([1.0, 1.0001, 6.0]), (0.5,))
    assert nudged[0] == pytest.approx(middle, abs=1e-3)
    assert np.isnan(weighted_quantiles(values, np.zeros(4), (0.5,))).all()
    assert effective_number(np.array([[2.0, 2.0, 2.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])).tolist() == [3, 1, 0]


def test_spread_of_nearly_equal_weights_is_that_of_equal_ones(cells):
    even, odd = fuse(cells).objects, fuse(cells, weights=1 + 1e-5 * np.sin(np.arange(12))).objects
    for column in even:
        np.testing.assert_allclose(even[column], odd[column], rtol=1e-3, err_msg=column)


def test_weights_of_the_wrong_number_are_reported_for_a_stream(cells):
    with pytest.raises(InputError, match=r"weights has shape \(3,\) but there are more masks"):
        fuse(iter(cells), weights=[1, 2, 3])
