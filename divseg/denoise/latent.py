"""Latent noise that depends on where it is, not on how it was computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from divseg.io import fingerprint

BLOCK = 32
"""Side, in latent positions, of the blocks that are drawn at once."""


def image_key(image: NDArray[np.generic]) -> int:
    """Return a 64-bit key of an image's content, shape and dtype: the beginning of its fingerprint."""
    return int.from_bytes(bytes.fromhex(fingerprint(image))[:8], "little")


def latent_noise(
    seed: int, key: int, sample: int, channels: int, rows: tuple[int, int], cols: tuple[int, int]
) -> NDArray[np.float32]:
    """Draw the standard normal noise of one sample in a window of the latent grid.

    The grid is cut into blocks; each block has a generator of its own, keyed by (seed, image key, sample,
    block row, block column). A window therefore holds the same numbers whatever its borders are, in
    whatever order windows and samples are drawn.

    Parameters
    ----------
    seed, key, sample : int
        The user's seed, the image's key (:func:`image_key`) and the number of the sample.
    channels : int
        Latent channels.
    rows, cols : (int, int)
        First and one past the last latent position, in the coordinates of the whole image, >= 0.

    Returns
    -------
    array, shape (channels, rows, cols), float32
    """
    out = np.empty((channels, rows[1] - rows[0], cols[1] - cols[0]), np.float32)
    for by in range(rows[0] // BLOCK, -(-rows[1] // BLOCK)):
        for bx in range(cols[0] // BLOCK, -(-cols[1] // BLOCK)):
            y0, y1 = max(rows[0], by * BLOCK), min(rows[1], (by + 1) * BLOCK)
            x0, x1 = max(cols[0], bx * BLOCK), min(cols[1], (bx + 1) * BLOCK)
            words = np.random.SeedSequence([seed, key, sample, by, bx]).generate_state(2, np.uint64)
            generator = np.random.Generator(np.random.Philox(key=words))
            block = generator.standard_normal((channels, BLOCK, BLOCK), dtype=np.float32)
            part = block[:, y0 - by * BLOCK : y1 - by * BLOCK, x0 - bx * BLOCK : x1 - bx * BLOCK]
            out[:, y0 - rows[0] : y1 - rows[0], x0 - cols[0] : x1 - cols[0]] = part
    return out
