import numpy as np
import pytest
import torch

from divseg.denoise.noise import Histogram, NoiseModel
from divseg.errors import ConfigError, ModelError

LOW, HIGH, BINS = 0.0, 200.0, 50


def pairs(n=400_000, seed=0):
    rng = np.random.default_rng(seed)
    s = rng.uniform(30, 170, n)
    return s, s + rng.normal(0, 0.05 * s + 4)


def table(bins=BINS):
    return np.histogram2d(*pairs(), bins=bins, range=[(LOW, HIGH)] * 2)[0]


def published(counts, x, s):
    """The likelihood of PN2V's histNoiseModel: a mass, interpolated from the lower edges of the bins."""
    mass = counts + 1e-30
    mass = mass / mass.sum(1, keepdims=True)
    column = np.floor(np.clip(BINS * (x - LOW) / (HIGH - LOW), 0, BINS - 1 - 1e-3)).astype(int)
    place = np.clip(BINS * (s - LOW) / (HIGH - LOW), 0, BINS - 1 - 1e-3)
    row = np.floor(place).astype(int)
    share = place - row
    return mass[row, column] * (1 - share) + mass[np.minimum(row + 1, BINS - 1), column] * share


def test_likelihood_is_the_published_one():
    """As a density, and half a bin further: rows stand at the centres of their bins."""
    counts = table()
    width = (HIGH - LOW) / BINS
    model = Histogram(counts, low=LOW, high=HIGH, outliers=0.0)
    rng = np.random.default_rng(1)
    s = rng.uniform(45, 150, 2000).astype(np.float32)
    x = (s + rng.normal(0, 8, 2000)).astype(np.float32)
    expected = published(counts, x.astype(float), s.astype(float) - width / 2) / width
    found = model.log_prob(torch.from_numpy(x), torch.from_numpy(s)).exp().numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-7)


def test_moments_of_density_and_samples():
    model = Histogram(table(200), low=LOW, high=HIGH)
    for s in (60.0, 100.0, 140.0):
        sd = 0.05 * s + 4
        assert float(model.variance(torch.tensor(s)).sqrt()) == pytest.approx(sd, rel=0.05)
        x = torch.linspace(LOW + 0.01, HIGH - 0.01, 20_001)
        p = model.log_prob(x, torch.full_like(x, s)).double().exp()
        assert float(torch.trapezoid(p, x.double())) == pytest.approx(1.0, abs=0.01)
        drawn = model.sample(torch.full((100_000,), s), torch.Generator().manual_seed(0))
        assert float(drawn.mean()) == pytest.approx(s, abs=0.4)
        assert float(drawn.std()) == pytest.approx(sd, rel=0.05)


@pytest.mark.parametrize(("x", "s"), [(103.3, 97.1), (60.0, 59.3), (150.1, 60.2), (500.0, 100.0), (100.0, 250.0)])
def test_gradient_is_exact_and_never_lost(x, s):
    model = Histogram(table(), low=LOW, high=HIGH)
    at = torch.tensor([s], requires_grad=True)
    model.log_prob(torch.tensor([x]), at).sum().backward()
    step = 0.05
    up, down = (float(model.log_prob(torch.tensor([x]), torch.tensor([s + d]))) for d in (step, -step))
    assert float(at.grad) == pytest.approx((up - down) / (2 * step), rel=0.02, abs=1e-3)
    if abs(x - s) > 60 and x < HIGH:
        assert float(at.grad) * (x - s) > 0


def test_rows_without_counts_take_the_nearest():
    counts = np.zeros((40, 40))
    counts[20, 18:23] = [1, 4, 6, 4, 1]
    model = Histogram(counts, low=0, high=40)
    assert float(model.table[30, 30]) == pytest.approx(6 / 16)
    assert float(model.table[0].sum()) == pytest.approx(1.0)


def test_round_trip_keeps_every_bit():
    model = Histogram(table(), low=LOW, high=HIGH).with_limits(0, None)
    again = NoiseModel.from_dict(model.to_dict())
    assert torch.equal(again.table, model.table)
    assert again.to_dict() == model.to_dict()
    assert again.floor == 0


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.zeros((5, 5)), "empty"),
        (np.ones((5, 4)), "square"),
        (-np.ones((5, 5)), "negative"),
        (np.full((5, 5), np.nan), "not finite"),
    ],
)
def test_impossible_tables(counts, message):
    with pytest.raises(ConfigError, match=message):
        Histogram(counts, low=0, high=1)


def test_damaged_description():
    data = Histogram(table(), low=LOW, high=HIGH).to_dict()
    for change in ({"table": "no!"}, {"bins": 7}, {"table": data["table"][:40]}):
        with pytest.raises(ModelError):
            NoiseModel.from_dict(data | change)
