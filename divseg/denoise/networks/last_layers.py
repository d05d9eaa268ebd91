"""The last two layers of a decoder as one: a transposed convolution and the convolution after it, with nothing between.

Both are linear, so together they are a convolution of the coarse features, with as many output channels as a coarse
position has pixels, whose results are laid out as pixels. The feature map at full resolution, the largest of the
network, is never made.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from divseg.denoise.networks.base import LAYOUT

Transposed = nn.ConvTranspose2d | nn.ConvTranspose3d
Convolution = nn.Conv2d | nn.Conv3d


def upsampled_convolution(x: Tensor, up: Transposed, last: Convolution) -> Tensor:
    """Return ``last(up(x))``, up to rounding, in float32 under autocast too.

    Parameters
    ----------
    x : Tensor, shape (B, C, *sides)
        Coarse features.
    up : ConvTranspose2d or ConvTranspose3d
        With kernel and stride 2.
    last : Conv2d or Conv3d
        With kernel 3, padded by 1.

    Returns
    -------
    Tensor, shape (B, channels, *(2 * sides)), float32
    """
    dims, sides = x.ndim - 2, x.shape[2:]
    convolve = nn.functional.conv2d if dims == 2 else nn.functional.conv3d
    with torch.autocast(x.device.type, enabled=False):
        fine = convolve(x.to(last.weight.dtype), _kernel(up, last), padding=1)
        # from (B, channels, 2, 2, Y, X) to (B, channels, Y, 2, X, 2), which are the pixels
        fine = fine.reshape(len(x), last.out_channels, *(2,) * dims, *sides)
        fine = fine.permute(0, 1, *(axis for i in range(dims) for axis in (2 + dims + i, 2 + i)))
        fine = fine.reshape(len(x), last.out_channels, *(2 * side for side in sides))
        # the first layer's bias belongs to its pixels; around them the second pads with zeros
        bias = (last.weight * up.get_parameter("bias").reshape(-1, *(1,) * dims)).sum(1, keepdim=True)
        inside = torch.ones((1, 1, *fine.shape[2:]), dtype=fine.dtype, device=fine.device)
        return fine + convolve(inside, bias, last.bias, padding=1)


def _kernel(up: Transposed, last: Convolution) -> Tensor:
    """Return the kernel of both layers, (channels * 2**dims, C, 3, ...): their answer to an impulse, pixel by pixel."""
    dims, c = up.weight.ndim - 2, up.in_channels
    raise_resolution, convolve = (
        (nn.functional.conv_transpose2d, nn.functional.conv2d)
        if dims == 2
        else (nn.functional.conv_transpose3d, nn.functional.conv3d)
    )
    middle = torch.eye(c, device=up.weight.device, dtype=up.weight.dtype).reshape(c, c, *(1,) * dims)
    impulses = nn.functional.pad(middle, (1,) * (2 * dims))
    answer = convolve(raise_resolution(impulses, up.weight, stride=2), last.weight, padding=1)
    # (C, channels, 3, 2, 3, 2): a pixel one position behind the impulse sees it one position ahead
    answer = answer.reshape(c, last.out_channels, *(3, 2) * dims).flip(tuple(range(2, 2 + 2 * dims, 2)))
    pixels, offsets = range(3, 3 + 2 * dims, 2), range(2, 2 + 2 * dims, 2)
    kernel = answer.permute(1, *pixels, 0, *offsets).reshape(-1, c, *(3,) * dims)
    return kernel.contiguous(memory_format=LAYOUT[dims])
