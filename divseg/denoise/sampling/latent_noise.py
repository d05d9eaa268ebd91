"""Latent noise that depends on its position, not on how it was computed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

import torch
from torch import Tensor

from divseg.denoise.sampling.normals_numba import numba_normals
from divseg.denoise.sampling.normals_torch import torch_normals
from divseg.denoise.sampling.philox import Window, check_samples, philox_key

Generator: TypeAlias = Callable[[tuple[int, int], Sequence[int], Sequence[Window], torch.device], list[Tensor]]
"""Draws the noise of some samples in a window of each latent grid: (key, samples, windows, device) to a list of Tensor,
each (len(samples), *sides, channels). All generators make the same words of :mod:`divseg.denoise.sampling.philox` and
the same numbers of :mod:`divseg.denoise.sampling.box_muller`."""


def image_key(fingerprint: str) -> int:
    """Return the 64-bit key of an image: the beginning of its fingerprint."""
    return int.from_bytes(bytes.fromhex(fingerprint)[:8], "little")


def generator_for(device: torch.device) -> Generator:
    """Return the fastest generator of a device: compiled by Numba on a CPU, by Triton with CUDA, else plain torch."""
    if device.type == "cpu":
        return numba_normals
    return _cuda_generator(device) if device.type == "cuda" else torch_normals


@cache
def _cuda_generator(device: torch.device) -> Generator:
    """Return the generator in Triton if it works on the device, which is tried once; plain torch if not."""
    window = Window(0, 4, (0, 0), (2, 2))
    try:
        from divseg.denoise.sampling.normals_triton import triton_normals

        triton_normals((0, 0), [0], [window], device)
        return triton_normals
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # a missing package, compiler or driver function, or whatever a compiler says
        reason = (str(error).splitlines() or [""])[0]
        logging.getLogger("divseg").warning(
            "latent noise is drawn without Triton on %s, which is slower and gives the same samples: %s: %s",
            device,
            type(error).__name__,
            reason,
        )
        return torch_normals


class LatentNoise:
    """Standard normal noise of the latents of one image, by sample and position.

    Every number has its own address (seed, image, sample, grid, channel, position), from which a counter-based
    generator makes it (:mod:`divseg.denoise.sampling.philox`). A window therefore holds the same numbers whatever
    its borders are, in whatever batches and order windows and samples are drawn, and on whatever device: to the
    bit, except for the last bit of square roots in plain torch on a CPU and on Apple's GPUs.

    Parameters
    ----------
    seed, key : int
        The user's seed and the image's key (:func:`image_key`), 64 bits each.
    channels : sequence of int
        Latent channels of each grid, finest first.
    device : torch.device
        Device of the numbers.
    generator : callable, optional
        Draws the numbers; by default the fastest of the device (:func:`generator_for`).

    Raises
    ------
    InputError
        If the seed is negative or needs more than 64 bits.
    """

    def __init__(
        self, seed: int, key: int, channels: Sequence[int], device: torch.device, generator: Generator | None = None
    ) -> None:
        self.key, self.channels, self.device = philox_key(seed, key), tuple(channels), device
        self._generate = generator or generator_for(device)

    def windows(self, samples: Sequence[int], spans: Sequence[Sequence[tuple[int, int]]]) -> list[Tensor]:
        """Draw the noise of some samples in a window of each latent grid, all at once.

        Parameters
        ----------
        samples : sequence of int
            Numbers of the samples, from 0 to 2**32 - 1.
        spans : sequence of tuples
            For each grid, finest first: first and one past the last position along each spatial axis, in the
            coordinates of the whole image.

        Returns
        -------
        list of Tensor, each (len(samples), channels, *sides), float32
            With the channels last in memory.

        Raises
        ------
        InputError
            If a number is beyond the limits of an address (:class:`divseg.denoise.sampling.philox.Window`).
        """
        chosen = tuple(samples)
        check_samples(chosen)
        windows = [
            Window(level, channels, tuple(a for a, _ in box), tuple(b for _, b in box))
            for level, (channels, box) in enumerate(zip(self.channels, spans, strict=True))
        ]
        return [drawn.movedim(-1, 1) for drawn in self._generate(self.key, chosen, windows, self.device)]
