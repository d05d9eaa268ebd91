"""Correlation of the noise between pixels, from the image alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from divseg.denoise.noise.correlation import CORRELATED, noise_spectrum

SHAPE = (192, 160)


def white(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).standard_normal(shape)


def scene():
    """Return blobs with sharp edges and a gradient, on a background that fills half of the image."""
    y, x = np.indices(SHAPE)
    image = 0.1 * x + 60.0 * (ndi.gaussian_filter(white(9), 6) > 0.06)
    image[:, :60] += 20.0 * np.sin(y[:, :60] / 9.0)
    return image


def correlated(kind, share):
    noise = white(1)
    if kind == "rows":
        noise = np.repeat(noise[:, :1], SHAPE[1], axis=1)
    elif kind == "columns":
        noise = np.repeat(noise[:1], SHAPE[0], axis=0)
    else:
        noise = ndi.gaussian_filter(noise, float(kind), mode="wrap")
        noise /= noise.std()
    return np.sqrt(1 - share) * white(2) + np.sqrt(share) * noise


@pytest.mark.parametrize("share", [0.25, 0.8])
@pytest.mark.parametrize("kind", ["rows", "columns", "0.7", "2.0"])
def test_correlation_is_found_below_structure(kind, share):
    spectrum = noise_spectrum(scene() + 12 * correlated(kind, share))
    strength = {"rows": spectrum.rows, "columns": spectrum.columns}.get(kind, spectrum.smooth)
    assert strength > CORRELATED
    assert spectrum.is_correlated
    words = {"rows": "along the rows", "columns": "along the columns"}.get(kind, "smooth in both directions")
    assert words in spectrum.details


def test_lines_run_along_one_axis_only():
    rows, columns = (noise_spectrum(12 * correlated(kind, 0.5)) for kind in ("rows", "columns"))
    assert max(rows.columns, columns.rows) < CORRELATED


@pytest.mark.parametrize("std", [4, 12, 30])
def test_structure_is_not_taken_for_correlation(std):
    assert not noise_spectrum(scene() + std * white(3)).is_correlated


@pytest.mark.parametrize("light", [0.05, 0.5, 20.0])
def test_photon_counts_are_independent(light):
    signal = light * np.maximum(scene() / 60, 0.1)
    assert not noise_spectrum(np.random.default_rng(4).poisson(signal)).is_correlated


def test_sharpening_is_found():
    noise = white(5)
    spectrum = noise_spectrum(noise + 0.7 * (noise - ndi.gaussian_filter(noise, 1)))
    assert spectrum.is_correlated
    assert "sharpening" in spectrum.details


@given(st.floats(1e-6, 1e6), st.floats(-1e5, 1e5))
def test_scale_and_offset_do_not_matter(scale, offset):
    noise = white(6, (64, 64))
    one, other = noise_spectrum(noise), noise_spectrum(scale * (noise + offset / 1e3))
    assert (other.rows, other.columns, other.smooth) == pytest.approx((one.rows, one.columns, one.smooth), rel=1e-3)


def test_images_without_noise_or_too_small_tell_nothing():
    for image in (np.zeros((64, 64)), np.full((64, 64), np.nan), white(7, (40, 40)), white(7, (4, 300))):
        assert (noise_spectrum(image).rows, noise_spectrum(image).typical) == (1.0, 1.0)


def test_blocks_without_data_are_left_out():
    image = 12 * correlated("rows", 0.5)
    expected = noise_spectrum(image[32:])
    image[:32] = np.nan
    assert noise_spectrum(image).rows == pytest.approx(expected.rows)
    assert noise_spectrum(np.stack([image, image])).rows == pytest.approx(expected.rows, rel=0.02)
