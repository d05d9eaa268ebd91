"""Latent noise on a CUDA GPU: from counter to normal number in registers, a launch for each latent grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from divseg.denoise.sampling import box_muller, philox
from divseg.denoise.sampling.philox import GROUP, Window

BLOCK = 256
"""Counters of a program."""

_M0, _M1 = (tl.constexpr(m) for m in philox.MULTIPLIERS)
_W0, _W1 = (tl.constexpr(w) for w in philox.WEYL)
_ROUNDS = tl.constexpr(philox.ROUNDS)
_GROUP_SHIFT = tl.constexpr(philox.GROUP_SHIFT)
_L0, _L1, _L2, _L3 = (tl.constexpr(c) for c in box_muller.LOG)
_S0, _S1, _S2, _S3, _S4 = (tl.constexpr(c) for c in box_muller.SIN)
_C0, _C1, _C2, _C3, _C4 = (tl.constexpr(c) for c in box_muller.COS)
_LOG_OF_2, _SQRT_HALF = tl.constexpr(box_muller.LOG_OF_2), tl.constexpr(box_muller.SQRT_HALF)


def triton_normals(
    key: tuple[int, int], samples: Sequence[int], windows: Sequence[Window], device: torch.device
) -> list[Tensor]:
    """Draw the noise of some samples in a window of each latent grid; see :class:`LatentNoise`.

    Returns
    -------
    list of Tensor, each (len(samples), *sides, channels), float32
        Views; not contiguous if the number of channels is not a multiple of four.
    """
    numbers = torch.tensor([_signed(k) for k in samples], dtype=torch.int32, device=device)
    return [_window(key, numbers, window, device) for window in windows]


def _window(key: tuple[int, int], numbers: Tensor, window: Window, device: torch.device) -> Tensor:
    (z, _), (y, y1), (x, x1) = window.box
    out = torch.empty((len(numbers), *window.sides, GROUP * window.groups), device=device)
    # without fused multiply-add, which rounds once where other devices round twice
    _normals[(triton.cdiv(window.counters, BLOCK), len(numbers))](
        out,
        numbers,
        _signed(key[0]),
        _signed(key[1]),
        _signed(x),
        _signed(y),
        _signed(z | window.level << philox.LEVEL_SHIFT),
        x1 - x,
        y1 - y,
        window.groups,
        window.counters,
        BLOCK=BLOCK,
        enable_fp_fusion=False,
    )
    return out[..., : window.channels]


def _signed(word: int) -> int:
    """Return the signed 32-bit number with the same bits: one type for the kernel, whatever the word."""
    return word - 2**32 if word >= 2**31 else word


_ADDRESS = ["key0", "key1", "x0", "y0", "third"]


@triton.jit(do_not_specialize=_ADDRESS)
def _normals(  # type: ignore[no-untyped-def]  # Triton takes no annotation but its own
    out,
    numbers,
    key0,
    key1,
    x0,
    y0,
    third,
    width,
    height,
    groups,
    counters,
    BLOCK: tl.constexpr,
):  # pragma: no cover - compiled
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sample = tl.program_id(1)
    group, position = at % groups, at // groups
    c0 = (x0 + position % width).to(tl.uint32, bitcast=True)
    c1 = (y0 + position // width % height).to(tl.uint32, bitcast=True)
    c2 = (third + position // width // height + (group << _GROUP_SHIFT)).to(tl.uint32, bitcast=True)
    c3 = (tl.load(numbers + sample) + tl.zeros_like(at)).to(tl.uint32, bitcast=True)
    k0 = (key0 + tl.zeros_like(at)).to(tl.uint32, bitcast=True)
    k1 = (key1 + tl.zeros_like(at)).to(tl.uint32, bitcast=True)
    m0, m1 = tl.full([BLOCK], _M0, tl.uint32), tl.full([BLOCK], _M1, tl.uint32)
    w0, w1 = tl.full([BLOCK], _W0, tl.uint32), tl.full([BLOCK], _W1, tl.uint32)
    for _ in tl.static_range(_ROUNDS):
        upper0, upper1 = tl.umulhi(m0, c0), tl.umulhi(m1, c2)
        lower0, lower1 = m0 * c0, m1 * c2
        c0, c2 = upper1 ^ c1 ^ k0, upper0 ^ c3 ^ k1
        c1, c3 = lower1, lower0
        k0, k1 = k0 + w0, k1 + w1
    radius, angle = tl.interleave(c0, c2), tl.interleave(c1, c3)
    u = (radius.to(tl.float32) + 0.5) * 2.0**-32
    bits = u.to(tl.int32, bitcast=True) - _SQRT_HALF
    exponent = (bits >> 23).to(tl.float32)
    m = ((bits & 0x7FFFFF) + _SQRT_HALF).to(tl.float32, bitcast=True)
    s = tl.div_rn(m - 1.0, m + 1.0)
    z = s * s
    r = tl.sqrt_rn((((z * _L3 + _L2) * z + _L1) * z + _L0) * s + exponent * _LOG_OF_2)
    x = (angle ^ 0x80000000).to(tl.int32, bitcast=True).to(tl.float32) * 2.0**-31
    z = x * x
    s = ((((z * _S4 + _S3) * z + _S2) * z + _S1) * z + _S0) * x
    c = ((((z * _C4 + _C3) * z + _C2) * z + _C1) * z + _C0) * s * r
    values = tl.interleave((1.0 - s * s) * r, c)
    index = tl.program_id(0) * (4 * BLOCK) + tl.arange(0, 4 * BLOCK)
    tl.store(out + sample.to(tl.int64) * counters * 4 + index, values, mask=index < 4 * counters)
