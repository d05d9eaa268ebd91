"""How many operations of PyTorch it takes to draw samples: each is a launch on a GPU, which waits for the host."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from divseg.denoise.networks.flat import FlatConfig
from divseg.denoise.networks.hierarchical import HierarchicalConfig
from divseg.denoise.networks.registry import build_network
from divseg.denoise.sampling.normals_torch import torch_normals
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import GPU_TILE, encode


class Count(TorchDispatchMode):
    """Counts operations, and those that wait for the device."""

    def __init__(self):
        super().__init__()
        self.total = self.waits = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.total += 1
        self.waits += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def encoded(config):
    network = build_network(config).eval()
    image = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    with Count() as count:
        posterior = encode(network, image, 1, GPU_TILE[2])
    return network, posterior, count


@pytest.mark.parametrize(("config", "limit"), [(FlatConfig(), 250), (HierarchicalConfig(), 600)])
def test_eight_samples(config, limit):
    """As a GPU draws them without Triton: one tile, one batch, the noise in plain torch."""
    network, posterior, encoding = encoded(config)
    with Count() as count:
        batches = list(Sampler(network, posterior, 0, GPU_TILE[2], 8, generator=torch_normals).batches(0, 8))
    assert [batch.shape for batch in batches] == [(8, 1, 512, 512)]
    assert encoding.total + count.total <= limit
    assert encoding.waits + count.waits == 0


@pytest.mark.parametrize("config", [FlatConfig(), HierarchicalConfig()])
def test_a_larger_batch_takes_as_many(config):
    network, posterior, _ = encoded(config)
    counts = []
    for size in (8, 64):
        with FakeTensorMode(allow_non_fake_inputs=True), Count() as count:  # shapes without numbers
            drawn = Sampler(network, posterior, 0, GPU_TILE[2], size, generator=torch_normals).draw(range(size))
        assert drawn.shape == (size, 1, 512, 512)
        counts.append(count.total)
    assert counts[0] > 100
    assert counts[1] <= 1.1 * counts[0]
