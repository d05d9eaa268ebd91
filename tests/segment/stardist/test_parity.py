"""The same as StarDist under TensorFlow, whose predictions are stored beside the models."""

import numpy as np
import pytest
import torch

import divseg
from divseg.segment.stardist.config import read_config, read_thresholds
from divseg.segment.stardist.network import build_network
from divseg.segment.stardist.objects import suppress
from divseg.segment.stardist.predict import MIN_DISTANCE, predict_candidates
from divseg.segment.stardist.weights import find_weights, read_weights


def network(folder):
    return build_network(read_config(folder), read_weights(find_weights(folder)))


def as_batch(net, image):
    x = torch.from_numpy(image)
    return (x.movedim(-1, 0) if net.config.n_channels > 1 else x[None])[None]


def test_probabilities_and_distances(models, model):
    net, want = network(models.folder / model), models.expected(model)
    prob, dist = models.dense(net, as_batch(net, want["image"]))
    assert prob[0].shape == want["prob"].shape
    np.testing.assert_allclose(prob[0], want["prob"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(dist[0][tuple(want["at"].T)].clamp_min(MIN_DISTANCE), want["dist"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [(), ("tile=64",), ("batch=3",)])
def test_labels_probabilities_and_points(models, model, options):
    want = models.expected(model)
    assert want["labels"].max() > 1
    segment = divseg.segmenter(models.spec(model, "normalize=none", *options))
    labels = segment(want["image"])
    np.testing.assert_array_equal(labels, want["labels"])
    assert len(labels.prob) == len(want["object_prob"])
    np.testing.assert_allclose(labels.prob, want["object_prob"], rtol=0, atol=1e-5)
    (job,) = segment._predict(next(segment._batches(iter([(0, want["image"][None])]))))
    np.testing.assert_array_equal(suppress(job).points, want["points"])
    stack = np.stack([want["image"]] * 3)
    for labels in segment(stack):
        np.testing.assert_array_equal(labels, want["labels"])


def test_tiles_give_the_same_candidates(models, model):
    net, image = network(models.folder / model), models.expected(model)["image"]
    threshold = read_thresholds(models.folder / model).prob
    whole = predict_candidates(net, as_batch(net, image), threshold, 4096)[0]
    tiled = predict_candidates(net, as_batch(net, image), threshold, 8)[0]
    assert len(whole) > 10
    np.testing.assert_array_equal(tiled.points, whole.points)
    np.testing.assert_allclose(tiled.dist, whole.dist, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["unet2d", "grid2", "channels2", "resnet3d"])
def test_the_halo_is_the_reach_of_the_network(models, name):
    """A pixel beyond the halo changes nothing; the farthest pixel that does is not much nearer."""
    net = network(models.folder / name)
    halo = net.config.halo
    for parameter in net.parameters():
        parameter.data.abs_()  # no cancellation, no dead units
    lengths = [-(-(2 * h + 2 * d + 1) // d) * d for h, d in zip(halo, net.config.divisor, strict=True)]
    x = torch.zeros(1, net.config.n_channels, *lengths)
    with torch.inference_mode():
        # distances: probabilities saturate
        base = net(x)[1].sum(-1)[0].double()
        for axis, length in enumerate(lengths):
            nearest = []
            for offset in range(net.config.divisor[axis]):
                at = length // 2 + offset
                moved = x.clone()
                moved[(0, slice(None), *(at if a == axis else n // 2 for a, n in enumerate(lengths)))] = 1e3
                changed = (net(moved)[1].sum(-1)[0].double() - base).abs() > 0
                cells = changed.nonzero()[:, axis] * net.config.grid[axis]
                nearest += [at - int(cells.min()), int(cells.max()) - at]
            assert max(nearest) <= halo[axis]
            assert max(nearest) >= 0.6 * halo[axis]
