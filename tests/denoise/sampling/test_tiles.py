import numpy as np
import pytest
import torch

from divseg.denoise.networks.flat import FlatConfig
from divseg.denoise.networks.hierarchical import HierarchicalConfig
from divseg.denoise.networks.registry import build_network
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import check_tile, decode, divergence, encode, noise_of
from divseg.errors import InputError


def network(config=None):
    torch.manual_seed(1)
    net = build_network(config or FlatConfig()).eval()
    if isinstance(net.config, HierarchicalConfig):
        net.initialize()
    return net


def draw(net, posterior, samples, seed, tile, dtype=torch.float32):
    return decode(net, posterior, samples, noise_of(net, posterior, seed), tile, dtype)


def farthest(whole, tiled):
    pairs = zip(whole.levels, tiled.levels, strict=True)
    return max(float((a - b).abs().max()) / max(1.0, float(a.std())) for a, b in pairs)


def image(shape=(513, 641), seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "config",
    [FlatConfig(), FlatConfig(3, filters=8, latents=8, convs=3), HierarchicalConfig(), HierarchicalConfig(2, (4, 4))],
)
@pytest.mark.parametrize("tile", [96, 160])
def test_tiled_equals_whole(config, tile):
    net, noisy = network(config), image()
    whole = encode(net, noisy, 7, 4096)
    tiled = encode(net, noisy, 7, tile)
    assert farthest(whole, tiled) <= 1e-5
    a = draw(net, whole, range(2), 0, 4096)
    b = draw(net, tiled, range(2), 0, tile)
    assert a.shape == (2, 1, 513, 641)
    assert float((a - b).abs().max()) <= 1e-5 * max(1.0, float(a.std()))


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("config", [FlatConfig(filters=8, latents=8), HierarchicalConfig(latents=(4, 4))])
def test_sample_does_not_depend_on_batch_or_number(config, batch):
    net = network(config)
    posterior = encode(net, image((50, 61)), 7, 256)
    alone = torch.cat([draw(net, posterior, range(k, k + 1), 3, 256) for k in range(8)])
    together = torch.cat(list(Sampler(net, posterior, 3, 256, batch).batches(0, 8)))
    assert float((alone - together).abs().max()) <= 1e-5
    few = torch.cat(list(Sampler(net, posterior, 3, 256, batch).batches(0, 3)))
    assert float((few - together[:3]).abs().max()) <= 1e-5


@pytest.mark.parametrize("config", [FlatConfig(filters=8, latents=8), HierarchicalConfig(latents=(4, 4))])
def test_seed_and_key_change_the_sample(config):
    net = network(config)
    one, other = encode(net, image((32, 32)), 7, 256), encode(net, image((32, 32)), 8, 256)
    first = draw(net, one, range(1), 0, 256)
    assert not torch.allclose(first, draw(net, one, range(1), 1, 256), atol=1e-3)
    assert not torch.allclose(first, draw(net, other, range(1), 0, 256), atol=1e-3)


@pytest.mark.parametrize("shape", [(16, 16), (17, 35), (5, 64), (512, 19)])
@pytest.mark.parametrize("config", [FlatConfig(filters=4, latents=4), HierarchicalConfig(latents=(4, 4, 4))])
def test_any_size_keeps_its_shape(config, shape):
    net = network(config)
    out = draw(net, encode(net, image(shape), 1, 64), range(1), 0, 64)
    assert out.shape == (1, 1, *shape)
    assert torch.isfinite(out).all()


def test_the_layout_of_the_pixels_in_memory_changes_nothing():
    net, noisy = network(FlatConfig(filters=8, latents=8)), image((64, 72))
    levels = encode(net, noisy, 1, 64).levels
    for same in (np.asfortranarray(noisy), np.flip(np.flip(noisy, 0).copy(), 0)):
        assert torch.equal(encode(net, same, 1, 64).levels[0], levels[0])


def test_impossible_tiles_and_images():
    with pytest.raises(InputError, match="too small"):
        check_tile(8, 4, torch.device("cpu"))
    assert check_tile(97, 4, torch.device("cpu")) == 100
    with pytest.raises(InputError, match="too small"):
        encode(network(FlatConfig(3, filters=4, latents=4)), image((3, 40)), 1, 64)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (FlatConfig(1, filters=4, latents=3, dims=3), (13, 27, 38)),
        (FlatConfig(2, filters=4, latents=3, convs=3, dims=3, channels=2), (2, 21, 40, 33)),
        (FlatConfig(3, filters=4, latents=3, channels=3), (3, 70, 101)),
        (HierarchicalConfig(1, (3, 4), 4, 6, dims=3), (13, 27, 38)),
        (HierarchicalConfig(1, (3, 4, 5), 4, 6, channels=2), (2, 70, 101)),
    ],
)
def test_tiled_equals_whole_in_volumes_and_channels(config, shape):
    net, noisy = network(config), image(shape)
    whole, tiled = encode(net, noisy, 7, 4096), encode(net, noisy, 7, 4 * config.stride)
    assert farthest(whole, tiled) <= 1e-5
    a, b = draw(net, whole, [4, 9], 0, 4096), draw(net, tiled, [4, 9], 0, 4 * config.stride)
    assert a.shape == (2, config.channels, *shape[-config.dims :])
    assert float((a - b).abs().max()) <= 1e-5 * max(1.0, float(a.std()))


def test_half_precision_is_near_and_no_less_repeatable():
    net = network()
    single = encode(net, image((64, 64)), 7, 256)
    half = encode(net, image((64, 64)), 7, 256, dtype=torch.bfloat16)
    a = draw(net, single, range(4), 0, 256)
    b = draw(net, half, range(4), 0, 256, torch.bfloat16)
    assert b.dtype == torch.float32
    assert 0 < float((a - b).abs().mean()) < 0.1 * float(a.std(0).mean())
    assert torch.equal(b, draw(net, half, range(4), 0, 256, torch.bfloat16))


@pytest.mark.parametrize("config", [FlatConfig(filters=8, latents=8), HierarchicalConfig(latents=(4, 4, 4))])
def test_divergence_is_the_same_in_any_tiles(config):
    net, noisy = network(config), image((120, 141))
    posterior = encode(net, noisy, 7, 4096)
    noise = noise_of(net, posterior, 0)
    whole, tiled = (divergence(net, posterior, noise, 3, tile) for tile in (4096, 32))
    assert whole > 0
    assert tiled == pytest.approx(whole, rel=1e-5)


def test_each_grid_has_its_own_numbers():
    net = network(HierarchicalConfig(latents=(4, 4)))
    noise = noise_of(net, encode(net, image((64, 64)), 7, 256), 0)
    a, b = noise.windows([0], [((0, 8), (0, 8))] * 2)
    assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])) < 0.3
