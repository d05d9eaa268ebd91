"""Hot pixels and dust are mended; cells, noise and photons are not."""

from __future__ import annotations

import numpy as np
import pytest

from divseg.io.outliers import without_outliers


def cells(seed=0, contrast=120.0, sd=25.0, dtype=np.uint16):
    """Return discs on a ground of 100 with normal noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:192, :192]
    clean = np.full((192, 192), 100.0)
    for cy, cx in rng.integers(12, 180, (12, 2)):
        clean[np.hypot(y - cy, x - cx) < 10] = 100.0 + contrast
    return np.clip(np.rint(rng.normal(clean, sd)), 0, np.iinfo(dtype).max).astype(dtype)


class TestMended:
    @pytest.mark.parametrize("value", [2000, 20000, 65535])
    @pytest.mark.parametrize("share", [0.0001, 0.001, 0.005])
    def test_hot_pixels(self, share, value):
        image, rng = cells(), np.random.default_rng(1)
        hot = image.copy()
        places = rng.choice(image.size, round(share * image.size), replace=False)
        hot.reshape(-1)[places] = value
        out, count = without_outliers(hot)
        assert count >= 0.97 * len(places)
        rest = np.ones(image.size, bool)
        rest[places] = False
        np.testing.assert_array_equal(out.reshape(-1)[rest], image.reshape(-1)[rest])
        assert out.max() <= 50 * int(image.max())

    def test_dead_pixels(self):
        image = cells() + np.uint16(1000)
        dead = image.copy()
        dead[[20, 70, 130], [30, 90, 140]] = 0
        out, count = without_outliers(dead)
        assert count == 3
        assert out.min() > 900

    @pytest.mark.parametrize("value", [30000, 60000])
    def test_a_grain_of_dust_stays_but_is_no_brighter_than_the_limit(self, value):
        image = cells()
        y, x = np.mgrid[:192, :192]
        grain = np.hypot(y - 60, x - 130) < 4
        image[grain] = value
        out, count = without_outliers(image)
        assert count == grain.sum()
        assert 5000 < out[grain].min() == out[grain].max() < 20000
        np.testing.assert_array_equal(out[~grain], image[~grain])

    def test_what_is_no_data_does_not_count(self):
        image = cells()
        image[[5, 100], [5, 100]] = 65535
        valid = np.ones(image.shape, bool)
        valid[:10] = False
        assert without_outliers(image, valid)[1] == 1


class TestLeft:
    @pytest.mark.parametrize("sd", [1.0, 5.0, 25.0, 80.0])
    def test_normal_noise(self, sd):
        image = cells(sd=sd)
        assert without_outliers(image)[0] is image

    @pytest.mark.parametrize("photons", [0.001, 0.02, 0.1, 0.5, 3.0])
    def test_photons(self, photons):
        image = np.random.default_rng(0).poisson(photons, (192, 192)).astype(np.uint16) * 100
        assert without_outliers(image)[0] is image

    def test_noise_clipped_at_0(self):
        image = cells(contrast=60.0, sd=20.0).astype(int) - 110
        image = np.clip(image, 0, 255).astype(np.uint8)
        assert without_outliers(image)[0] is image

    @pytest.mark.parametrize("sigma", [0.8, 1.0, 1.5])
    def test_diffraction_limited_spots(self, sigma):
        y, x = np.mgrid[:192, :192]
        image = np.random.default_rng(0).normal(100, 5, (192, 192))
        for cy, cx in np.random.default_rng(1).uniform(5, 187, (30, 2)):
            image += 400 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
        image = image.astype(np.float32)
        assert without_outliers(image)[0] is image

    def test_lines_one_pixel_wide(self):
        image = np.random.default_rng(0).normal(100, 5, (96, 96)).astype(np.float32)
        image[40] += 300
        image[np.arange(96) != 40, 20] += 300
        assert without_outliers(image)[0] is image

    def test_more_than_a_few(self):
        image = cells()
        image.reshape(-1)[np.random.default_rng(1).choice(image.size, image.size // 80, replace=False)] = 3000
        assert without_outliers(image)[0] is image
