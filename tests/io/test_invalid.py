"""Which pixels are taken as no data, and which are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from divseg.errors import ConfigError
from divseg.io.invalid import check_invalid, filled, find_invalid

SIDE = 96


def noisy(mean=100.0, sd=20.0, seed=0, side=SIDE, dtype=np.uint8):
    """Return noise around a mean, clipped as a detector does."""
    pixels = np.random.default_rng(seed).normal(mean, sd, (side, side))
    return np.clip(np.rint(pixels), np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def disc(side=SIDE, radius=None):
    """Return a round field of view."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.hypot(y, x) <= (side / 2 if radius is None else radius)


def band(*places):
    """Return what is left beside rows and columns that are cut off."""
    valid = np.ones((SIDE, SIDE), bool)
    for place in places:
        valid[place] = False
    return valid


def turned(degrees):
    """Return the part of a picture that a turned image covers."""
    return ndi.rotate(np.ones((SIDE, SIDE)), degrees, reshape=True, order=0) > 0


PADDING = {
    "one column": band(np.s_[:, :1]),
    "five columns": band(np.s_[:, -5:]),
    "rows": band(np.s_[:3]),
    "two sides": band(np.s_[:, :20], np.s_[-15:]),
    "all sides": band(np.s_[:, :7], np.s_[-9:], np.s_[:4], np.s_[:, -11:]),
    "a missing tile": band(np.s_[60:, 50:]),
    "round": disc(),
    "round within margins": disc(radius=30),
    "turned": turned(12),
    "turned a little": turned(5),
}


class TestPadding:
    @pytest.mark.parametrize("value", [0, 255])
    @pytest.mark.parametrize("valid", PADDING.values(), ids=PADDING)
    def test_is_found_exactly(self, valid, value):
        image = np.where(valid, noisy(side=valid.shape[0], sd=12.0)[:, : valid.shape[1]], value).astype(np.uint8)
        np.testing.assert_array_equal(find_invalid(image, "YX", "auto"), valid)

    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
    def test_beside_a_clipped_background(self, share):
        pixels = noisy()
        pixels[np.random.default_rng(1).random(pixels.shape) < share] = 0
        found = find_invalid(np.where(PADDING["two sides"], pixels, 0), "YX", "auto")
        assert found is not None
        assert (found != PADDING["two sides"]).mean() < 0.01

    def test_of_channels_is_where_all_are_empty(self):
        image = np.stack([noisy(), noisy(seed=1)])
        image[0, :, :9] = 0
        assert find_invalid(image, "CYX", "auto") is None
        image[1, :, :9] = 0
        np.testing.assert_array_equal(find_invalid(image, "CYX", "auto"), band(np.s_[:, :9]))

    def test_of_planes(self):
        image = np.stack([noisy(), noisy(seed=1), np.zeros_like(noisy())])
        image[0, :6] = 0
        valid = find_invalid(image, "ZYX", "auto")
        assert [plane.mean() for plane in valid] == [90 / 96, 1.0, 0.0]

    def test_at_0_amid_negative_values(self):
        image = np.where(PADDING["rows"], noisy().astype(np.float32) - 100, 0)
        image = image + np.where(PADDING["rows"], np.float32(0.25), 0)
        np.testing.assert_array_equal(find_invalid(image, "YX", "auto"), PADDING["rows"])


class TestNotPadding:
    @pytest.mark.parametrize("mean", [0.0, 5.0, -15.0, -30.0, 250.0, 255.0, 290.0])
    def test_a_clipped_detector(self, mean):
        assert find_invalid(noisy(mean), "YX", "auto") is None

    def test_ground_that_darkens_towards_a_side(self):
        shade = np.linspace(-120, 60, SIDE)[:, None] + np.random.default_rng(0).normal(0, 10, (SIDE, SIDE))
        assert find_invalid(np.clip(np.rint(shade), 0, 255).astype(np.uint8), "YX", "auto") is None

    @pytest.mark.parametrize("centre", [(0, 40), (0, 0), (95, 95), (50, 95)])
    def test_a_saturated_cell_at_the_border(self, centre):
        y, x = np.mgrid[:SIDE, :SIDE]
        image = noisy()
        image[np.hypot(y - centre[0], x - centre[1]) < 15] = 255
        assert find_invalid(image, "YX", "auto") is None

    def test_cells_on_a_ground_of_exactly_0(self):
        y, x = np.mgrid[:SIDE, :SIDE]
        image = np.zeros((SIDE, SIDE), np.uint8)
        for cy, cx in ((20, 30), (60, 70), (75, 20)):
            cell = np.hypot(y - cy, x - cx) < 9
            image[cell] = noisy()[cell]
        assert find_invalid(image, "YX", "auto") is None

    def test_single_photons(self):
        image = np.random.default_rng(0).poisson(0.02, (SIDE, SIDE)).astype(np.uint8)
        assert find_invalid(image, "YX", "auto") is None

    def test_a_short_column_that_chance_explains(self):
        image = noisy()[:12]
        image[np.random.default_rng(0).random(image.shape) < 0.5] = 0
        image[:, 0] = 0
        assert find_invalid(image, "YX", "auto") is None

    def test_a_constant_image(self):
        assert find_invalid(np.zeros((SIDE, SIDE), np.uint8), "YX", "auto") is None


class TestSetting:
    def test_none_leaves_all(self):
        image = np.where(PADDING["rows"], noisy(), 0).astype(np.float32)
        image[50, 50] = np.nan
        assert find_invalid(image, "YX", "none") is None

    def test_a_value_anywhere_and_nan(self):
        image = noisy().astype(np.float32)
        image[40:50, 40:50], image[3, 4] = -1, np.nan
        valid = find_invalid(image, "YX", "-1")
        assert (~valid).sum() == 101
        assert not valid[3, 4]

    def test_nan_in_the_middle(self):
        image = noisy().astype(np.float32)
        image[40:50, 40:50] = np.nan
        assert (~find_invalid(image, "YX", "auto")).sum() == 100

    @pytest.mark.parametrize("text", ["nan", "inf", "zero", "", ["auto"]])
    def test_other_words_are_refused(self, text):
        with pytest.raises(ConfigError, match="auto, none or the value"):
            check_invalid(text)


class TestFilled:
    @given(st.integers(1, 40), st.integers(0, 40))
    def test_valid_pixels_stay_and_the_others_are_of_the_image(self, left, bottom):
        image, valid = noisy(), band(np.s_[:, :left])
        valid[SIDE - bottom :] = False
        out = filled(np.where(valid, image, 0), valid)
        np.testing.assert_array_equal(out[valid], image[valid])
        assert set(np.unique(out)) <= set(np.unique(image[valid]))

    def test_mirrors_beside_a_straight_border(self):
        image, valid = noisy(), band(np.s_[:, :10])
        out = filled(np.where(valid, image, 0), valid)
        np.testing.assert_array_equal(out[:, :10], image[:, 20:10:-1])

    def test_a_plane_without_data(self):
        stack = np.stack([noisy(), noisy()])
        valid = np.stack([np.ones((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)])
        assert np.unique(filled(stack, valid)[1]).tolist() == [np.median(stack[0])]
