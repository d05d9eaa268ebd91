import numpy as np
import torch

from divseg.denoise.dihedral import transform, undo
from divseg.denoise.networks.flat import FlatConfig, FlatNet
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import encode
from divseg.denoise.sampling.tta import TTASampler


def make(batch=2):
    torch.manual_seed(0)
    network = FlatNet(FlatConfig(filters=8, latents=8)).eval()
    noisy = np.random.default_rng(0).standard_normal((37, 51)).astype(np.float32)
    made = []

    def make_sampler(version):
        made.append(version)
        return Sampler(network, encode(network, transform(noisy, version), 7, 256), 0, 256, batch)

    return TTASampler(make_sampler), make_sampler, made


def test_sample_k_is_of_version_k_mod_8_whatever_the_batch():
    sampler, make_sampler, made = make()
    drawn = torch.cat(list(sampler.batches(0, 11)))
    assert drawn.shape == (11, 1, 37, 51)
    assert sorted(made) == list(range(8))  # each version encoded once
    for k in (0, 3, 10):
        alone = undo(make_sampler(k % 8).draw([k]), k % 8)[0]
        torch.testing.assert_close(drawn[k], alone, rtol=1e-5, atol=1e-5)
    other = torch.cat(list(make(batch=5)[0].batches(0, 11)))
    torch.testing.assert_close(drawn, other, rtol=1e-5, atol=1e-5)


def test_large_images_hold_one_version_at_a_time(monkeypatch):
    expected = make()[0].draw(range(9))
    monkeypatch.setattr("divseg.denoise.sampling.tta.MAX_BYTES", 1)
    sampler, _, made = make()
    torch.testing.assert_close(sampler.draw(range(9)), expected)
    assert len(sampler._samplers) == 1
    assert sorted(made) == list(range(8))
