import pytest
import torch

from divseg.denoise.training.schedule import EMA, Budget, ema_weight, kl_weight, learning_rate
from divseg.errors import ConfigError


def test_kl_warm_up():
    assert [kl_weight(p, 0.5) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert kl_weight(0.0, 0.0) == 1.0


def test_learning_rate_rises_and_falls():
    early = learning_rate(1e-3, 0.0, 0, 100)
    peak = learning_rate(1e-3, 0.0, 99, 100)
    late = learning_rate(1e-3, 1.0, 5000, 100)
    assert early < peak == pytest.approx(1e-3)
    assert late == pytest.approx(1e-5)


def test_first_budget_to_run_out_counts():
    budget = Budget(steps=10, minutes=1000.0)
    budget.start()
    assert budget.progress(5) == pytest.approx(0.5)
    assert budget.progress(10) == 1.0
    assert Budget(minutes=1e-9).progress(0) == 1.0
    assert Budget().minutes == 10.0
    assert Budget(steps=10).minutes is None


@pytest.mark.parametrize("bad", [{"steps": 0}, {"minutes": 0.0}, {"minutes": float("nan")}])
def test_impossible_budgets(bad):
    with pytest.raises(ConfigError):
        Budget(**bad)


def test_the_moving_average_is_lent_to_the_parameters_and_given_back():
    plain, deep = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 3, 4, 5))
    deep.data = deep.data.contiguous(memory_format=torch.channels_last)
    ema = EMA([plain, deep])
    own = torch.arange(120.0).view(2, 3, 4, 5)
    with torch.no_grad():
        plain.fill_(3.0)
        deep.copy_(own)
    ema.update(torch.tensor(0.5))
    for _ in range(2):
        with ema:
            assert plain.tolist() == [2.0] * 3
            assert torch.equal(deep, (own + 1) / 2)
        assert plain.tolist() == [3.0] * 3
        assert torch.equal(deep, own)
    ema.update(torch.tensor(0.0))
    ema.apply()
    assert torch.equal(deep, (own + 1) / 2)


def test_the_moving_average_forgets_the_start():
    assert ema_weight(0.998, 1) == pytest.approx(10 / 11)
    assert ema_weight(0.998, 10**6) == pytest.approx(0.002)
