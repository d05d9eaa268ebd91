import numpy as np
import pytest
from scipy import ndimage as ndi

from divseg.denoise.noise import neighbour_correlation, photon_transfer
from divseg.errors import InputError


def blobs(shape=(256, 256), seed=0):
    """Smooth clean image with values from about 10 to 200."""
    rng = np.random.default_rng(seed)
    field = ndi.gaussian_filter(rng.standard_normal(shape), 12)
    return 10 + 190 / (1 + np.exp(-6 * field / field.std()))


def test_gaussian_noise():
    images = [blobs(seed=i) + np.random.default_rng(i + 9).normal(0, 20, (256, 256)) for i in range(4)]
    found = photon_transfer(images)
    assert found.std == pytest.approx(20, rel=0.03)
    middle = 0.5 * (found.low + found.high)
    assert found.a * middle + found.b == pytest.approx(400, rel=0.06)


@pytest.mark.parametrize(("gain", "offset", "read"), [(2.0, 100.0, 4.0), (0.5, 0.0, 2.0), (5.0, 50.0, 3.0)])
def test_poisson_gaussian_noise(gain, offset, read):
    images = []
    for i in range(4):
        rng = np.random.default_rng(i)
        images.append(offset + gain * rng.poisson(blobs(seed=i) * 0.3) + rng.normal(0, read, (256, 256)))
    found = photon_transfer(images)
    assert found.a == pytest.approx(gain, rel=0.1)
    for s in (found.low, found.high):
        assert found.a * s + found.b == pytest.approx(gain * (s - offset) + read**2, rel=0.12)


def test_variance_is_positive_over_the_range():
    rng = np.random.default_rng(0)
    found = photon_transfer([blobs() + rng.normal(0, 1e-3, (256, 256))])
    assert found.a * found.low + found.b > 0
    assert found.a >= 0


def test_no_noise_and_too_little():
    with pytest.raises(InputError, match="no noise"):
        photon_transfer([np.full((64, 64), 7.0)])
    with pytest.raises(InputError, match="cannot be estimated"):
        photon_transfer([np.zeros((20, 20))])


def test_neighbour_correlation():
    noise = np.random.default_rng(0).standard_normal((300, 400))
    assert max(map(abs, neighbour_correlation(noise))) < 0.02
    assert max(map(abs, neighbour_correlation(3 * noise + blobs((300, 400))))) < 0.02
    pairs = noise[:, 1:] + 0.25 * noise[:, :-1]
    x, y = neighbour_correlation(pairs)
    assert x == pytest.approx(0.25 / (1 + 0.25**2), abs=0.02)
    assert abs(y) < 0.01
    blurred = ndi.convolve1d(noise, [0.25, 0.5, 0.25], axis=0)
    x, y = neighbour_correlation(blurred)
    assert y > 0.3
    assert abs(x) < 0.02
    assert neighbour_correlation(np.zeros((50, 50))) == (0.0, 0.0)
    assert neighbour_correlation(np.zeros((5, 5))) == (0.0, 0.0)


def test_alternating_noise_is_not_overestimated():
    """Neighbours with negative correlation, as some line scanners have: the second difference sees more."""
    rng = np.random.default_rng(0)
    white = rng.normal(0, 20, (400, 402))
    noisy = blobs((400, 401)) + white[:, 1:] - 0.15 * white[:, :-1]
    assert photon_transfer([noisy]).std ** 2 == pytest.approx(400 * (1 + 0.15**2), rel=0.04)


def test_blocks_at_the_limits_do_not_count():
    """Clipping takes variance away: the line through all blocks would sink."""
    images = []
    for i in range(4):
        rng = np.random.default_rng(i)
        clean = 2.0 * blobs(seed=i)
        images.append(np.clip(np.rint(clean + rng.normal(0, 25, clean.shape)), 0, 255))
    found = photon_transfer(images)
    assert (found.floor, found.ceiling) == (0, 255)
    assert found.std == pytest.approx(25, rel=0.05)
    assert found.deviation < 0.1


def test_deviation_is_larger_for_images_with_texture():
    rng = np.random.default_rng(0)
    smooth = [blobs() + rng.normal(0, 20, (256, 256))]
    texture = [x + 60 * (blobs(seed=5) > 120) * (rng.random((256, 256)) > 0.5) for x in smooth]
    assert photon_transfer(smooth).deviation < 0.08 < photon_transfer(texture).deviation
