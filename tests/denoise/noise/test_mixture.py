import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from divseg.denoise.noise import GaussianMixture, NoiseModel
from divseg.errors import ConfigError

LOW, HIGH, FLOOR = 500.0, 7000.0, 50.0


def weights(k=3, c=2, seed=0):
    """Weights in the order of size that fits to real cameras have."""
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 1, (3 * k, c))
    table[:k] *= 60
    table[k : 2 * k] = rng.uniform(6, 9, (k, c))
    return table.astype(np.float32)


def published(weight, low, high, min_sigma, x, s):
    """The likelihood of PN2V's gaussianMixtureNoiseModel, written down from its formula in float64."""
    weight, x, s = (np.asarray(v, dtype=np.float64) for v in (weight, x, s))
    k = len(weight) // 3

    def polynomial(row):
        return sum(w * ((s - low) / (high - low)) ** i for i, w in enumerate(row))

    mu = [polynomial(weight[j]) for j in range(k)]
    sigma = [np.sqrt(np.maximum(polynomial(np.exp(weight[k + j])), min_sigma)) for j in range(k)]
    alpha = [np.exp(polynomial(weight[2 * k + j]) + 1e-10) for j in range(k)]
    total = sum(alpha)
    alpha = [a / total for a in alpha]
    shift = sum(a * m for a, m in zip(alpha, mu, strict=True))
    p = 0.0
    for a, m, sd in zip(alpha, mu, sigma, strict=True):
        m = m - shift + s
        p = p + a * np.exp(-((x - m) ** 2) / (2 * sd * sd)) / np.sqrt(2 * np.pi * sd * sd)
    return p + 1e-10


@pytest.mark.parametrize(("k", "c"), [(1, 2), (3, 2), (3, 3), (2, 4)])
def test_likelihood_is_the_published_one(k, c):
    table = weights(k, c)
    model = GaussianMixture(table, min_signal=LOW, max_signal=HIGH, min_sigma=FLOOR)
    s = np.linspace(LOW, HIGH, 200).astype(np.float32)[:, None]
    sd = model.variance(torch.from_numpy(s)).sqrt().numpy()
    x = (s + sd * np.linspace(-3, 3, 25, dtype=np.float32)).astype(np.float32)
    expected = published(table, LOW, HIGH, FLOOR, x, np.broadcast_to(s, x.shape))
    found = model.log_prob(torch.from_numpy(x), torch.from_numpy(s).expand(x.shape)).double().numpy()
    known = expected > 1e-6  # far above the tolerance that the reference adds
    assert known.mean() > 0.7
    np.testing.assert_allclose(found[known], np.log(expected[known] - 1e-10), atol=3e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6), st.floats(-0.5, 1.5))
def test_mean_is_the_signal_and_the_density_integrates_to_one(k, c, seed, t):
    model = GaussianMixture(weights(k, c, seed), min_signal=LOW, max_signal=HIGH, min_sigma=FLOOR)
    s = LOW + t * (HIGH - LOW)
    sd = float(model.variance(torch.tensor(s)).sqrt())
    x = np.linspace(s - 12 * sd, s + 12 * sd, 6001)
    p = model.log_prob(torch.from_numpy(x), torch.full((6001,), s)).double().exp().numpy()
    assert integrate.simpson(p, x=x) == pytest.approx(1.0, abs=2e-3)
    assert integrate.simpson(p * (x - s), x=x) == pytest.approx(0.0, abs=0.02 * sd)
    assert integrate.simpson(p * (x - s) ** 2, x=x) == pytest.approx(sd**2, rel=0.02)


@pytest.mark.parametrize("s", [100.0, 450.0, 2000.0, 9000.0])
def test_gradient_is_exact_and_leads_back_from_far_away(s):
    model = GaussianMixture(weights(), min_signal=LOW, max_signal=HIGH, min_sigma=FLOOR)
    x = torch.tensor([s - 300.0, s + 40.0, s + 3000.0])
    at = torch.full((3,), s, requires_grad=True)
    model.log_prob(x, at).sum().backward()
    step = 2.0
    up, down = (model.log_prob(x, torch.full((3,), s + d)) for d in (step, -step))
    slope = ((up - down) / (2 * step)).numpy()
    np.testing.assert_allclose(at.grad.numpy(), slope, rtol=0.03, atol=2e-3)
    assert at.grad[0] < 0 < at.grad[2]


def test_samples_have_the_moments():
    model = GaussianMixture(weights(), min_signal=LOW, max_signal=HIGH, min_sigma=FLOOR)
    s = torch.full((300_000,), 3000.0)
    x = model.sample(s, torch.Generator().manual_seed(0))
    var = float(model.variance(s[:1])[0])
    assert float(x.mean()) == pytest.approx(3000.0, abs=4 * (var / len(s)) ** 0.5)
    assert float(x.var()) == pytest.approx(var, rel=0.02)


def test_shapes_device_dtype_and_round_trip():
    model = GaussianMixture(weights(), min_signal=LOW, max_signal=HIGH, min_sigma=FLOOR).with_limits(None, 65535)
    x = torch.rand(2, 1, 5, 6).double() * 5000
    found = model.log_prob(x, x + 10)
    assert found.shape == x.shape
    assert found.dtype == torch.float32
    again = NoiseModel.from_dict(model.to_dict())
    assert torch.equal(again.log_prob(x, x + 10), found)
    assert again.ceiling == 65535
    assert "3 Gaussians" in model.describe()
    assert not list(model.parameters())


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (np.zeros((4, 2)), {}, "shape"),
        (np.full((3, 2), np.nan), {}, "not finite"),
        (np.zeros((3, 2)), {"min_signal": 9.0, "max_signal": 9.0}, "min_signal < max_signal"),
        (np.zeros((3, 2)), {"min_sigma": 0.0}, "above 0"),
    ],
)
def test_impossible_mixtures(table, options, message):
    with pytest.raises(ConfigError, match=message):
        GaussianMixture(table, **{"min_signal": 0.0, "max_signal": 1.0, "min_sigma": 1.0, **options})
