import numpy as np
import torch

from divseg.denoise.sampling.box_muller import normals


def exact(radius, angle):
    u, v = (radius + 0.5) / 2**32, angle / 2**31 - 1
    r = np.sqrt(-2 * np.log(u))
    return np.stack([r * np.cos(np.pi * v), r * np.sin(np.pi * v)], -1)


def test_logarithm_cosine_and_sine():
    edges = np.array([0, 1, 2, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 3 * 2**30, 2**32 - 2, 2**32 - 1])
    rng = np.random.default_rng(0)
    radius = np.concatenate([np.repeat(edges, len(edges)), rng.integers(0, 2**32, 200_000)])
    angle = np.concatenate([np.tile(edges, len(edges)), rng.integers(0, 2**32, 200_000)])
    got = normals(torch.from_numpy(radius), torch.from_numpy(angle))
    assert got.dtype == torch.float32
    # near u = 1 the word is rounded to 24 bits, which moves radii below 0.001 by up to 0.0004
    radius = radius.astype(np.float32).astype(np.float64)
    expected = exact(np.minimum(radius, 2**32 - 0.5), angle)
    assert np.abs(got.numpy() - expected).max() < 4e-6
    inner = np.abs(expected).max(-1) > 0.1
    length = np.hypot(*expected[inner].T)
    assert (np.abs(got.numpy()[inner] - expected[inner]).max(-1) / length).max() < 8e-7


def test_the_farthest_number():
    x = normals(torch.tensor([0]), torch.tensor([0]))
    assert 6.75 < float(x.abs().max()) < 6.77
