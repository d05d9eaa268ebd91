import pytest
import torch
from torch import nn

from divseg.denoise.networks import upsampling
from divseg.denoise.networks.upsampling import Upsampling2d, Upsampling3d, conv_transpose_by_product


@pytest.mark.parametrize(("layer", "sides"), [(Upsampling2d, (5, 7)), (Upsampling3d, (2, 3, 5))])
@pytest.mark.parametrize("last", [True, False])
def test_product_is_the_transposed_convolution(layer, sides, last):
    torch.manual_seed(0)
    up = layer(6, 4).double()
    x = torch.randn(3, 6, *sides, dtype=torch.float64)
    if last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    plain = nn.functional.conv_transpose2d if len(sides) == 2 else nn.functional.conv_transpose3d
    ways = [conv_transpose_by_product(x, up.weight, up.bias), plain(x, up.weight, up.bias, stride=2)]
    torch.testing.assert_close(*ways)
    pull = torch.randn_like(ways[0])
    torch.testing.assert_close(*(torch.autograd.grad((way * pull).sum(), (up.weight, up.bias)) for way in ways))


def test_result_has_its_channels_last():
    up = Upsampling2d(6, 4)
    y = conv_transpose_by_product(torch.randn(2, 6, 8, 8), up.weight, up.bias)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_the_layer_takes_the_product_where_it_is_meant_to(monkeypatch):
    up, x = Upsampling2d(6, 4), torch.randn(2, 6, 8, 8)
    with torch.inference_mode():
        before = up(x)
        monkeypatch.setattr(upsampling, "_by_product", lambda x: True)
        after = up(x)
        torch.testing.assert_close(after, before)
        assert after.is_contiguous(memory_format=torch.channels_last)
        assert not before.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_on_a_gpu_exactly_and_in_half_precision():
    up, x = Upsampling2d(6, 4).cuda(), torch.randn(2, 6, 8, 8, device="cuda")
    assert upsampling._by_product(x)
    with torch.autocast("cuda", torch.bfloat16):
        assert not upsampling._by_product(x)
    with torch.inference_mode():
        torch.testing.assert_close(up(x).cpu(), Upsampling2d.forward(up.cpu(), x.cpu()), atol=1e-6, rtol=1e-5)
