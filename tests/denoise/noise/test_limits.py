import numpy as np
import pytest
import torch
from scipy import stats

from divseg.denoise.noise import Gaussian, GaussianMixture, Histogram, PoissonGaussian
from divseg.denoise.noise.limits import LimitFinder
from divseg.errors import ConfigError


def found(*images):
    finder = LimitFinder()
    for image in images:
        finder.add(image)
    return finder.find()


def test_pixels_pile_up_at_the_limits():
    rng = np.random.default_rng(0)
    noisy = rng.normal(120, 60, (200, 200))
    assert found(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)) == (0.0, 255.0)
    assert found(np.clip(noisy, 0, None)) == (0.0, None)
    assert found(np.clip(noisy, None, 250.5).astype(np.float32)) == (None, 250.5)


def test_a_few_pixels_may_lie_beyond_the_limit():
    """Electronic noise after the limit leaves some at the next value."""
    rng = np.random.default_rng(4)
    noisy = np.clip(np.rint(rng.normal(60, 50, (200, 200))), 3, 120)
    noisy[noisy == 3] -= rng.random((noisy == 3).sum()) < 0.01
    noisy[noisy == 120] += rng.random((noisy == 120).sum()) < 0.04
    assert {2, 121} <= set(noisy.ravel())
    assert found(noisy) == (3.0, 120.0)


@pytest.mark.parametrize("light", [0.05, 0.2, 1.0, 3.0, 30.0])
def test_counts_of_photons_are_not_a_limit(light):
    assert found(np.random.default_rng(1).poisson(light, (300, 300))) == (None, None)


def test_ordinary_images_have_none():
    rng = np.random.default_rng(2)
    assert found(rng.normal(0, 1, (100, 100))) == (None, None)
    assert found(np.rint(rng.normal(900, 30, (100, 100))).astype(np.uint16)) == (None, None)
    assert found(np.full((50, 50), 7)) == (None, None)
    assert found() == (None, None)


def test_one_image_of_many_is_enough():
    rng = np.random.default_rng(3)
    dim, bright = (np.clip(np.rint(rng.normal(m, 20, (100, 100))), 0, 4095) for m in (500, 4090))
    assert found(dim, bright, dim)[1] == 4095


def models():
    s = np.linspace(0, 200, 60_000)
    x = s + np.random.default_rng(0).normal(0, 10, s.size)
    return [
        Gaussian(10.0),
        PoissonGaussian(0.0, 100.0, low=0.0, high=200.0),
        GaussianMixture([[0.0, 0.0], [np.log(100), -30.0], [0.0, 0.0]], min_signal=0, max_signal=200, min_sigma=1),
        Histogram(np.histogram2d(s, x, bins=100, range=[(-50, 250)] * 2)[0], low=-50, high=250),
    ]


@pytest.mark.parametrize("model", models(), ids=lambda m: m.kind)
def test_pixels_at_a_limit_count_with_the_tail(model):
    model.with_limits(100.0, 150.0)
    s = torch.tensor([95.0, 120.0, 145.0, 160.0])
    at = model.log_prob(torch.full((4,), 150.0), s).exp().numpy()
    near = 0.1 if model.kind == "histogram" else 1e-4  # a bin as a whole is at the limit or not
    np.testing.assert_allclose(at, stats.norm.sf(150, s.numpy(), 10), atol=near)
    below = model.log_prob(torch.full((4,), 100.0), s).exp().numpy()
    np.testing.assert_allclose(below, stats.norm.cdf(100, s.numpy(), 10), atol=near)
    inside = model.log_prob(torch.full((4,), 130.0), s)
    assert torch.equal(inside, model.with_limits(None, None).log_prob(torch.full((4,), 130.0), s))


@pytest.mark.parametrize("model", models()[:3], ids=lambda m: m.kind)
def test_a_clipped_image_keeps_its_signal(model):
    """Maximum likelihood on clipped pixels finds the signal above the ceiling; without limits it cannot."""
    noisy = torch.from_numpy(np.random.default_rng(4).normal(155, 10, 20_000)).float().clamp(max=150.0)
    grid = torch.linspace(130, 180, 201)

    def best():
        return float(grid[torch.stack([model.log_prob(noisy, g.expand_as(noisy)).mean() for g in grid]).argmax()])

    assert best() < 149
    model.with_limits(None, 150.0)
    assert best() == pytest.approx(155, abs=0.5)
    drawn = model.sample(torch.full((5000,), 155.0), torch.Generator().manual_seed(0))
    assert float(drawn.max()) == 150.0


def test_limits_survive_normalisation():
    """Pixels at the ceiling are known as such after a detour through normalised float32."""
    model = Gaussian(900.0).with_limits(0.0, 65535.0)
    mean, sd = np.float32(31234.567), np.float32(8123.4567)
    x = torch.tensor([(65535 - mean) / sd]).float() * float(sd) + float(mean)
    assert float(model.log_prob(x, torch.tensor([65535.0]))) == pytest.approx(np.log(0.5), abs=1e-4)


def test_impossible_limits():
    with pytest.raises(ConfigError, match="below ceiling"):
        Gaussian(1.0).with_limits(5.0, 5.0)
    with pytest.raises(ConfigError, match="finite"):
        Gaussian(1.0).with_limits(None, float("nan"))
