"""Whether objects differ from the background around them."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from divseg.consensus.contrast import Light, measure_contrast
from divseg.consensus.witnesses import LEAST_SNR

Y, X = np.indices((80, 80))


def disc(y, x, radius):
    return (Y - y) ** 2 + (X - x) ** 2 <= radius**2


@pytest.fixture
def noise():
    return np.random.default_rng(4).normal(0, 10, (80, 80))


def test_snr_is_the_difference_in_standard_errors(noise):
    labels = disc(40, 40, 8).astype(int)
    flat, zero = np.full((80, 80), 100.0), np.zeros((80, 80))
    for height in (5.0, -20.0):
        found = measure_contrast(labels, flat + height * labels + noise, flat + height * labels, zero + 2)
        assert found.snr[0] == pytest.approx(abs(height) / 10 * labels.sum() ** 0.5, abs=2)
        assert found.contrast[0] == pytest.approx(abs(height) / 2, rel=0.02)


def test_contrast_counts_what_the_samples_disagree_on_and_how_their_mean_varies(noise):
    labels = disc(40, 40, 8).astype(int)
    mean, zero = 100.0 + 30 * labels, np.zeros((80, 80))
    sure = measure_contrast(labels, mean + noise, mean + noise, zero)
    assert sure.contrast[0] == pytest.approx(3, rel=0.1)
    both = measure_contrast(labels, mean + noise, mean + noise, zero + 10)
    assert both.contrast[0] == pytest.approx(3 / 2**0.5, rel=0.1)


def test_uneven_light_is_not_an_object(noise):
    light = 100 + 30 * (Y / 80) + 40 * (Y / 40 - 1) * (X / 40 - 1)
    labels = (light > np.median(light)).astype(int)
    found = measure_contrast(labels, light + noise, light + noise / 50, np.zeros((80, 80)))
    assert found.snr[0] < LEAST_SNR
    cell = disc(20, 60, 8)
    found = measure_contrast(cell.astype(int), light + noise + 30 * cell, light + 30 * cell, np.ones((80, 80)))
    assert found.snr[0] > 5 * LEAST_SNR
    assert found.contrast[0] > 3
    assert np.ptp(Light(np.zeros((80, 80), int)).taken_off(light)) < 1e-8


def test_the_bright_middle_of_light_that_falls_off_is_not_an_object():
    """The more of the light an object takes up, the less sure is what it stands out by: standard errors stay honest."""
    light = 100 - 30 * ((Y / 40 - 1) ** 2 + (X / 40 - 1) ** 2) / 2
    labels = (light > np.median(light)).astype(int)
    noises = np.random.default_rng(1).normal(0, 10, (40, 80, 80))
    found = [measure_contrast(labels, light + noise, light, np.ones((80, 80))).snr[0] for noise in noises]
    assert 0.6 < np.sqrt(np.mean(np.square(found))) < 1.4


def test_a_threshold_of_noise_finds_nothing_that_the_noise_does_not_make(noise):
    """What a network that follows the noise would show: smoothed noise, thresholded."""
    smooth = ndi.gaussian_filter(noise, 4)
    other = ndi.gaussian_filter(np.random.default_rng(9).normal(0, 10, (80, 80)), 4)
    labels = ndi.label(smooth > 0)[0]
    blind = measure_contrast(labels, 100 + ndi.shift(noise, 40, mode="grid-wrap"), 100 + smooth, np.full((80, 80), 0.1))
    assert (blind.snr < LEAST_SNR).all()
    disagreed = measure_contrast(labels, 100 + noise, 100 + smooth, np.abs(other) + 2)
    assert (disagreed.contrast < 1).all()


def test_neighbours_are_not_background():
    """A dim object beside a bright one is measured against what is dark."""
    bright, dim = disc(40, 30, 9), disc(40, 50, 9)
    image = 100.0 + 90 * bright + 30 * dim
    labels = np.where(bright, 1, 0) + np.where(dim, 2, 0)
    found = measure_contrast(labels, image, image, np.full((80, 80), 3.0))
    assert found.contrast == pytest.approx([30, 10], rel=0.05)


def test_objects_without_background_around_them():
    """Columns of 6 pixels with a gap of 1 pixel have none of their own: that of the whole image counts."""
    labels = np.where(X % 7 > 0, X // 7 + 1, 0)
    image = 100.0 + 20 * (labels > 0)
    found = measure_contrast(labels, image, image, np.full((80, 80), 2.0))
    assert found.contrast == pytest.approx([10] * 12, rel=0.05)


def test_what_fills_the_image_stands_out_from_nothing(noise):
    everything = np.ones((80, 80), int)
    assert measure_contrast(everything, noise, noise, noise**2) == ([0], [0])
    tiled = np.isnan(np.stack(measure_contrast(everything + (X > 40), noise, noise, noise**2)))
    assert tiled.all(), "two objects without any background: nobody knows"
    assert measure_contrast(everything * 0, noise, noise, noise**2).snr.shape == (0,)


def test_volumes():
    z, y, x = np.indices((16, 40, 40))
    ball = (z - 8) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 36
    image = 100.0 + 50 * ball + 3 * z
    found = measure_contrast(ball.astype(int), image, image, np.full(ball.shape, 5.0))
    assert found.contrast == pytest.approx([10], rel=0.05)
