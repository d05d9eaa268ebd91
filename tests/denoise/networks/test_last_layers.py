import pytest
import torch
from torch import nn

from divseg.denoise.networks.last_layers import upsampled_convolution


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("sides", [(1, 1, 1), (2, 5, 3), (4, 1, 6)])
@pytest.mark.parametrize(("channels", "between", "out"), [(1, 1, 1), (5, 3, 2), (8, 8, 1)])
def test_one_after_the_other(dims, sides, channels, between, out):
    torch.manual_seed(0)
    up = (nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d)(channels, between, 2, stride=2).double()
    last = (nn.Conv2d if dims == 2 else nn.Conv3d)(between, out, 3, padding=1).double()
    x = torch.randn(2, channels, *sides[:dims], dtype=torch.float64, requires_grad=True)
    expected, got = last(up(x)), upsampled_convolution(x, up, last)
    assert got.shape == (2, out, *(2 * side for side in sides[:dims]))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    parameters = [x, *up.parameters(), *last.parameters()]
    weight = torch.randn_like(expected)
    ways = [torch.autograd.grad((y * weight).sum(), parameters) for y in (got, expected)]
    for a, b in zip(*ways, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def test_float32_under_autocast():
    torch.manual_seed(0)
    up, last = nn.ConvTranspose2d(4, 4, 2, stride=2), nn.Conv2d(4, 1, 3, padding=1)
    x = torch.randn(1, 4, 8, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        got = upsampled_convolution(x, up, last)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, last(up(x.float())), rtol=0, atol=1e-6)
