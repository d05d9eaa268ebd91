"""Images that a network can work on."""

import numpy as np
import pytest

from divseg.denoise.networks.registry import default_network
from divseg.denoise.validation import checked_image, pixels
from divseg.errors import InputError


def noisy(dtype, offset=0.0, scale=1.0):
    rng = np.random.default_rng(0)
    return (scale * rng.normal(100, 25, (64, 64)) + offset).astype(dtype)


@pytest.mark.parametrize(
    "image", [noisy(np.uint32, 2e9), noisy(np.int64, -3e10), noisy(np.float64, 1.0, 1e-9), noisy(np.int32, 1e9)]
)
def test_differences_that_would_be_lost_are_told(image):
    for check in (pixels, lambda im: checked_image(default_network(2), im)):
        with pytest.raises(InputError, match=r"so far from 0 .* subtract"):
            check(image)


@pytest.mark.parametrize(
    "image",
    [
        noisy(np.uint32, 1e6),
        noisy(np.float64, 0.0, 1e-9),
        noisy(np.float64, -500),
        noisy(np.int16, -32768),
        noisy(np.float64, 2e9, 1e8),
        noisy(np.float32, 2e9),
    ],
)
def test_other_offsets_and_scales_are_taken(image):
    assert pixels(image) is not None
    assert checked_image(default_network(2), image).shape == (64, 64)
