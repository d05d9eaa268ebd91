import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from divseg.denoise.networks.flat import FlatConfig, FlatNet
from divseg.denoise.normalization import Normalization
from divseg.denoise.sampling import estimates as estimates_module
from divseg.denoise.sampling.estimates import (
    RunningMoments,
    map_estimate,
    map_reach,
    moments,
    sample_quantiles,
    tiled_estimates,
)
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import encode

UNITS = Normalization((100.0,), (20.0,))


def test_streamed_moments_equal_those_of_the_stack():
    stack = 1000 + torch.randn(13, 5, 7, generator=torch.Generator().manual_seed(0))
    running = moments([stack[:1], stack[1:6], stack[6:7], stack[7:]])
    assert running.count == 13
    torch.testing.assert_close(running.mean, stack.mean(0))
    torch.testing.assert_close(running.std, stack.std(0), rtol=1e-3, atol=1e-4)


def test_one_sample_has_no_spread_and_none_no_mean():
    assert (moments([torch.ones(1, 2, 2)]).std == 0).all()
    with pytest.raises(ValueError, match="no samples"):
        _ = RunningMoments().mean


def scene(fraction, k=64, side=24, std=0.05):
    """Samples that show a bright square in a fraction of the cases, with a little scatter."""
    generator = torch.Generator().manual_seed(0)
    samples = std * torch.randn(k, 1, side, side, generator=generator)
    samples[: round(fraction * k), :, 8:16, 8:16] += 1.0
    return samples


def test_goes_to_the_larger_group():
    for fraction, level in ((0.7, 1.0), (0.3, 0.0)):
        inner = map_estimate(scene(fraction))[0, 10:14, 10:14]
        assert float((inner - level).abs().max()) < 0.06
        assert float((scene(fraction).mean(0)[0, 10:14, 10:14] - level).abs().min()) > 0.2


def test_stays_near_the_mean_of_one_group():
    samples = torch.randn(256, 2, 20, 20, generator=torch.Generator().manual_seed(1))
    assert float((map_estimate(samples) - samples.mean(0)).square().mean().sqrt()) < 0.2


def test_does_not_depend_on_unit_or_offset():
    samples = scene(0.6)
    torch.testing.assert_close(
        map_estimate(300.0 * samples + 50.0), 300.0 * map_estimate(samples) + 50.0, rtol=1e-3, atol=1.0
    )


def test_equal_samples_and_one_sample():
    flat = torch.ones(5, 1, 9, 9)
    torch.testing.assert_close(map_estimate(flat), flat[0])
    one = torch.randn(1, 1, 9, 9)
    torch.testing.assert_close(map_estimate(one), one[0])


def test_reach_is_enough_in_volumes_too():
    samples = torch.randn(8, 1, 5, 60, 60, generator=torch.Generator().manual_seed(2))
    reach = map_reach()
    whole = map_estimate(samples)
    part = map_estimate(samples[..., : 20 + reach, :])
    torch.testing.assert_close(part[..., :20, :], whole[..., :20, :], rtol=1e-4, atol=1e-4)


def sampler(shape=(150, 130), tile=4096, config=None):
    torch.manual_seed(0)
    network = FlatNet(config or FlatConfig(filters=8, latents=8)).eval()
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
    stack = UNITS.denormalize(torch.cat(list(one.batches(0, 12))))[:, 0].numpy()
    monkeypatch.setattr(estimates_module, "MAX_PIXELS", 12 * 40**2)  # tiles of 40 pixels
    found = tiled_estimates(one, UNITS, 12, levels=(0.1, 0.5))
    assert found.mean.shape == (150, 130)
    np.testing.assert_allclose(found.mean, stack.mean(0), atol=1e-3)
    np.testing.assert_allclose(found.std, stack.std(0, ddof=1), atol=1e-3)
    np.testing.assert_allclose(found.quantiles, np.quantile(stack, (0.1, 0.5), axis=0), atol=1e-3)
    assert found.mode is None


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (FlatConfig(filters=8, latents=8), (150, 130)),
        (FlatConfig(1, filters=4, latents=3, dims=3, channels=2), (2, 5, 70, 20)),
    ],
)
def test_tiles_do_not_show(config, shape):
    units = Normalization((0.0,) * config.channels, (1.0,) * config.channels)
    whole = tiled_estimates(sampler(shape, config=config), units, 6, levels=(0.5,), mode=True)
    tiled = tiled_estimates(sampler(shape, 32, config), units, 6, levels=(0.5,), mode=True)
    for name in ("mean", "std", "quantiles", "mode"):
        np.testing.assert_allclose(getattr(tiled, name), getattr(whole, name), atol=1e-4)
    assert whole.mode.shape == shape
    assert not np.allclose(whole.mode, whole.mean, atol=1e-3)
