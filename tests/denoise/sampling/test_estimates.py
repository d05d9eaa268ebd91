import pytest
import torch

from divseg.denoise.sampling.estimates import RunningMoments, moments


def test_streamed_moments_equal_those_of_the_stack():
    stack = 1000 + torch.randn(13, 5, 7, generator=torch.Generator().manual_seed(0))
    running = moments([stack[:1], stack[1:6], stack[6:7], stack[7:]])
    assert running.count == 13
    torch.testing.assert_close(running.mean, stack.mean(0))
    torch.testing.assert_close(running.sd, stack.std(0), rtol=1e-3, atol=1e-4)


def test_one_sample_has_no_spread_and_none_no_mean():
    assert (moments([torch.ones(1, 2, 2)]).sd == 0).all()
    with pytest.raises(ValueError, match="no samples"):
        _ = RunningMoments().mean
