import pytest
import torch

from divseg.denoise.sampling.estimates import RunningMoments
from divseg.denoise.sampling.stopping import Until, standard_error
from divseg.errors import ConfigError


def moments(n, sd):
    running = RunningMoments()
    running.add(sd * torch.randn(n, 50, 50, generator=torch.Generator().manual_seed(0)))
    return running


def ten(s):
    return torch.full_like(s, 100.0)


def test_standard_error_relative_to_the_noise():
    assert standard_error(moments(25, 5.0), ten) == pytest.approx(5 / 25**0.5 / 10, rel=0.02)


def test_decides_at_fixed_numbers():
    until = Until(least=10, most=30, every=8)
    assert [until.next_check(n) for n in (0, 10, 16, 24)] == [10, 16, 24, 30]


def test_reached_by_tolerance_by_number_and_with_a_second_opinion():
    assert Until(tolerance=0.11).reached(moments(25, 5.0), ten)
    assert not Until(tolerance=0.09).reached(moments(25, 5.0), ten)
    assert Until(tolerance=1e-9, most=25).reached(moments(25, 5.0), ten)
    asked = []
    stubborn = Until(tolerance=0.5, also=lambda n: asked.append(n) or 1.0)
    assert not stubborn.reached(moments(25, 5.0), ten)
    assert asked == [25]


@pytest.mark.parametrize("bad", [{"tolerance": 0.0}, {"least": 1}, {"least": 9, "most": 8}, {"every": 0}])
def test_impossible_rules(bad):
    with pytest.raises(ConfigError):
        Until(**bad)
