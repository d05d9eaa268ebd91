import pytest
import torch

from divseg.denoise.sampling.estimates import RunningMoments
from divseg.denoise.sampling.stopping import StoppingRule, standard_error
from divseg.errors import ConfigError


def moments(n, std):
    running = RunningMoments()
    running.add(std * torch.randn(n, 50, 50, generator=torch.Generator().manual_seed(0)))
    return running


def ten(s):
    return torch.full_like(s, 100.0)


def test_standard_error_relative_to_the_noise():
    assert standard_error(moments(25, 5.0), ten) == pytest.approx(5 / 25**0.5 / 10, rel=0.02)


def test_decides_at_fixed_numbers():
    rule = StoppingRule(min_samples=10, max_samples=30, every=8)
    assert [rule.next_check(n) for n in (0, 10, 16, 24)] == [10, 16, 24, 30]


def test_reached_by_tolerance_or_by_number():
    assert StoppingRule(tolerance=0.11).reached(moments(25, 5.0), ten)
    assert not StoppingRule(tolerance=0.09).reached(moments(25, 5.0), ten)
    assert StoppingRule(tolerance=1e-9, max_samples=25).reached(moments(25, 5.0), ten)


@pytest.mark.parametrize(
    "bad", [{"tolerance": 0.0}, {"min_samples": 1}, {"min_samples": 9, "max_samples": 8}, {"every": 0}]
)
def test_impossible_rules(bad):
    with pytest.raises(ConfigError):
        StoppingRule(**bad)
