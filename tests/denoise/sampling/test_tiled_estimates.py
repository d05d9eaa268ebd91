import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from divseg.denoise.networks.flat import DivNoisingNet, NetworkConfig
from divseg.denoise.normalization import Intensity
from divseg.denoise.sampling import tiled_estimates as tilewise
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiled_estimates import estimate_tilewise, sample_quantiles
from divseg.denoise.sampling.tiles import encode

UNITS = Intensity((100.0,), (20.0,))


def sampler(shape=(150, 130), tile=4096, config=None):
    torch.manual_seed(0)
    network = DivNoisingNet(config or NetworkConfig(filters=8, latents=8)).eval()
    noisy = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return Sampler(network, encode(network, noisy, 7, 4096), 3, tile, 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_quantiles_are_those_of_numpy(k, levels):
    samples = torch.randn(k, 1, 3, 4)
    expected = np.quantile(samples.numpy(), levels, axis=0)
    np.testing.assert_allclose(sample_quantiles(samples, levels).numpy(), expected, atol=1e-5)


def test_equal_to_the_stack_of_all_samples(monkeypatch):
    one = sampler()
    stack = UNITS.restore(torch.cat(list(one.batches(0, 12))))[:, 0].numpy()
    monkeypatch.setattr(tilewise, "HELD", 12 * 40**2)  # tiles of 40 pixels
    found = estimate_tilewise(one, UNITS, 12, levels=(0.1, 0.5))
    assert found.mean.shape == (150, 130)
    np.testing.assert_allclose(found.mean, stack.mean(0), atol=1e-3)
    np.testing.assert_allclose(found.sd, stack.std(0, ddof=1), atol=1e-3)
    np.testing.assert_allclose(found.quantiles, np.quantile(stack, (0.1, 0.5), axis=0), atol=1e-3)
    assert found.mode is None


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (NetworkConfig(filters=8, latents=8), (150, 130)),
        (NetworkConfig(1, filters=4, latents=3, dims=3, channels=2), (2, 5, 70, 20)),
    ],
)
def test_tiles_do_not_show(config, shape):
    units = Intensity((0.0,) * config.channels, (1.0,) * config.channels)
    whole = estimate_tilewise(sampler(shape, config=config), units, 6, levels=(0.5,), mode=True)
    tiled = estimate_tilewise(sampler(shape, 32, config), units, 6, levels=(0.5,), mode=True)
    for name in ("mean", "sd", "quantiles", "mode"):
        np.testing.assert_allclose(getattr(tiled, name), getattr(whole, name), atol=1e-4)
    assert whole.mode.shape == shape
    assert not np.allclose(whole.mode, whole.mean, atol=1e-3)
