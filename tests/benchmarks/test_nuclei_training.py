"""Training of `stardist:nuclei` with PyTorch: its distances, its patches, its loss, and the model that it writes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from stardist.geometry import star_dist

import divseg
from benchmarks.nuclei_model.distances import star_distances, walk
from benchmarks.nuclei_model.images import Versions
from benchmarks.nuclei_model.synthetic import draw
from benchmarks.nuclei_model.train_on import SIDE, Patches, loss, save
from divseg.segment.stardist.config import read_config
from divseg.segment.stardist.network import build_network
from divseg.segment.stardist.weights import find_weights, read_weights

NUCLEI = Path(divseg.__file__).parent / "segment" / "stardist" / "nuclei"


@pytest.fixture
def network():
    return build_network(read_config(NUCLEI), read_weights(find_weights(NUCLEI))).train().requires_grad_(True)


@pytest.fixture(scope="module")
def batch():
    image, labels = draw(300, np.random.default_rng(1))
    patches = Patches(Versions([image], [[np.stack([image, image])]]), [labels], batch=2, seed=0)
    return next(iter(patches))


def test_distances_are_stardists_own():
    labels = np.stack([draw(96, np.random.default_rng(k))[1] for k in range(3)])
    own = np.stack([star_dist(image, 16, mode="cpp", grid=(2, 2)) for image in labels])
    assert own.max() > 5
    stack = torch.from_numpy(labels)
    np.testing.assert_allclose(walk(stack, 16, 2).numpy(), own, atol=1e-3)
    np.testing.assert_array_equal(star_distances(stack, 16, 2).numpy(), own)


def test_patches_are_what_the_network_sees(batch):
    image, probability, labels = batch
    assert (image.shape, probability.shape, labels.shape) == ((2, SIDE, SIDE), (2, SIDE // 2, SIDE // 2), image.shape)
    assert torch.equal(probability > 0, labels[:, ::2, ::2] > 0)
    assert (float(probability.min()), float(probability.max())) == (0.0, 1.0)


def test_steps_along_the_gradient_lower_the_loss(network, batch):
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    values = []
    for _ in range(3):
        total = sum(loss(network, *batch))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert values[2] < values[1] < values[0]


def test_the_model_that_is_written_has_the_averaged_weights(network, tmp_path):
    average = [p.detach() * 0.5 for p in network.parameters()]
    save(network, average, NUCLEI, tmp_path / "nuclei")
    read = build_network(read_config(tmp_path / "nuclei"), read_weights(find_weights(tmp_path / "nuclei")))
    for mine, theirs in zip(average, read.parameters(), strict=True):
        torch.testing.assert_close(theirs, mine)
    assert divseg.segmenter(f"stardist:{tmp_path / 'nuclei'}").name != "stardist:nuclei"
