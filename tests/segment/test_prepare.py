import numpy as np
import pytest

from divseg.segment.options import threshold_options
from divseg.segment.prepare import background, context, prepare, smooth


def options(**named):
    return threshold_options("otsu", [(name, str(value)) for name, value in named.items()])[1]


def test_nothing_asked_nothing_done():
    image = np.arange(12.0).reshape(3, 4)
    assert prepare(image, options()) is image


def test_the_image_of_the_caller_is_not_changed():
    image = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    before = image.copy()
    out = prepare(image, options(smooth=1, background=5))
    assert np.array_equal(image, before)
    assert out.dtype == np.float32


def test_background_is_subtracted_and_objects_stay():
    ramp = np.linspace(0, 50, 100)[None].repeat(80, 0)
    image = ramp.copy()
    image[30:40, 45:55] += 100
    estimate = background(image, 12, (1, 1))
    assert abs(estimate - ramp)[15:-15, 15:-15].max() < 8
    clean = prepare(image, options(background=12))
    assert clean[35, 50] > 92
    assert abs(clean[5, 20:80]).max() < 8


@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (2, 5, 6)])
def test_windows_larger_than_the_image(shape):
    image = np.random.default_rng(0).random(shape)
    assert np.isfinite(background(image, 50, (1.0,) * len(shape))).all()


def test_anisotropy_smooths_fewer_planes():
    volume = np.zeros((21, 21, 21))
    volume[10, 10, 10] = 1
    out = smooth(volume, 2.0, (4.0, 1.0, 1.0))
    assert out[10, 14, 10] == pytest.approx(out[10, 10, 14])
    assert out[11, 10, 10] == pytest.approx(out[10, 14, 10], rel=0.1)


@pytest.mark.parametrize("named", [{"smooth": 1.3}, {"background": 7}, {"smooth": 2, "background": 6}])
def test_nothing_beyond_the_halo_matters(named):
    o = options(**named)
    halo = context("otsu", o)
    rng = np.random.default_rng(0)
    image = rng.random((90, 90))
    other = image.copy()
    other[:, 45 + halo + 1 :] = rng.random((90, 44 - halo)) * 9
    assert np.array_equal(prepare(image, o)[:, :46], prepare(other, o)[:, :46])
    assert not np.array_equal(prepare(image, o), prepare(other, o))


def test_halo_of_local_methods_has_the_window():
    assert context("local", options(smooth=1)) == context("otsu", options(smooth=1)) + 25
