"""Philox, a counter-based random number generator: NumPy's on a CPU, the same numbers on any torch device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10


def philox_words(key: NDArray[np.uint64], position: Sequence[int], count: int, device: torch.device) -> Tensor:
    """Return random 64-bit words that belong to a position.

    Philox4x64-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3.

    Parameters
    ----------
    key : array of 2 uint64
        Key of the generator.
    position : sequence of up to 3 int, >= 0
        Upper words of the counter; the lowest counts the words.
    count : int
        Words wanted.
    device : torch.device
        On a CPU NumPy's generator is used, elsewhere the same arithmetic is done there.

    Returns
    -------
    Tensor, shape (count,), int64
        The bits of the unsigned words.
    """
    if device.type == "cpu":
        counter = np.zeros(4, np.uint64)
        counter[1 : 1 + len(position)] = position
        words = np.random.Philox(key=key, counter=counter).random_raw(count)
        return torch.from_numpy(words.view(np.int64))
    return philox_on_device(key, position, count, device)


def philox_on_device(key: NDArray[np.uint64], position: Sequence[int], count: int, device: torch.device) -> Tensor:
    """Return what :func:`philox_words` returns, computed with torch's integers on the device."""
    counter = torch.arange(1, -(-count // 4) + 1, device=device)  # NumPy counts up before it draws
    upper = [torch.full_like(counter, int(p)) for p in position] + [torch.zeros_like(counter)] * (3 - len(position))
    words = [counter, *upper]
    k0, k1 = (int(k) for k in key)
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(words[0], _MULTIPLIERS[0])
        high1, low1 = _multiply(words[2], _MULTIPLIERS[1])
        words = [high1 ^ words[1] ^ _signed(k0), low1, high0 ^ words[3] ^ _signed(k1), low0]
        k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
    return torch.stack(words, dim=1).reshape(-1)[:count]


def _signed(value: int) -> int:
    """Return the signed 64-bit number with the same bits."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def _multiply(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Upper and lower 64 bits of an unsigned product, by halves of 32 bits."""
    f0, f1 = factor & _LOW, factor >> 32
    x0, x1 = x & _LOW, (x >> 32) & _LOW
    middle = x0 * f1 + (((x0 * f0) >> 32) & _LOW)
    other = x1 * f0 + (middle & _LOW)
    return x1 * f1 + ((middle >> 32) & _LOW) + ((other >> 32) & _LOW), x * _signed(factor)
