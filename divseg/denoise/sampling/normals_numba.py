"""Latent noise on a CPU: compiled loops, in as many threads as torch has."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.sampling.box_muller import COS, LOG, LOG_OF_2, SIN, SQRT_HALF
from divseg.denoise.sampling.philox import GROUP, GROUP_SHIFT, LEVEL_SHIFT, MULTIPLIERS, ROUNDS, WEYL, Window

BLOCK = 1024
"""Counters that are worked on at once; their words stay in the nearest cache."""
THREADED = 2**16
"""Counters from which on a second thread pays."""

_M0, _M1 = (np.uint64(m) for m in MULTIPLIERS)
_W0, _W1 = (np.uint32(w) for w in WEYL)
_UPPER, _SIGN, _SQRT_HALF = np.uint64(32), np.uint32(2**31), np.int32(SQRT_HALF)
_L0, _L1, _L2, _L3 = (np.float32(c) for c in LOG)
_S0, _S1, _S2, _S3, _S4 = (np.float32(c) for c in SIN)
_C0, _C1, _C2, _C3, _C4 = (np.float32(c) for c in COS)
_LOG_OF_2, _HALF, _ONE = np.float32(LOG_OF_2), np.float32(0.5), np.float32(1.0)
_UNIT, _TURN = np.float32(2.0**-32), np.float32(2.0**-31)


def numba_normals(
    key: tuple[int, int], samples: Sequence[int], windows: Sequence[Window], device: torch.device
) -> list[Tensor]:
    """Draw the noise of some samples in a window of each latent grid; see :class:`LatentNoise`.

    Returns
    -------
    list of Tensor, each (len(samples), *sides, channels), float32
    """
    return [_window(key, np.array(samples, np.uint32), window) for window in windows]


def _window(key: tuple[int, int], samples: NDArray[np.uint32], window: Window) -> Tensor:
    (z, _), (y, _), (x0, x1) = window.box
    shape = (len(samples), *(b - a for a, b in window.box))
    out = np.empty((*shape, window.channels), np.float32)
    # words 0 and 2 of the counters of a row
    x = np.repeat(np.arange(x0, x1, dtype=np.uint32), window.groups)
    group = np.arange(window.groups, dtype=np.uint32) << GROUP_SHIFT | window.level << LEVEL_SHIFT
    groups = np.tile(group.astype(np.uint32), x1 - x0)
    rows = shape[0] * shape[1] * shape[2]
    words = (np.uint32(key[0]), np.uint32(key[1]))
    flat = out.reshape(rows, x1 - x0, window.channels)

    def draw(begin: int, end: int) -> None:
        _draw(flat, words, samples, (z, y), shape[1:3], x, groups, begin, end)

    threads = min(torch.get_num_threads(), rows)
    if threads < 2 or rows * len(x) < THREADED:
        draw(0, rows)
    else:
        ends = np.linspace(0, rows, threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(draw, ends[:-1], ends[1:]))
    return torch.from_numpy(out.reshape(len(samples), *window.sides, window.channels))


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(
    out: Any, key: Any, samples: Any, first: Any, sides: Any, x: Any, groups: Any, begin: int, end: int
) -> None:  # pragma: no cover - compiled
    """Fill the rows `begin` to `end` of an array (sample and Z and Y, X, channel)."""
    words = np.empty((4, BLOCK), np.uint32)
    values = np.empty((4, BLOCK), np.float32)
    channels = out.shape[2]
    per_position = -(-channels // GROUP)
    for row in range(begin, end):
        sample = samples[row // (sides[0] * sides[1])]
        z = np.uint32(first[0] + row // sides[1] % sides[0])
        y = np.uint32(first[1] + row % sides[1])
        for at in range(0, len(x), BLOCK):
            count = min(BLOCK, len(x) - at)
            _philox(words, key, x[at : at + count], y, z, groups[at : at + count], sample)
            _normals(words[0], words[1], values[0], values[1], count)
            _normals(words[2], words[3], values[2], values[3], count)
            if channels % GROUP == 0:
                flat = out[row].reshape(-1)
                for i in range(count):
                    for j in range(GROUP):
                        flat[GROUP * (at + i) + j] = values[j, i]
            else:
                for i in range(count):
                    position, group = (at + i) // per_position, (at + i) % per_position
                    for j in range(min(GROUP, channels - GROUP * group)):
                        out[row, position, GROUP * group + j] = values[j, i]


@njit(cache=True, nogil=True, error_model="numpy")
def _philox(
    words: Any, key: Any, x: Any, y: Any, z: Any, groups: Any, sample: Any
) -> None:  # pragma: no cover - compiled
    for i in range(len(x)):
        c0, c1, c2, c3 = x[i], y, groups[i] | z, sample
        k0, k1 = key
        for _ in range(ROUNDS):
            p0, p1 = np.uint64(c0) * _M0, np.uint64(c2) * _M1
            c0, c2 = np.uint32(p1 >> _UPPER) ^ c1 ^ k0, np.uint32(p0 >> _UPPER) ^ c3 ^ k1
            c1, c3 = np.uint32(p1), np.uint32(p0)
            k0, k1 = np.uint32(k0 + _W0), np.uint32(k1 + _W1)
        words[0, i], words[1, i], words[2, i], words[3, i] = c0, c1, c2, c3


@njit(cache=True, nogil=True, error_model="numpy")
def _normals(radius: Any, angle: Any, first: Any, second: Any, count: int) -> None:  # pragma: no cover - compiled
    for i in range(count):
        u = (np.float32(radius[i]) + _HALF) * _UNIT
        bits = np.int32(np.int32(np.float32(u).view(np.int32)) - _SQRT_HALF)
        exponent = np.float32(np.int32(bits >> 23))
        m = np.int32((bits & 0x7FFFFF) + _SQRT_HALF).view(np.float32)
        s = (m - _ONE) / (m + _ONE)
        z = s * s
        r = np.sqrt((((_L3 * z + _L2) * z + _L1) * z + _L0) * s + exponent * _LOG_OF_2)
        x = np.float32(np.int32(angle[i] ^ _SIGN)) * _TURN
        z = x * x
        s = ((((_S4 * z + _S3) * z + _S2) * z + _S1) * z + _S0) * x
        c = ((((_C4 * z + _C3) * z + _C2) * z + _C1) * z + _C0) * s * r
        first[i] = (_ONE - s * s) * r
        second[i] = c
