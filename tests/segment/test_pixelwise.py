import numpy as np
import pytest

from divseg.segment.pixelwise import local_level, sauvola_level


def uneven(seed=0):
    """Equal squares on a background that rises more than the squares do."""
    rng = np.random.default_rng(seed)
    image = np.linspace(0, 300, 200)[None] + rng.normal(0, 5, (120, 200))
    truth = np.zeros(image.shape, bool)
    truth[20:32, 20:32] = truth[70:82, 60:72] = truth[40:52, 140:152] = truth[90:102, 180:192] = True
    return (image + 60 * truth).astype(np.float32), truth


@pytest.mark.parametrize("level", [lambda x: local_level(x, 41, 0.5), lambda x: sauvola_level(x, 41, 0.05)])
def test_finds_objects_on_an_uneven_background(level):
    image, truth = uneven()
    found = image > level(image)
    assert found[truth].mean() > 0.95
    assert found[~truth].mean() < 0.15
    # no global threshold can
    assert image[truth].min() < image[~truth].max() - 200


@pytest.mark.parametrize("level", [lambda x: local_level(x, 41, 0.5), lambda x: sauvola_level(x, 41, 0.05)])
def test_follows_gain_and_offset(level):
    image, _ = uneven()
    image = image.astype(np.float64)
    moved = -1000 + 0.01 * image
    np.testing.assert_allclose((level(moved) + 1000) / 0.01, level(image), atol=1e-6)


def test_more_margin_gives_less_foreground():
    image, _ = uneven()
    shares = [(image > local_level(image, 41, offset)).mean() for offset in (0, 0.5, 1)]
    assert shares[0] > shares[1] > shares[2]
    shares = [(image > sauvola_level(image, 41, k)).mean() for k in (0, 0.05, 0.2)]
    assert shares[0] > shares[1] > shares[2]


def test_one_value():
    constant = np.full((9, 9), 0.3, np.float32)
    assert not (constant > sauvola_level(constant, 5, 0.2)).any()


def test_volumes():
    volume = np.zeros((7, 20, 20), np.float32)
    volume[2:5, 5:10, 5:10] = 1
    assert local_level(volume, 9, 0.5).shape == volume.shape
    assert sauvola_level(volume, 9, 0.05)[3, 7, 7] < 1
