"""Latent noise that depends on its position, not on how it was computed."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from divseg.denoise.sampling.philox import philox_words

BLOCKS = {2: (32, 32), 3: (16, 16, 16)}
"""Sides, in latent positions, of the blocks that are drawn at once, by the number of spatial axes."""

CACHE_BYTES = 2**27
"""The last blocks are cached up to this size, because the halos of neighbouring tiles need them again."""


def image_key(fingerprint: str) -> int:
    """Return the 64-bit key of an image: the beginning of its fingerprint."""
    return int.from_bytes(bytes.fromhex(fingerprint)[:8], "little")


def _normals(words: Tensor, count: int) -> Tensor:
    """Turn 64-bit words into twice as many standard normal numbers.

    Box and Muller, "A note on the generation of random normal deviates", Ann. Math. Statist. 29 (1958). The
    upper half of a word gives the radius, the lower half the angle; the farthest normal is at 6.7.
    """
    radius = ((words >> 32) & 0xFFFFFFFF).float().add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (words & 0xFFFFFFFF).float().mul_(2.0 * math.pi * 2.0**-32)
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count]


class LatentNoise:
    """Standard normal noise of the latents of one image, by sample and position.

    The latent grid is cut into blocks. The numbers of a block come from a counter-based generator (Philox)
    whose key is made of (seed, image key, sample, level) and whose counter starts at the block's position. A window
    therefore holds the same numbers whatever its borders are, in whatever order windows and samples are
    drawn, and on whatever device (there up to the rounding of logarithm and cosine).

    Parameters
    ----------
    seed, key : int
        The user's seed and the image's key (:func:`image_key`), 64 bits each.
    channels : int
        Latent channels.
    dims : int
        Spatial axes, 2 or 3.
    device : torch.device
        Device of the numbers.
    level : int
        Number of the latent grid, finest first: each has its own numbers.
    """

    def __init__(self, seed: int, key: int, channels: int, dims: int, device: torch.device, level: int = 0) -> None:
        self.seed, self.key, self.channels, self.device, self.level = seed, key, channels, device, level
        self.block = BLOCKS[dims]
        self._shape = (channels, *self.block)
        self._count = math.prod(self._shape)
        self._blocks: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._capacity = max(1, CACHE_BYTES // (4 * self._count))

    def _draw(self, sample: int, position: tuple[int, ...]) -> Tensor:
        block = self._blocks.pop((sample, *position), None)
        if block is None:
            entropy = [self.seed, self.key, sample, self.level] if self.level else [self.seed, self.key, sample]
            key = np.random.SeedSequence(entropy).generate_state(2, np.uint64).astype(np.uint64)
            words = philox_words(key, position[::-1], -(-self._count // 2), self.device)
            block = _normals(words, self._count).reshape(self._shape)
        self._blocks[(sample, *position)] = block
        if len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)
        return block

    def window(self, sample: int, start: Sequence[int], stop: Sequence[int]) -> Tensor:
        """Draw the noise of one sample in a window of the latent grid.

        Parameters
        ----------
        sample : int
            Number of the sample.
        start, stop : sequence of int
            First and one past the last latent position along each spatial axis, in the coordinates of the
            whole image, >= 0.

        Returns
        -------
        Tensor, shape (channels, *(stop - start)), float32
        """
        out = torch.empty((self.channels, *(b - a for a, b in zip(start, stop, strict=True))), device=self.device)
        for position in product(
            *(range(a // side, -(-b // side)) for a, b, side in zip(start, stop, self.block, strict=True))
        ):
            inner: list[slice] = [slice(None)]
            outer: list[slice] = [slice(None)]
            for at, a, b, side in zip(position, start, stop, self.block, strict=True):
                first, last = max(a, at * side), min(b, (at + 1) * side)
                inner.append(slice(first - at * side, last - at * side))
                outer.append(slice(first - a, last - a))
            out[tuple(outer)] = self._draw(sample, position)[tuple(inner)]
        return out
