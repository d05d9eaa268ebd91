import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import filters

from divseg.segment.options import METHODS, threshold_options
from divseg.segment.thresholds import (
    RULES,
    SAUVOLA_RANGE,
    Level,
    find_level,
    foreground,
    histogram,
    local_level,
    robust_range,
    sauvola_level,
)
from divseg.specs import split_spec


def two_heaps(seed=0, n=40000, fraction=0.2, low=20.0, high=80.0, std=6.0):
    rng = np.random.default_rng(seed)
    fore = rng.random(n) < fraction
    return np.where(fore, high, low) + rng.normal(0, std, n)


def level(name, values):
    return RULES[name](histogram(np.asarray(values, float)))


@pytest.mark.parametrize("name", ["otsu", "li", "isodata", "yen", "triangle"])
def test_agrees_with_scikit_image(name):
    """An independent implementation on another binning: within a few bins of the range of about 100."""
    values = two_heaps(std=15.0).reshape(200, 200)
    theirs = getattr(filters, f"threshold_{name}")(values)
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


def uneven(seed=0):
    """Equal squares on a background that rises more than the squares do."""
    rng = np.random.default_rng(seed)
    image = np.linspace(0, 300, 200)[None] + rng.normal(0, 5, (120, 200))
    truth = np.zeros(image.shape, bool)
    truth[20:32, 20:32] = truth[70:82, 60:72] = truth[40:52, 140:152] = truth[90:102, 180:192] = True
    return (image + 60 * truth).astype(np.float32), truth


@pytest.mark.parametrize("level", [lambda x: local_level(x, 41, 0.5), lambda x: sauvola_level(x, 41, 0.05)])
def test_finds_objects_on_an_uneven_background(level):
    image, truth = uneven()
    above = image > level(image)
    assert above[truth].mean() > 0.95
    assert above[~truth].mean() < 0.15
    # no global threshold can
    assert image[truth].min() < image[~truth].max() - 200


@pytest.mark.parametrize("level", [lambda x: local_level(x, 41, 0.5), lambda x: sauvola_level(x, 41, 0.05)])
def test_levels_of_pixels_follow_gain_and_offset(level):
    image, _ = uneven()
    image = image.astype(np.float64)
    moved = -1000 + 0.01 * image
    np.testing.assert_allclose((level(moved) + 1000) / 0.01, level(image), atol=1e-6)


def test_more_margin_gives_less_foreground():
    image, _ = uneven()
    fractions = [(image > local_level(image, 41, offset)).mean() for offset in (0, 0.5, 1)]
    assert fractions[0] > fractions[1] > fractions[2]
    fractions = [(image > sauvola_level(image, 41, k)).mean() for k in (0, 0.05, 0.2)]
    assert fractions[0] > fractions[1] > fractions[2]


def test_sauvola_finds_nothing_in_one_value():
    constant = np.full((9, 9), 0.3, np.float32)
    assert not (constant > sauvola_level(constant, 5, 0.2)).any()


def test_levels_of_volumes():
    volume = np.zeros((7, 20, 20), np.float32)
    volume[2:5, 5:10, 5:10] = 1
    assert local_level(volume, 9, 0.5).shape == volume.shape
    assert sauvola_level(volume, 9, 0.05)[3, 7, 7] < 1


def test_levels_of_pixels_are_those_of_scikit_image():
    image = uneven()[0].astype(np.float64)
    mean = local_level(image, 41, 0.0)
    margin = 0.5 * (image - mean).std()
    np.testing.assert_allclose(local_level(image, 41, 0.5), filters.threshold_local(image, 41, "mean", -margin))
    low, high = image.min(), image.max()
    inverted = 1 - (image - low) / (high - low)
    theirs = 1 - filters.threshold_sauvola(inverted, 41, 0.05, SAUVOLA_RANGE)
    inner = (slice(20, -20),) * 2  # reflection at the edge differs
    ours = (sauvola_level(image, 41, 0.05) - low) / (high - low)
    np.testing.assert_allclose(ours[inner], theirs[inner], rtol=1e-9)


def choose(spec, image):
    method, o, _ = threshold_options(*split_spec(spec))
    return find_level(image, method, o)


def picture(seed=0):
    rng = np.random.default_rng(seed)
    out = rng.normal(100, 8, (80, 80))
    out[20:40, 20:40] += 100
    out[50:60, 50:70] += 40
    return out


def test_fixed_levels_ask_nothing_of_the_picture():
    for pixels in (picture(), np.ones((3, 3))):
        assert choose("fixed,threshold=7.5", pixels).low == 7.5
        found = choose("hysteresis,low=2,high=3", pixels)
        assert (found.low, found.high) == (2, 3)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"fixed"}))
def test_one_value_has_an_infinite_choose(method):
    found = choose(method, np.full((9, 9), 3.0))
    assert found.low == np.inf
    assert not foreground(np.full((9, 9), 3.0), found, 1).any()


def test_band_spreads_the_two_levels():
    pixels = picture()
    narrow, wide = choose("hysteresis,band=0.1", pixels), choose("hysteresis,band=0.5", pixels)
    middle = choose("otsu", pixels).low
    assert wide.low < narrow.low < middle < narrow.high < wide.high
    none = choose("hysteresis,band=0", pixels)
    assert none.low == none.high == middle


@pytest.mark.parametrize("connectivity", [1, 2])
def test_hysteresis(connectivity):
    pixels = picture()
    pixels[70, 70], pixels[71, 71], pixels[72, 72] = 500, 160, 500
    mask = foreground(pixels, Level(150, 180), connectivity)
    assert mask[30, 30]
    if connectivity == 1:  # as in scikit-image, where pixels are neighbours by their sides
        assert np.array_equal(mask, filters.apply_hysteresis_threshold(pixels, 150, 180))
    assert mask[71, 71] == (connectivity == 2)


def test_a_level_for_each_pixel():
    pixels = picture()
    found = choose("local,window=21", pixels)
    assert found.low.shape == pixels.shape
    assert np.array_equal(foreground(pixels, found, 1), pixels > found.low)
