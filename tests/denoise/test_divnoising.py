import numpy as np
import pytest
import torch

import divseg
from divseg.denoise import FlatConfig, TrainSettings
from divseg.errors import ConfigError, InputError, TrainingError

SMALL = FlatConfig(filters=8, latents=8)
QUICK = TrainSettings(batch=4, patch=32, report_every=5, validate_every=10)


def images(n=3, shape=(48, 56)):
    out = []
    for i in range(n):
        rng = np.random.default_rng(i)
        clean = np.where(rng.random((6, 7)) < 0.4, 160.0, 40.0).repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]]
        out.append((100 + rng.poisson(clean * 0.3) * 2 + rng.normal(0, 3, clean.shape)).astype(np.uint16))
    return out


@pytest.fixture(scope="module")
def model():
    return divseg.DivNoising.fit(
        images(), noise="learned", train_steps=200, seed=0, device="cpu", network=SMALL, settings=QUICK
    )


def test_samples_are_lazy_in_input_units_and_near_the_image(model):
    noisy = images()[0]
    batches = model.sample(noisy, n=1000, seed=0, batch_size=1)
    first = next(batches)
    assert first.shape == (1, 48, 56)
    assert first.dtype == torch.float32
    assert 90 < float(first.mean()) < 220
    mmse = model.mmse(noisy, n=8)
    assert mmse.dtype == np.float32
    assert mmse.shape == noisy.shape
    assert abs(float(mmse.mean()) - noisy.mean()) < 10
    assert np.corrcoef(mmse.ravel(), noisy.ravel())[0, 1] > 0.5


def test_same_sample_for_any_batch_tile_order_and_start(model):
    noisy = images()[1]
    posterior = model.posterior(noisy)
    reference = torch.cat(list(model.sample(noisy, n=5, seed=3)))
    for options in ({"batch_size": 3}, {"batch_size": 8}, {"tile": 16}, {"tile": 32, "batch_size": 2}):
        again = torch.cat(list(model.sample(posterior, n=5, seed=3, **options)))
        assert float((again - reference).abs().max()) <= 1e-5 * model.std + 1e-4
    assert not torch.allclose(reference[0], reference[1], atol=0.1)


def test_samples_do_not_touch_the_global_generator(model):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    list(model.sample(images()[0], n=2))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": [np.full((40, 40), 3.0)]}, InputError, "all pixels have the value"),
        ({"images": [np.full((40, 40), np.nan)]}, InputError, "NaN|not finite|nan"),
        ({"images": images(1, (48, 56))[0][:10]}, InputError, "smaller than"),
        ({"noise": "gaussain"}, ConfigError, "did you mean"),
        ({"device": "quantum"}, ConfigError, "device"),
        ({"train_steps": 0}, ConfigError, "train_steps"),
        ({"network": FlatConfig(3)}, InputError, "smaller than"),
    ],
)
def test_bad_fits(change, error, message):
    settings = {"images": images(1), "train_steps": 1, "device": "cpu"} | change
    if "network" in change:
        settings["images"] = [im[:31, :31] for im in images(1)]
    with pytest.raises(error, match=message):
        divseg.DivNoising.fit(settings.pop("images"), **settings)


def test_bad_sampling(model):
    with pytest.raises(InputError, match="at least 1"):
        model.sample(images()[0], n=0)
    with pytest.raises(InputError, match="batch_size"):
        model.sample(images()[0], n=1, batch_size=0)
    with pytest.raises(InputError, match="axes"):
        model.sample(np.zeros((2, 3, 4, 5)), n=1)


def test_no_gpu_is_said():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA GPU")
    with pytest.raises(ConfigError, match="no usable CUDA GPU"):
        divseg.DivNoising.fit(images(), device="cuda", train_steps=1)


def test_memory_that_runs_out_in_training_is_one_line():
    def full(row):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(TrainingError, match="memory of cpu ran out in training, with steps of 4 crops"):
        divseg.DivNoising.fit(images(), noise="gaussian,std=20", train_steps=2, device="cpu", progress=full)
