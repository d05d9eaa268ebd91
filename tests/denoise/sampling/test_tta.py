import numpy as np
import pytest
import torch

from divseg.denoise.networks.flat import DivNoisingNet, NetworkConfig
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import encode
from divseg.denoise.sampling.tta import VIEWS, AugmentedSampler, undo_view, view_of


@pytest.mark.parametrize("view", range(VIEWS))
@pytest.mark.parametrize("shape", [(5, 7), (2, 4, 6)])
def test_turned_back(view, shape):
    image = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(undo_view(torch.from_numpy(view_of(image, view)), view).numpy(), image)


def test_eight_different_views():
    image = np.arange(9).reshape(3, 3)
    assert len({view_of(image, v).tobytes() for v in range(VIEWS)}) == 8


def make(held=None, batch=2):
    torch.manual_seed(0)
    network = DivNoisingNet(NetworkConfig(filters=8, latents=8)).eval()
    noisy = np.random.default_rng(0).standard_normal((37, 51)).astype(np.float32)
    made = []

    def of_view(view):
        made.append(view)
        return Sampler(network, encode(network, view_of(noisy, view), 7, 256), 0, 256, batch)

    return AugmentedSampler(of_view), of_view, made


def test_sample_k_is_of_view_k_mod_8_whatever_the_batch():
    sampler, of_view, made = make()
    drawn = torch.cat(list(sampler.batches(0, 11)))
    assert drawn.shape == (11, 1, 37, 51)
    assert sorted(made) == list(range(8))  # each view encoded once
    for k in (0, 3, 10):
        alone = undo_view(of_view(k % 8).draw([k]), k % 8)[0]
        torch.testing.assert_close(drawn[k], alone, rtol=1e-5, atol=1e-5)
    other = torch.cat(list(make(batch=5)[0].batches(0, 11)))
    torch.testing.assert_close(drawn, other, rtol=1e-5, atol=1e-5)


def test_large_images_hold_one_view_at_a_time(monkeypatch):
    expected = make()[0].draw(range(9))
    monkeypatch.setattr("divseg.denoise.sampling.tta.HELD_BYTES", 1)
    sampler, _, made = make()
    torch.testing.assert_close(sampler.draw(range(9)), expected)
    assert len(sampler._held) == 1
    assert sorted(made) == list(range(8))
