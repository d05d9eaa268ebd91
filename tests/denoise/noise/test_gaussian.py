import numpy as np
import pytest
import torch
from scipy import stats

from divseg.denoise.noise import Gaussian, NoiseModel, PoissonGaussian
from divseg.errors import ConfigError, ModelError


def models():
    return [
        Gaussian(12.5),
        PoissonGaussian(2.0, -150.0, low=100.0, high=300.0),
        PoissonGaussian(2.0, 9.0, low=0.0, high=300.0, trainable=True),
    ]


@pytest.mark.parametrize("model", models(), ids=lambda m: m.describe())
def test_log_density_is_that_of_scipy(model):
    s = torch.linspace(100, 300, 21)
    x = s + torch.linspace(-60, 60, 21)
    expected = stats.norm.logpdf(x.numpy(), s.numpy(), np.sqrt(model.variance(s).detach().numpy()))
    np.testing.assert_allclose(model.log_prob(x, s).detach().numpy(), expected, rtol=1e-4)


def test_line_and_floor_of_the_variance():
    model = PoissonGaussian(2.0, -150.0, low=100.0, high=300.0)
    s = torch.tensor([100.0, 200.0, 300.0, 400.0, 0.0])
    torch.testing.assert_close(model.variance(s), torch.tensor([50.0, 250.0, 450.0, 650.0, 5.0]))
    assert model.a == pytest.approx(2.0, rel=1e-5)
    assert model.b == pytest.approx(-150.0, rel=1e-5)


@pytest.mark.parametrize("model", models(), ids=lambda m: m.describe())
def test_samples_have_the_variance(model):
    s = torch.full((200_000,), 180.0)
    x = model.sample(s, torch.Generator().manual_seed(0)).detach()
    assert float(x.mean()) == pytest.approx(180.0, abs=0.3)
    assert float(x.var()) == pytest.approx(float(model.variance(s).detach()[0]), rel=0.02)


@pytest.mark.parametrize("model", models(), ids=lambda m: m.describe())
def test_round_trip(model):
    model = model.with_limits(1.0, None)
    again = NoiseModel.from_dict(model.to_dict())
    s = torch.linspace(90, 310, 50)
    assert torch.equal(again.variance(s), model.variance(s))
    assert again.to_dict() == model.to_dict()


def test_co_learned_variances_get_gradients():
    model = PoissonGaussian(1.0, 1.0, low=0.0, high=100.0, trainable=True)
    model.log_prob(torch.tensor([1.0, 99.0]), torch.tensor([0.0, 90.0])).sum().backward()
    assert (model.log_ends.grad != 0).all()


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_std(std):
    with pytest.raises(ConfigError, match="above 0"):
        Gaussian(std)


def test_impossible_line():
    with pytest.raises(ConfigError, match="variance -100"):
        PoissonGaussian(1.0, -100.0, low=0.0, high=300.0)
    with pytest.raises(ConfigError, match="low < high"):
        PoissonGaussian(1.0, 1.0, low=5.0, high=5.0)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "histogram"},
        {"kind": "gaussian"},
        {"kind": "gaussian", "std": -1},
        {"kind": "gaussian", "std": 1, "floor": 2, "ceiling": 1},
        {"kind": "poisson-gaussian", "a": 1, "b": 1, "low": 0, "high": 1},
    ],
)
def test_damaged_description(data):
    with pytest.raises(ModelError):
        NoiseModel.from_dict(data)
