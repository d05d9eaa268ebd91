"""Drawing sample after sample of one image: how many at once, and what happens when memory runs out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from torch import Tensor

from divseg.denoise.networks.base import LatentNet, VAEConfig
from divseg.denoise.sampling.latent_noise import Generator, LatentNoise
from divseg.denoise.sampling.tiles import Posterior, Spans, decode, decode_tile, divergence, noise_of, tile_spans
from divseg.device import out_of_memory
from divseg.errors import InputError

CPU_BATCH, GPU_BATCH = 4, 128
"""Largest batches."""
GAIN = 1.05
"""On a CPU a larger batch must be faster by this factor, sample for sample, to be taken."""
MIN_TILES = 48
"""On a CPU, decoded tiles from which on measuring pays; below, it is one sample at a time."""
FEATURE_MAPS = 4
"""Feature maps of the widest kind that are in a GPU's memory at once: input, output, workspace, and the rest."""
UNKNOWN_MEMORY = 2**31
"""Bytes that a device may be filled with if it does not say how many are free."""

_Kind = tuple[str, torch.dtype, VAEConfig, tuple[int, ...], int]
_measured: dict[_Kind, int] = {}


class SamplingOptions(TypedDict, total=False):
    """Options of :meth:`divseg.DivNoising.sample` apart from the number of samples."""

    seed: int
    batch_size: int | None
    tile: int | None
    precision: str
    tta: bool


def free_bytes(device: torch.device) -> int:
    """Return the bytes of a device's memory that tensors can still take."""
    if device.type != "cuda":
        return UNKNOWN_MEMORY
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


@dataclass
class Sampler:
    """Draws samples of one image, in batches of the size that is fastest and fits into memory.

    Samples do not depend on `batch` and `tile`; both are halved if memory runs out, and stay so.

    Parameters
    ----------
    network : LatentNet
        Decodes the latents.
    posterior : Posterior
        The encoded image.
    seed : int
        Seed of the latent noise.
    tile : int
        Side of the tiles in pixels, a multiple of the stride.
    batch : int, optional
        Samples at once; by default measured on a CPU, and as many as fit into half of the free memory elsewhere.
    dtype : torch.dtype
        Number format of the convolutions.
    generator : callable, optional
        Generator of the latent noise; by default the fastest of the device.
    """

    network: LatentNet
    posterior: Posterior
    seed: int
    tile: int
    batch: int | None = None
    dtype: torch.dtype = torch.float32
    generator: Generator | None = None
    noise: LatentNoise = field(init=False)

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise InputError(f"batch_size={self.batch} must be at least 1")
        self.noise = noise_of(self.network, self.posterior, self.seed, self.generator)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image."""
        return self.posterior.shape

    @property
    def original(self) -> Sampler:
        """The sampler of the image as it is, without augmentation: this one."""
        return self

    def draw(self, samples: Sequence[int]) -> Tensor:
        """Draw the samples of these numbers over the whole image: (len(samples), C, *sides), normalized."""
        size = self.batch_size(len(samples))
        parts = []
        at = 0
        while at < len(samples):
            chosen = samples[at : at + size]
            try:
                parts.append(decode(self.network, self.posterior, chosen, self.noise, self.tile, self.dtype))
                at += len(chosen)
            except (RuntimeError, MemoryError) as error:
                size = self._shrink(error, len(chosen))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def draw_tile(self, samples: Sequence[int], spans: Spans) -> Tensor:
        """Draw the samples of these numbers in one tile, given by its spans on the latent grid."""
        size = self.batch_size(len(samples))
        parts = []
        at = 0
        while at < len(samples):
            chosen = samples[at : at + size]
            try:
                parts.append(decode_tile(self.network, self.posterior, self.noise, chosen, spans, self.dtype))
                at += len(chosen)
            except (RuntimeError, MemoryError) as error:
                size = self._shrink(error, len(chosen), tile=False)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def batches(self, start: int, stop: int) -> Iterator[Tensor]:
        """Yield samples `start` to `stop - 1` in batches of shape (B, C, *sides), normalized."""
        while start < stop:
            size = min(self.batch_size(stop - start), stop - start)
            yield self.draw(range(start, start + size))
            start += size

    def divergence(self, sample: int) -> float:
        """Kullback-Leibler divergence of the latents' posterior to their prior, along one sample, in nats."""
        return divergence(self.network, self.posterior, self.noise, sample, self.tile)

    def batch_size(self, wanted: int) -> int:
        """Return the number of samples to draw at once, chosen for the device if it was not given."""
        if self.batch is None:
            on_cpu = self.posterior.device.type == "cpu"
            self.batch = self._fastest(wanted) if on_cpu else self._fitting(free_bytes(self.posterior.device))
        return self.batch

    def _fitting(self, free: int) -> int:
        """Return the number of samples whose feature maps of a tile, and images, fill half of the free bytes."""
        config = self.network.config
        halo = max(halo * stride for halo, stride in zip(config.decoder_halos, config.strides, strict=True))
        tile = math.prod(min(self.tile + 2 * halo, side * config.stride) for side in self.posterior.grid)
        images = 2 * config.channels * (tile + math.prod(self.posterior.sides))
        numbers = FEATURE_MAPS * config.decoder_numbers * tile + images
        return max(1, min(GPU_BATCH, int(free // 2 / (4 * numbers))))

    def _fastest(self, wanted: int) -> int:
        """Return the number of samples at once that is fastest, if there is enough to draw for measuring to pay."""
        step = self.network.config.stride
        spans = next(tile_spans(self.posterior.grid, self.tile // step))
        shape = tuple(b - a for a, b in spans)
        kind = (str(self.posterior.device), self.dtype, self.network.config, shape, torch.get_num_threads())
        if kind in _measured:
            return _measured[kind]
        tiles = sum(1 for _ in tile_spans(self.posterior.grid, self.tile // step))
        if wanted * tiles < MIN_TILES:
            return 1
        best, fastest = 1, self._seconds(spans, 1)
        size = 2
        while size <= CPU_BATCH:
            try:
                seconds = self._seconds(spans, size) / size
            except (RuntimeError, MemoryError) as error:
                if out_of_memory(error):
                    break
                raise
            if fastest < GAIN * seconds:
                break
            best, fastest, size = size, seconds, 2 * size
        _measured[kind] = best
        return best

    def _seconds(self, spans: Spans, size: int) -> float:
        """Seconds to decode a tile of `size` samples: the better of two, after one to warm up."""
        times = []
        for _ in range(3):
            began = time.perf_counter()
            decode_tile(self.network, self.posterior, self.noise, range(size), spans, self.dtype)
            times.append(time.perf_counter() - began)
        return min(times[1:])

    def _shrink(self, error: BaseException, size: int, *, tile: bool = True) -> int:
        """Halve the batch, then the tile, if memory ran out; any other error is raised again."""
        if not out_of_memory(error):
            raise error
        if self.posterior.device.type == "cuda":
            torch.cuda.empty_cache()
        min_tile = 4 * self.network.config.stride
        if size > 1:
            self.batch = size // 2
        elif tile and self.tile > min_tile:
            step = self.network.config.stride
            self.tile = max(min_tile, self.tile // 2 // step * step)
            self.batch = 1
        else:
            raise InputError(
                f"memory ran out while drawing one sample in tiles of {self.tile} pixels; close other programs, "
                "use a smaller tile, or crop the image"
            ) from error
        return self.batch or 1
