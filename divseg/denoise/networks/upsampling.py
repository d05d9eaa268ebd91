"""Transposed convolutions that double each side, by a matrix product where cuDNN has none that is exact and fast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv_transpose_by_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the transposed convolution of kernel and stride 2: each position becomes a block of pixels of its own.

    No two blocks overlap, so that all of them are one product of matrices, laid out as pixels.

    Parameters
    ----------
    x : Tensor, shape (B, C, *sides)
    weight : Tensor, shape (C, channels, 2, 2) or (C, channels, 2, 2, 2)
    bias : Tensor, shape (channels,)

    Returns
    -------
    Tensor, shape (B, channels, *(2 * sides))
        With the channels last in memory.
    """
    dims, channels, sides = x.ndim - 2, weight.shape[1], x.shape[2:]
    block = 2**dims
    matrix = weight.movedim(1, -1).reshape(weight.shape[0], block * channels).t()
    fine = nn.functional.linear(x.movedim(1, -1), matrix, bias.repeat(block))
    # from (B, Y, X, 2, 2, channels) to (B, Y, 2, X, 2, channels), which are the pixels
    fine = fine.reshape(len(x), *sides, *(2,) * dims, channels)
    fine = fine.permute(0, *(axis for i in range(1, 1 + dims) for axis in (i, i + dims)), 1 + 2 * dims)
    return fine.reshape(len(x), *(2 * side for side in sides), channels).movedim(-1, 1)


def _by_product(x: Tensor) -> bool:
    """Tell whether cuDNN would take its deterministic float32 algorithm, which takes most of a sample's time."""
    return x.device.type == "cuda" and not torch.is_autocast_enabled()


class _Upsampling(nn.Module):
    """What the transposed convolutions of two and three axes share: kernel and stride 2, and how they are computed."""

    weight: Tensor

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(channels_in, channels, 2, stride=2)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return images or volumes of twice the sides."""
        if _by_product(x):
            return conv_transpose_by_product(x, self.weight, self.get_parameter("bias"))
        out: Tensor = super().forward(x, output_size)
        return out


class Upsampling2d(_Upsampling, nn.ConvTranspose2d):
    """Transposed convolution of images with kernel and stride 2."""


class Upsampling3d(_Upsampling, nn.ConvTranspose3d):
    """Transposed convolution of volumes with kernel and stride 2."""
