"""Images of other camera settings are named."""

from __future__ import annotations

import numpy as np
import pytest

from divseg.denoise.training.unlike import unlike_others


def image(seed, share=0.1):
    """Return photons of an image of which a share is bright, as a camera counts them."""
    rng = np.random.default_rng(seed)
    signal = np.where(rng.random((16, 16)) < share, 80.0, 10.0).repeat(6, 0).repeat(6, 1)
    return (100 + 4 * rng.poisson(signal) + rng.normal(0, 4, signal.shape))[None]


def named(images, valid=None):
    return unlike_others([f"i{k}" for k in range(len(images))], images, valid or [None] * len(images))


@pytest.mark.parametrize("change", [lambda x: 20 * x, lambda x: x / 257, lambda x: x + 6000, lambda x: x - 3000])
def test_other_scales_and_offsets(change):
    text = named([image(0), image(1), change(image(2)), image(3)])
    assert "i2 (" in text
    assert "i1 (" not in text


@pytest.mark.parametrize("shares", [(0.0, 0.1, 0.9), (0.02, 0.05, 0.3), (0.0, 0.0, 1.0)])
def test_empty_and_crowded_fields_are_alike(shares):
    assert named([image(k, share) for k, share in enumerate(shares)]) is None


def test_what_is_no_data_does_not_count():
    spoilt, valid = image(2), np.ones((96, 96), bool)
    valid[:, :90] = False
    spoilt[:, ~valid] = 1e6
    assert named([image(0), image(1), spoilt], [None, None, valid]) is None


def test_two_images_do_not_tell_which():
    assert named([image(0), 100 * image(1)]) is None
