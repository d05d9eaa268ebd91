"""Mean and standard deviation that a few pixels cannot move."""

from __future__ import annotations

import numpy as np
import pytest

from divseg.denoise.training.statistics import find_normalization


def pixels(seed=0):
    return np.random.default_rng(seed).normal(200, 30, (1, 128, 128))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_plain_without_outliers(dtype):
    images = [np.clip(pixels(k), 0, 255).astype(dtype) for k in range(3)]
    found = find_normalization(images, [None] * 3)
    every = np.stack(images).astype(np.float64)
    assert found.mean[0] == pytest.approx(every.mean(), rel=1e-12)
    assert found.std[0] == pytest.approx(every.std(), rel=1e-12)


@pytest.mark.parametrize("value", [5_000.0, 65_535.0, -1e6])
@pytest.mark.parametrize("share", [0.0001, 0.001, 0.005])
def test_half_a_per_cent_at_any_value(share, value):
    image = pixels()
    image.reshape(-1)[: round(share * image.size)] = value
    found = find_normalization([image], [None])
    assert found.mean[0] == pytest.approx(200, abs=5)
    assert found.std[0] == pytest.approx(30, rel=0.25)


def test_invalid_pixels_do_not_count():
    image, valid = pixels(), np.ones((128, 128), bool)
    valid[:40] = False
    image[0, :40] = 255
    found = find_normalization([image], [valid])
    assert found.mean[0] == pytest.approx(image[0, 40:].mean())
