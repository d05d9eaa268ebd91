import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import filters

from divseg.segment.histogram import RULES, histogram, robust_range


def two_heaps(seed=0, n=40000, share=0.2, low=20.0, high=80.0, sd=6.0):
    rng = np.random.default_rng(seed)
    fore = rng.random(n) < share
    return np.where(fore, high, low) + rng.normal(0, sd, n)


def level(name, values):
    return RULES[name](histogram(np.asarray(values, float)))


@pytest.mark.parametrize("name", ["otsu", "li", "isodata", "yen", "triangle"])
def test_agrees_with_scikit_image(name):
    values = two_heaps(sd=15.0).reshape(200, 200)
    theirs = getattr(filters, f"threshold_{name}")(values)
    # an independent implementation on another binning: within a few bins of the range of about 100
    assert level(name, values) == pytest.approx(theirs, abs=3 if name in ("triangle", "yen") else 0.7)


@pytest.mark.parametrize("name", ["otsu", "li", "isodata"])
def test_lies_between_two_heaps(name):
    assert 35 < level(name, two_heaps()) < 65


@pytest.mark.parametrize("name", sorted(RULES))
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 99), a=st.floats(1e-6, 1e6), b=st.floats(-1e6, 1e6))
def test_follows_gain_and_offset(name, seed, a, b):
    values = two_heaps(seed, 4000)
    moved = a * values + b
    there, here = level(name, moved), level(name, values)
    lost = 1e-9 * abs(b) / (a * 100)  # rounding of a small gain on a large offset
    assert (there - b) / a == pytest.approx(here, abs=0.5 + 100 * lost)


@pytest.mark.parametrize("name", sorted(RULES))
def test_separate_heaps_are_separated_whatever_their_scale(name):
    for scale in (1e-30, 1.0, 1e30):
        values = np.r_[np.zeros(900), np.ones(100)] * scale
        assert 0 < level(name, values) < scale


@pytest.mark.parametrize("name", sorted(RULES))
def test_few_grey_levels(name):
    """Empty bins between grey levels are no valleys."""
    rng = np.random.default_rng(1)
    values = np.r_[rng.binomial(20, 0.2, 9000), 40 + rng.binomial(20, 0.5, 1000)].astype(np.float32)
    # the background ends at about 9, where the rules that stay nearest to it should lie too
    assert (9 if name == "triangle" else 6) < level(name, values) < 46


def test_hot_pixels_do_not_matter():
    values = two_heaps()
    hot = values.copy()
    hot[:5] = 1e6
    assert level("otsu", hot) == pytest.approx(level("otsu", values), abs=1.0)


def test_tiny_foreground_is_within_the_range():
    values = np.zeros(100_000, np.float32)
    values[:20] = 7
    assert robust_range(values) == (0, 7)
    assert 0 < level("otsu", values) < 7


@pytest.mark.parametrize("value", [0.0, 0.1, -5.0, 1e30])
def test_one_value_has_no_range(value):
    constant = np.full((5, 5), value, np.float32)
    assert robust_range(constant) is None
    assert histogram(constant) is None


@pytest.mark.parametrize("value", [0.1, -5.0, 1e30])
def test_rounding_errors_are_no_range(value):
    image = np.full((5, 5), value, np.float32)
    image[0, 0] = np.nextafter(image[0, 0], np.float32(np.inf))
    assert robust_range(image) is None


def test_counts_every_pixel():
    values = two_heaps()
    assert histogram(values).counts.sum() == values.size
