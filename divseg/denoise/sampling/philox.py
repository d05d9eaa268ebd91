"""Philox, a counter-based random number generator, with counters that are addresses in the latent grids of an image.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3: Philox4x32-10 turns a counter of
four 32-bit words and a key of two into four random words, so that every number can be made alone.

The key is a hash of the user's seed and the image's key. The words of the counter are, for a position of a latent grid,

    0   X, 32 bits
    1   Y, 32 bits
    2   from the lowest bit: Z (20 bits; 0 in two dimensions), group of four channels (9), level of the grid (3)
    3   number of the sample, 32 bits

and the four words that come out make the normal numbers of the group's four channels. No two addresses share a counter.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from torch import Tensor

from divseg.errors import InputError

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
"""What is added to the words of the key after every round."""
ROUNDS = 10
GROUP = 4
"""Channels that a counter serves."""
GROUP_SHIFT, LEVEL_SHIFT = 20, 29
"""First bits of group and level in word 2."""

_WORD = 0xFFFFFFFF
_Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox_key(seed: int, image: int) -> tuple[int, int]:
    """Return the generator's key: two 32-bit words, hashed from the user's seed and the image's key.

    Raises
    ------
    InputError
        If the seed is negative or needs more than 64 bits.
    """
    if not 0 <= seed < 2**64:
        raise InputError(f"seed={seed} must be from 0 to 2**64 - 1")
    digest = hashlib.blake2b(seed.to_bytes(8, "little") + image.to_bytes(8, "little"), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


@dataclass(frozen=True)
class Window:
    """A window of a latent grid.

    Attributes
    ----------
    level : int
        Number of the grid, finest first, at most 7.
    channels : int
        Latent channels, at most 2048.
    start, stop : tuple of 2 or 3 int
        First and one past the last position along each axis, in the coordinates of the whole image: up to 2**32
        along Y and X, 2**20 along Z.

    Raises
    ------
    InputError
        Beyond these limits.
    """

    level: int
    channels: int
    start: tuple[int, ...]
    stop: tuple[int, ...]

    def __post_init__(self) -> None:
        ends = (2**20, 2**32, 2**32)[-len(self.start) :]
        if not (0 <= self.level < 8 and 0 < self.channels <= 2048):
            raise InputError(
                f"latent grid {self.level} with {self.channels} channels: latent noise has room for 8 grids of 2048 "
                "channels; use a smaller network"
            )
        if any(not 0 <= a <= b <= end for a, b, end in zip(self.start, self.stop, ends, strict=True)):
            raise InputError(
                f"window {self.start} to {self.stop} of the latent grid: latent noise has room for positions from 0 to "
                f"{ends}; crop the image"
            )

    @property
    def box(self) -> tuple[tuple[int, int], ...]:
        """First and one past the last position along Z, Y and X; 0 and 1 along an axis that is not there."""
        spans = tuple(zip(self.start, self.stop, strict=True))
        return ((0, 1),) * (3 - len(spans)) + spans

    @property
    def sides(self) -> tuple[int, ...]:
        """Positions along each axis."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def groups(self) -> int:
        """Groups of four channels; the last may be used in part."""
        return -(-self.channels // GROUP)

    @property
    def counters(self) -> int:
        """Counters of a sample: one for each position and group."""
        return math.prod(self.sides) * self.groups


def check_samples(samples: tuple[int, ...]) -> None:
    """Raise InputError if a number of a sample does not fit into a word."""
    if any(not 0 <= k < 2**32 for k in samples):
        raise InputError(f"numbers of samples must be from 0 to 2**32 - 1, got {min(samples)} to {max(samples)}")


def philox(counter: _Words, key: tuple[int, int]) -> _Words:
    """Return the random words of some counters, in about a hundred elementwise operations.

    Parameters
    ----------
    counter : tuple of 4 Tensor, int64
        The words, from 0 to 2**32 - 1, of shapes that broadcast.
    key : tuple of 2 int
        32 bits each.

    Returns
    -------
    tuple of 4 Tensor, int64
        Words from 0 to 2**32 - 1.
    """
    c0, c1, c2, c3 = counter
    for i in range(ROUNDS):
        k0, k1 = ((k + i * w) & _WORD for k, w in zip(key, WEYL, strict=True))
        # the product wraps around into the sign, the bits stay those of the unsigned one; words 1 and 3 may
        # carry its upper half along, because they only meet others by xor, before a mask
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c2 = ((p1 >> 32) ^ c1).bitwise_xor_(k0), ((p0 >> 32) ^ c3).bitwise_xor_(k1)
        c0, c1, c2, c3 = c0.bitwise_and_(_WORD), p1, c2.bitwise_and_(_WORD), p0
    return c0, c1.bitwise_and_(_WORD), c2, c3.bitwise_and_(_WORD)
