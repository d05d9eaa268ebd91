import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divseg.errors import InputError
from divseg.metrics.isotonic import Curve, conformal_margin, fit_curve


def test_a_monotone_relation_is_found_again():
    rng = np.random.default_rng(0)
    score = rng.random(20_000)
    hit = rng.random(20_000) < score**2
    grid = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(fit_curve(score, hit)(grid), grid**2, atol=0.04)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60))
def test_the_curve_never_falls_and_stays_a_probability(pairs):
    score, hit = np.array([s for s, _ in pairs]) / 20, np.array([h for _, h in pairs])
    values = fit_curve(score, hit)(np.linspace(-0.5, 1.5, 41))
    assert (np.diff(values) >= 0).all()
    assert values.min() > 0
    assert values.max() < 1


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_the_order_of_objects_does_not_matter(pairs, random):
    other = list(pairs)
    random.shuffle(other)
    curves = [fit_curve([s for s, _ in p], [h for _, h in p]) for p in (pairs, other)]
    np.testing.assert_allclose(curves[0].x, curves[1].x)
    np.testing.assert_allclose(curves[0].y, curves[1].y)


def test_few_hits_are_no_certainty():
    assert fit_curve([0.9, 0.9, 0.9], [1, 1, 1])(0.9) == pytest.approx(3.5 / 4)


def test_scores_against_the_order_give_one_level():
    curve = fit_curve([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0])
    assert curve([0.0, 1.0]).tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(("x", "y"), [([], []), ([0, 0], [0, 1]), ([0, 1], [1, 0]), ([0, 1], [0])])
def test_impossible_curves_are_refused(x, y):
    with pytest.raises(InputError, match="calibration curve"):
        Curve(x, y)


def test_the_margin_is_the_rank_of_the_theorem():
    misses = np.arange(19.0)
    assert conformal_margin(misses, 0.9) == 17.0  # ceil(20 * 0.9) = 18th smallest
    assert conformal_margin(misses, 0.95) == 18.0
    assert conformal_margin(misses[:18], 0.95) is None
    assert conformal_margin(np.empty(0), 0.9) is None


def test_margins_cover_new_values_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        values = rng.exponential(size=60)
        margin = conformal_margin(values[:59], 0.9)
        covered.append(values[59] <= margin)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.045)  # three standard errors
