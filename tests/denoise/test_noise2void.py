import importlib.util

import numpy as np
import pytest
import tifffile
import torch

from divseg.denoise.noise2void import OPTIONS, denoise_n2v, parse_n2v
from divseg.errors import ConfigError, ExtraRequired, InputError
from divseg.workflow.noise_model import bootstrap_noise

INSTALLED = importlib.util.find_spec("careamics") is not None


def noisy(shape=(70, 90), seed=0):
    rng = np.random.default_rng(seed)
    return (100 + 40 * np.sin(np.arange(shape[1]) / 9) + rng.normal(0, 10, shape)).astype(np.float32)


def folder(path, count, shape=(70, 90)):
    path.mkdir()
    for k in range(count):
        tifffile.imwrite(path / f"{k}.tif", noisy(shape, seed=k))
    return path


def test_words():
    assert parse_n2v("n2v") == OPTIONS["minutes"].default
    assert parse_n2v("N2V, minutes=2.5") == 2.5
    assert parse_n2v("folder/of/images") is None
    assert parse_n2v("n2v_results, first/*.tif") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n2v,minutes=0", "not below 0.01"),
        ("n2v,minutes=soon", "must be a number"),
        ("n2v,minutes=nan", "must be a number"),
        ("n2v,minuts=3", "did you mean 'minutes'"),
        ("n2v,3", "write name=value, for example n2v,minutes=10"),
    ],
)
def test_bad_options(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_n2v(text)


@pytest.mark.parametrize(
    ("images", "match"), [([], "at least one"), ([np.zeros((63, 90))], "63, 90"), ([np.zeros((3, 70, 90))], "3, 70")]
)
def test_images_that_do_not_fit(images, match):
    with pytest.raises(InputError, match=match):
        denoise_n2v(images)


def test_no_time():
    with pytest.raises(ConfigError, match="minutes"):
        denoise_n2v([noisy()], minutes=0)


@pytest.mark.skipif(INSTALLED, reason="careamics is installed")
def test_without_the_extra_the_error_names_it(tmp_path):
    with pytest.raises(ExtraRequired, match=r'pip install "divseg\[n2v\]"'):
        bootstrap_noise(folder(tmp_path / "noisy", 1), "n2v,minutes=1", tmp_path / "camera.json")


@pytest.mark.skipif(not INSTALLED, reason="careamics is not installed")
def test_bootstrap_by_noise2void(tmp_path):
    model = bootstrap_noise(folder(tmp_path / "noisy", 3, (200, 260)), "n2v,minutes=0.3", tmp_path / "camera.json")
    variance = float(model.variance(torch.tensor(100.0)))
    assert 30 < variance < 300  # the truth is 100, the training short
    with pytest.raises(InputError, match="Noise2Void cannot be trained on the images"):
        denoise_n2v([noisy((64, 64))], minutes=0.1)
