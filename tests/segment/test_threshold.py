import numpy as np
import pytest
from skimage.filters import apply_hysteresis_threshold

from divseg.segment.options import METHODS, threshold_options
from divseg.segment.threshold import Level, find_level, foreground
from divseg.specs import split_spec


def level(spec, image):
    method, o, _ = threshold_options(*split_spec(spec))
    return find_level(image, method, o)


def image(seed=0):
    rng = np.random.default_rng(seed)
    out = rng.normal(100, 8, (80, 80))
    out[20:40, 20:40] += 100
    out[50:60, 50:70] += 40
    return out


def test_fixed_levels_ask_nothing_of_the_image():
    for pixels in (image(), np.ones((3, 3))):
        assert level("fixed,threshold=7.5", pixels).low == 7.5
        found = level("hysteresis,low=2,high=3", pixels)
        assert (found.low, found.high) == (2, 3)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"fixed"}))
def test_one_value_has_an_infinite_level(method):
    found = level(method, np.full((9, 9), 3.0))
    assert found.low == np.inf
    assert not foreground(np.full((9, 9), 3.0), found, 1).any()


def test_band_spreads_the_two_levels():
    pixels = image()
    narrow, wide = level("hysteresis,band=0.1", pixels), level("hysteresis,band=0.5", pixels)
    middle = level("otsu", pixels).low
    assert wide.low < narrow.low < middle < narrow.high < wide.high
    none = level("hysteresis,band=0", pixels)
    assert none.low == none.high == middle


@pytest.mark.parametrize("connectivity", [1, 2])
def test_hysteresis(connectivity):
    pixels = image()
    pixels[70, 70], pixels[71, 71], pixels[72, 72] = 500, 160, 500
    mask = foreground(pixels, Level(150, 180), connectivity)
    assert mask[30, 30]
    if connectivity == 1:  # as in scikit-image, where pixels are neighbours by their sides
        assert np.array_equal(mask, apply_hysteresis_threshold(pixels, 150, 180))
    assert mask[71, 71] == (connectivity == 2)


def test_a_level_for_each_pixel():
    pixels = image()
    found = level("local,window=21", pixels)
    assert found.low.shape == pixels.shape
    assert np.array_equal(foreground(pixels, found, 1), pixels > found.low)
