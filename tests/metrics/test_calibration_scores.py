import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divseg.errors import InputError
from divseg.metrics import (
    brier,
    d_ece,
    evaluate,
    interval_coverage,
    interval_score,
    object_hits,
    reliability_curve,
)

CONFIDENCES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_hits_by_hand():
    truth = np.array([[9, 9, 9, 9, 4, 4, 0, 0]])
    pred = np.array([[2, 2, 2, 1, 1, 0, 0, 5]])
    table = object_hits(pred, truth)
    assert table["label"].tolist() == [1, 2, 5]
    assert table["hit"].tolist() == [False, True, False]
    assert table["iou"].tolist() == [1 / 3, 3 / 4, 0]
    assert table["truth_label"].tolist() == [0, 9, 0]
    np.testing.assert_array_equal(table["truth_area"], [np.nan, 4, np.nan])


def test_one_half_is_no_hit():
    assert not object_hits(np.array([[1, 0]]), np.array([[1, 1]]))["hit"].any()


def test_the_better_pair_is_taken_first_below_one_half():
    truth = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 2]])
    pred = np.array([[3, 3, 3, 4, 4, 4, 4, 0, 4]])
    table = object_hits(pred, truth, iou=0.1)
    assert table["hit"].tolist() == [False, True]
    assert table["truth_label"].tolist() == [0, 1]
    assert table["iou"].tolist() == [3 / 8, 4 / 9]


@pytest.mark.parametrize("seed", range(5))
def test_as_many_hits_as_true_positives(seed):
    rng = np.random.default_rng(seed)
    truth = np.arange(400).reshape(20, 20) // 7
    pred = np.where(rng.random(truth.shape) < 0.35, 0, truth)
    table = object_hits(pred, truth, iou=0.55)
    assert table["hit"].sum() == evaluate(pred, truth, thresholds=0.5501).tp[0] > 0
    assert (table["hit"] == (table["iou"] > 0.55)).all()


def test_no_objects():
    table = object_hits(np.zeros((3, 3), int), np.ones((3, 3), int))
    assert list(table) == ["label", "hit", "iou", "truth_label", "truth_area"]
    assert table.empty
    assert np.isnan(brier([], []))
    assert np.isnan(d_ece([], []))
    assert reliability_curve([], []).empty
    assert np.isnan(interval_coverage([], [], []))
    assert np.isnan(interval_score([], [], []))


def test_calibration_error_by_hand():
    confidence = [0.1, 0.2, 0.9, 1.0]
    hit = [False, True, True, True]
    curve = reliability_curve(confidence, hit, bins=2)
    assert curve["n"].tolist() == [2, 2]
    assert curve["confidence"].tolist() == pytest.approx([0.15, 0.95])
    assert curve["precision"].tolist() == [0.5, 1]
    assert d_ece(confidence, hit, bins=2) == pytest.approx((0.35 + 0.05) / 2)
    assert brier(confidence, hit) == pytest.approx((0.01 + 0.64 + 0.01 + 0) / 4)


def test_bins_are_closed_on_the_right():
    curve = reliability_curve([0, 0.1, 0.3, 0.7, 1], [1, 1, 1, 1, 1])
    assert curve["n"].tolist() == [2, 1, 1, 1]
    assert curve["high"].tolist() == pytest.approx([0.1, 0.3, 0.7, 1])


def test_adaptive_bins_hold_equally_many():
    confidence = np.linspace(0.81, 1, 100)
    curve = reliability_curve(confidence, np.ones(100), bins=5, adaptive=True)
    assert curve["n"].tolist() == [20] * 5
    assert (curve["low"].iloc[0], curve["high"].iloc[-1]) == (0, 1)
    assert len(reliability_curve(confidence, np.ones(100), bins=5)) == 1


def test_adaptive_bins_keep_equal_confidences_together():
    curve = reliability_curve([0.5] * 50 + [0.9] * 50, np.ones(100), bins=10, adaptive=True)
    assert curve["n"].sum() == 100
    assert curve["confidence"].tolist() == pytest.approx([0.5, 0.9])
    assert len(reliability_curve([0.7] * 9, [True] * 9, adaptive=True)) == 1


@given(CONFIDENCES, st.integers(1, 12), st.booleans())
def test_every_object_is_in_one_bin(entries, bins, adaptive):
    confidence, hit = map(list, zip(*entries, strict=True))
    curve = reliability_curve(confidence, hit, bins=bins, adaptive=adaptive)
    assert curve["n"].sum() == len(entries)
    assert len(curve) <= bins
    assert (curve["confidence"] >= curve["low"] - 1e-12).all()
    assert (curve["confidence"] <= curve["high"] + 1e-12).all()
    error = d_ece(confidence, hit, bins=bins, adaptive=adaptive)
    # merging all bins can only hide error
    assert abs(np.mean(confidence) - np.mean(hit)) - 1e-9 <= error <= 1
    assert 0 <= brier(confidence, hit) <= 1


def test_certain_and_right_is_perfect():
    hit = np.array([True, False, True])
    assert d_ece(hit.astype(float), hit) == brier(hit.astype(float), hit) == 0


def test_intervals_by_hand():
    low, high, value = [0, 0, 0, 5], [10, 10, 10, 6], [10, 12, -1, np.nan]
    assert interval_coverage(low, high, value) == pytest.approx(1 / 3)
    # alpha = 0.2: width 10 each, 2 and 1 missed, times 10
    assert interval_score(low, high, value, coverage=0.8) == pytest.approx((10 + 30 + 20) / 3)


def test_the_right_quantiles_have_the_best_interval_score():
    value = np.random.default_rng(0).normal(size=4000)
    scores = {w: interval_score(np.full(4000, -w), np.full(4000, w), value, coverage=0.9) for w in (1.2, 1.645, 2.2)}
    assert min(scores, key=scores.get) == 1.645


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: brier([0.5], [True, False]), "confidence has 1, hit has 2"),
        (lambda: brier([1.5], [True]), "confidence holds 1.5"),
        (lambda: d_ece([np.nan], [True]), "confidence holds nan"),
        (lambda: d_ece([0.5], [2]), "hit holds 2"),
        (lambda: d_ece([0.5], [1], bins=0), "bins=0"),
        (lambda: brier(["sure"], [True]), "confidence must hold numbers"),
        (lambda: interval_coverage([3], [2], [2]), "from 3 down to 2"),
        (lambda: interval_score([1], [2], [2], coverage=90), "coverage=90"),
        (lambda: object_hits(np.ones(3), np.ones(3, int)), "not float64"),
        (lambda: object_hits(np.ones(3, int), np.ones(3, int), iou=50), "IoU threshold 50"),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
