"""Does the noise model fit? Ranks of pixels among draws from it."""

import numpy as np
import pytest
import torch

from divseg.denoise.noise import Gaussian, PoissonGaussian
from divseg.denoise.rank_histogram import BINS, MISFIT, RankHistogram, misfit, misfit_words

SHAPE = (120, 120)
SIGNAL = np.linspace(50, 250, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)


def heights(noise, noisy, signal=SIGNAL, samples=9):
    ranks = RankHistogram(noise, noisy)
    batch = torch.from_numpy(np.ascontiguousarray(signal)).expand(samples, *SHAPE)
    ranks.add(batch[:4])
    ranks.add(batch[4:])
    return ranks.heights()


def normal(std, seed=0):
    return (SIGNAL + std * np.random.default_rng(seed).standard_normal(SHAPE)).astype(np.float32)


def test_right_noise_has_a_flat_histogram():
    found = heights(Gaussian(10.0), normal(10.0))
    assert found.shape == (3, BINS)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert misfit(found).max() < 0.04


@pytest.mark.parametrize(("std", "words"), [(14.0, "farther from"), (7.0, "closer to")])
def test_wrong_standard_deviation_is_told(std, words):
    found = heights(Gaussian(10.0), normal(std))
    assert misfit(found).max() > MISFIT
    assert words in misfit_words(found)


@pytest.mark.parametrize(("shift", "words"), [(6, "far above"), (-6, "far below")])
def test_bias_is_told(shift, words):
    found = heights(Gaussian(10.0), normal(10.0) + np.float32(shift))
    assert misfit(found).max() > MISFIT
    assert words in misfit_words(found)


def test_noise_that_is_right_on_average_only_is_told():
    """Shot noise under a model of one standard deviation: too weak in bright parts, too strong in dark ones."""
    rng = np.random.default_rng(3)
    noisy = (SIGNAL + np.sqrt(SIGNAL - 45) * rng.standard_normal(SHAPE)).astype(np.float32)
    found = heights(Gaussian(float(np.sqrt(SIGNAL - 45).mean())), noisy)
    assert misfit(found.mean(axis=0)) < MISFIT < misfit(found).max()
    assert misfit(heights(PoissonGaussian(1.0, -45.0, low=50.0, high=250.0), noisy)).max() < 0.05


def test_whole_numbers_and_limits_bend_nothing():
    noise = Gaussian(0.6).with_limits(60.0, 200.0)
    noisy = np.clip(np.rint(normal(0.6)), 60, 200)
    assert misfit(heights(noise, noisy)).max() < 0.04


def test_pixels_that_are_no_numbers_are_left_out():
    noisy = normal(10.0)
    noisy[:40] = np.nan
    assert misfit(heights(Gaussian(10.0), noisy)).max() < 0.06
