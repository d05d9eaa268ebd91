import numpy as np
import pytest
import torch

from divseg.denoise.networks.flat import FlatConfig, FlatNet
from divseg.denoise.networks.hierarchical import HierarchicalConfig
from divseg.denoise.networks.registry import build_network
from divseg.denoise.sampling import sampler as sampler_module
from divseg.denoise.sampling.normals_torch import torch_normals
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import Posterior, encode
from divseg.errors import InputError


class Cramped(FlatNet):
    """A network whose decoder runs out of memory over so many latent positions; the rest is the real thing."""

    def __init__(self, room):
        torch.manual_seed(0)
        super().__init__(FlatConfig(filters=8, latents=8))
        self.decoder.register_forward_pre_hook(self.refuse)
        self.room, self.refused = room, 0

    def refuse(self, module, inputs):
        if inputs[0][:, 0].numel() > self.room:
            self.refused += 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def posterior(network, shape=(128, 128)):
    return encode(network, np.random.default_rng(0).standard_normal(shape).astype(np.float32), 7, 4096)


def test_halves_the_batch_then_the_tile_and_gives_the_same_samples():
    roomy, cramped = Cramped(10**9).eval(), Cramped(900).eval()
    expected = torch.cat(list(Sampler(roomy, posterior(roomy), 0, 128, 8).batches(0, 8)))
    tight = Sampler(cramped, posterior(cramped), 0, 128, 8)
    got = torch.cat(list(tight.batches(0, 8)))
    assert cramped.refused == 4  # batches of 8, 4, 2 and 1 of the whole, then halved tiles
    assert (tight.batch, tight.tile) == (1, 64)
    assert float((got - expected).abs().max()) <= 1e-5


def test_says_so_where_nothing_fits():
    network = Cramped(10).eval()
    with pytest.raises(InputError, match="memory ran out"):
        Sampler(network, posterior(network), 0, 128, 2).draw([0, 1])


def test_other_errors_are_not_taken_for_memory():
    network = Cramped(10**9).eval()
    sampler = Sampler(network, posterior(network), 0, 128, 2)
    network.decoder.convrecon.weight.data = torch.zeros(1, 3, 3, 3)
    with pytest.raises(RuntimeError, match="channels"):
        sampler.draw([0])


def test_the_batch_is_measured_once_for_each_kind(monkeypatch):
    monkeypatch.setattr(sampler_module, "_measured", {})
    network = Cramped(10**9).eval()
    timed = []
    monkeypatch.setattr(Sampler, "_seconds", lambda self, spans, size: timed.append(size) or {1: 4, 2: 5, 4: 9.9}[size])
    assert Sampler(network, posterior(network), 0, 32).batch_size(100) == 2  # 2 at once beat 1; 4 are hardly better
    assert Sampler(network, posterior(network), 1, 32).batch_size(7) == 2
    assert timed == [1, 2, 4]


def test_few_tiles_are_not_worth_measuring(monkeypatch):
    monkeypatch.setattr(sampler_module, "_measured", {})
    network = Cramped(10**9).eval()
    assert Sampler(network, posterior(network), 0, 128).batch_size(10) == 1
    assert sampler_module._measured == {}
    Sampler(network, posterior(network, (32, 32)), 0, 128).batch_size(100)
    assert len(sampler_module._measured) == 1


@pytest.mark.parametrize("config", [FlatConfig(), HierarchicalConfig(), HierarchicalConfig(2, (4, 4), 16, 24)])
def test_on_a_gpu_the_batch_fills_half_of_the_free_memory(config):
    network = build_network(config).eval()
    step = config.stride
    levels = tuple(
        torch.empty((channels, 512 * step // stride, 512 * step // stride), device="meta")
        for channels, stride in zip(config.encoder_channels, config.strides, strict=True)
    )
    large = Posterior(levels, np.empty((512 * step, 512 * step), np.float32), 0)
    sampler = Sampler(network, large, 0, 512, generator=torch_normals)
    few, many = sampler._fitting(2**31), sampler._fitting(2**33)
    assert 1 < few < many <= 4 * (few + 1)
    assert sampler._fitting(0) == 1
    assert sampler._fitting(2**50) == sampler_module.GPU_BATCH
    whole = Sampler(network, large, 0, 512 * step, generator=torch_normals)
    assert whole._fitting(2**33) < many  # larger tiles, fewer samples
    numbers = (4 * config.decoder_numbers + 4) * (512 * step) ** 2
    assert whole._fitting(2**35) == 2**34 // (4 * numbers)
    halo = max(halo * stride for halo, stride in zip(config.decoder_halos, config.strides, strict=True))
    numbers = (4 * config.decoder_numbers + 2) * (512 + 2 * halo) ** 2 + 2 * (512 * step) ** 2
    assert many == 2**32 // (4 * numbers)


def test_a_gpu_needs_no_trials(monkeypatch):
    network = Cramped(10**9).eval()
    sampler = Sampler(network, posterior(network), 0, 128)
    monkeypatch.setattr(Posterior, "device", torch.device("mps"))
    monkeypatch.setattr(Sampler, "_seconds", lambda *_: pytest.fail("a trial"))
    assert sampler.batch_size(1000) == sampler._fitting(sampler_module.UNKNOWN_MEMORY)


def test_chosen_samples_in_any_order():
    network = Cramped(10**9).eval()
    sampler = Sampler(network, posterior(network), 5, 128, 2)
    every = torch.cat(list(sampler.batches(0, 6)))
    assert float((sampler.draw([5, 0, 3]) - every[[5, 0, 3]]).abs().max()) <= 1e-5
