import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from divseg.errors import DivsegWarning
from divseg.segment.stardist import network as network_module
from divseg.segment.stardist.config import read_config
from divseg.segment.stardist.network import build_network, with_empty_channel
from divseg.segment.stardist.predict import (
    Candidates,
    limit_candidates,
    max_candidates,
    pad_to,
    predict_candidates,
    resized,
    tiles,
)
from divseg.segment.stardist.weights import find_weights, read_weights


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 8, 16]), st.sampled_from([1, 4, 32]))
def test_padding_is_numpys_reflection(height, width, div_y, div_x):
    x = np.arange(2 * height * width, dtype=np.float32).reshape(1, 2, height, width)
    ends = [(0, -height % div_y), (0, -width % div_x)]
    np.testing.assert_array_equal(
        pad_to(torch.from_numpy(x), (div_y, div_x)), np.pad(x, [(0, 0), (0, 0), *ends], mode="reflect")
    )


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 100), st.integers(0, 40), st.sampled_from([2, 8]))
def test_tiles_cover_each_pixel_once(rows, columns, tile, halo, div):
    shape = (rows * div, columns * div)
    count = np.zeros(shape, int)
    for spans in tiles(shape, tile, (div, div), (halo, halo)):
        count[tuple(slice(s.start, s.stop) for s in spans)] += 1
        for s, length in zip(spans, shape, strict=True):
            assert all(v % div == 0 for v in (s.start, s.stop, s.low, s.high))
            assert s.stop - s.start <= max(tile, div)
            assert s.low == 0 or s.start - s.low >= halo
            assert s.high == length or s.high - s.stop >= halo
    assert (count == 1).all()


@pytest.mark.parametrize("name", ["unet2d", "grid2", "channels2", "unet3d"])
def test_strips_change_nothing(models, monkeypatch, name):
    net = build_network(read_config(models.folder / name), read_weights(find_weights(models.folder / name)))
    shape = [5 * d if net.config.ndim == 3 else 16 * d for d in net.config.divisor]
    x = torch.from_numpy(np.random.default_rng(0).random((2, net.config.n_channels, *shape), np.float32))
    whole = models.dense(net, x)
    calls = []
    in_strips = network_module.in_strips
    monkeypatch.setattr(network_module, "in_strips", lambda *a: (calls.append(a), in_strips(*a))[1])
    for rows, size in itertools.product((8, 13), (1, 2)):
        monkeypatch.setattr(network_module, "STRIP_BYTES", 4 * rows * x[:, 0, 0].numel() * net.config.filters)
        for ours, theirs in zip(models.dense(net, x[:size]), whole, strict=True):
            torch.testing.assert_close(ours, theirs[:size], rtol=0, atol=1e-5)
    assert calls


def test_candidates_keep_off_the_edge_and_the_padding(models):
    net = build_network(read_config(models.folder / "grid2"), read_weights(find_weights(models.folder / "grid2")))
    x = torch.rand(1, 1, 41, 50)
    found = predict_candidates(net, x, 1e-9, 4096)[0]
    # two grid pixels of the padded image (48, 56) are left out; padding gives none
    assert (found.points.min(0) == 4).all()
    assert (found.points.max(0) == [40, 48]).all()
    assert len(found) == 19 * 23


def test_overflow_gives_no_candidates(models):
    net = build_network(read_config(models.folder / "unet2d"), read_weights(find_weights(models.folder / "unet2d")))
    x = torch.rand(1, 1, 32, 32)
    x[0, 0, 10, 10] = 3e38
    found = predict_candidates(net, x, 1e-9, 4096)[0]
    assert 0 < len(found) < 28 * 28
    assert np.isfinite(found.dist).all()


def test_an_empty_channel_changes_nothing():
    x = torch.rand(2, 1, 17, 22, generator=torch.Generator().manual_seed(0)) - 0.5
    weight = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    wide = with_empty_channel(x)
    assert wide.shape == (2, 2, 17, 22)
    found = torch.nn.functional.conv2d(wide, with_empty_channel(weight), padding=1)
    torch.testing.assert_close(found, torch.nn.functional.conv2d(x, weight, padding=1), rtol=0, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)  # and so is what comes after


def test_resizing_keeps_constants_and_means():
    x = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    assert resized(x, 0.25).shape == (2, 1, 16, 12)
    assert resized(x, 0.25).mean().item() == pytest.approx(x.mean().item(), abs=0.01)
    torch.testing.assert_close(resized(torch.full((1, 1, 9, 9), 3.0), 1.7), torch.full((1, 1, 15, 15), 3.0))
    assert resized(x, 0.001).shape[2:] == (1, 1)


def candidates(n, radius, ndim=2):
    prob = np.random.default_rng(0).random(n).astype(np.float32)
    return Candidates(prob, np.full((n, 4), radius, np.float32), np.zeros((n, ndim), np.int64))


def test_dense_nuclei_pass_and_a_white_background_does_not():
    # 70,000 nuclei of radius 6 in 4096x4096, of which each gives 25 candidates
    assert max_candidates(candidates(1000, 8), (4096, 4096)) > 70_000 * 25
    # all pixels of 2048x2048
    assert max_candidates(candidates(1000, 20), (2048, 2048)) < 2048**2
    # fewer and larger volumes cost more
    assert max_candidates(candidates(9, 10, 3), (64, 512, 512)) < max_candidates(candidates(9, 10), (64 * 512, 512))
    assert max_candidates(candidates(0, 1), (5, 5)) == 0


def test_the_best_stay_in_their_order():
    every = candidates(50, 3)
    with pytest.warns(
        DivsegWarning, match=r"this: 50 of 1,024 grid pixels are object candidates, more .*; kept the 7 most"
    ):
        kept = limit_candidates(every, 7, (64, 64), (2, 2), "this")
    best = np.sort(np.argsort(every.prob)[-7:])
    np.testing.assert_array_equal(kept.prob, every.prob[best])
    assert limit_candidates(every, None, (64, 64), (2, 2), "this") is every
