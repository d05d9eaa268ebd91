"""Encoding once and decoding many samples, tile by tile, with results that do not depend on the tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.device import trunk
from divseg.denoise.intensity import Intensity
from divseg.denoise.latent import LatentNoise
from divseg.denoise.network import LAYOUT, DivNoisingNet
from divseg.errors import InputError

CPU_TILE = {2: 256, 3: 96}
"""Default tile on a CPU, by spatial axes: a decoder's feature maps of this size stay near its caches."""
GPU_TILE = {2: 2048, 3: 256}
"""Default tile on a GPU: only images larger than this are cut."""

Spans = tuple[tuple[int, int], ...]
"""First and one past the last position along each spatial axis."""


@dataclass(frozen=True)
class Posterior:
    """Posterior of the latents of one whole image, and where the image lies in it.

    `mu` and `sd` have shape (latents, *grid) and cover the image padded at its far ends to whole latent
    positions; `shape` is the image's own, with its channel axis where it has one.
    """

    mu: Tensor
    sd: Tensor
    shape: tuple[int, ...]
    key: int

    @property
    def grid(self) -> tuple[int, ...]:
        """Latent positions along each spatial axis."""
        return tuple(self.mu.shape[1:])

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels along each spatial axis."""
        return self.shape[-len(self.grid) :]


def tile_spans(sides: Sequence[int], tile: int) -> Iterator[Spans]:
    """Cut a box into tiles, in raster order."""
    return product(*([(start, min(start + tile, size)) for start in range(0, size, tile)] for size in sides))


def widen(spans: Spans, halo: int, sides: Sequence[int]) -> Spans:
    """Add the halo, as far as there is image."""
    return tuple((max(0, a - halo), min(size, b + halo)) for (a, b), size in zip(spans, sides, strict=True))


def within(spans: Spans, wide: Spans, scale: int = 1) -> tuple[slice, ...]:
    """Where a tile lies in its widened self, in positions `scale` times as fine."""
    return tuple(slice((a - o) * scale, (b - o) * scale) for (a, b), (o, _) in zip(spans, wide, strict=True))


def _slices(spans: Spans) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in spans)


def check_tile(tile: int | None, stride: int, device: torch.device, dims: int = 2) -> int:
    """Return the tile side in pixels, a multiple of the stride."""
    if tile is None:
        tile = (CPU_TILE if device.type == "cpu" else GPU_TILE)[dims]
    if tile < 4 * stride:
        raise InputError(f"tile={tile} is too small: at least {4 * stride} pixels are needed")
    return -(-tile // stride) * stride


def encode(
    network: DivNoisingNet,
    image: NDArray[np.generic],
    key: int,
    tile: int,
    intensity: Intensity | None = None,
    dtype: torch.dtype = torch.float32,
) -> Posterior:
    """Encode a whole image tile by tile.

    The image is padded once, by reflection, at its far ends, to a multiple of the stride. Tiles start on
    multiples of the stride and carry the halo their latents depend on; at the image's border they are cut,
    not padded, so the network pads there as it would on the whole image.

    Parameters
    ----------
    network : DivNoisingNet
    image : array, shape (*sides) or (C, *sides)
        Any dtype; normalised tile by tile.
    key : int
        The image's key, for the latent noise.
    tile : int
        Side of the tiles in pixels, a multiple of the stride.
    intensity : Intensity, optional
        Normalisation; None where the image is normalised.
    dtype : torch.dtype
        Precision of the network's trunk.
    """
    config = network.config
    device = next(network.parameters()).device
    step, halo, dims = config.stride, config.encoder_halo, config.dims
    intensity = intensity or Intensity((0.0,) * config.channels, (1.0,) * config.channels)
    shape = image.shape
    pixels = image if image.ndim == dims + 1 else image[None]
    pad = [(0, 0), *((0, -side % step) for side in pixels.shape[1:])]
    if any(after >= size for (_, after), size in zip(pad[1:], pixels.shape[1:], strict=True)):
        size, least = "x".join(map(str, pixels.shape[1:])), "x".join([str(step)] * dims)
        raise InputError(f"an image of {size} pixels is too small; at least {least} is needed")
    if any(after for _, after in pad):
        pixels = np.pad(pixels, pad, mode="reflect")
    sides = pixels.shape[1:]
    mu = torch.empty((config.latents, *(side // step for side in sides)), device=device)
    sd = torch.empty_like(mu)
    with torch.inference_mode(), trunk(device, dtype):
        for spans in tile_spans(sides, tile):
            wide = widen(spans, halo, sides)
            part = torch.from_numpy(intensity.normalise(pixels[(slice(None), *_slices(wide))]))[None].to(device)
            m, logvar = network.encoder(part.contiguous(memory_format=LAYOUT[dims]))
            coarse = tuple((a // step, b // step) for a, b in spans)
            inner = (0, slice(None), *within(coarse, tuple((a // step, b // step) for a, b in wide)))
            outer = (slice(None), *_slices(coarse))
            mu[outer] = m[inner].float()
            sd[outer] = torch.exp(0.5 * logvar[inner])
    return Posterior(mu, sd, shape, key)


def latent_field(network: DivNoisingNet, posterior: Posterior, seed: int) -> LatentNoise:
    """Return the latent noise of an image's samples."""
    config = network.config
    return LatentNoise(seed, posterior.key, config.latents, config.dims, posterior.mu.device)


def decode_tile(
    network: DivNoisingNet,
    posterior: Posterior,
    noise: LatentNoise,
    samples: Sequence[int],
    spans: Spans,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Decode some samples in one tile, given by its spans on the latent grid.

    Returns
    -------
    Tensor, shape (len(samples), C, *pixels), float32
        Normalised clean images, cut where the image ends.
    """
    config = network.config
    step, grid = config.stride, posterior.grid
    wide = widen(spans, config.decoder_halo, grid)
    where = (slice(None), *_slices(wide))
    start, stop = zip(*wide, strict=True)
    with torch.inference_mode(), trunk(posterior.mu.device, dtype):
        z = torch.stack([noise.window(k, start, stop) for k in samples])
        z.mul_(posterior.sd[where]).add_(posterior.mu[where])
        s = network.decoder(z.contiguous(memory_format=LAYOUT[config.dims])).float()
    inner = s[(slice(None), slice(None), *within(spans, wide, step))]
    ends = (side - a * step for (a, _), side in zip(spans, posterior.sides, strict=True))
    return inner[(slice(None), slice(None), *(slice(0, end) for end in ends))]


def decode(
    network: DivNoisingNet,
    posterior: Posterior,
    samples: Sequence[int],
    seed: int | LatentNoise,
    tile: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Decode some samples of the posterior over the whole image, tile by tile.

    Parameters
    ----------
    network : DivNoisingNet
    posterior : Posterior
    samples : sequence of int
        Numbers of the samples.
    seed : int or LatentNoise
        The user's seed, or the latent noise that goes with it.
    tile : int
        Side of the tiles in pixels, a multiple of the stride.
    dtype : torch.dtype
        Precision of the network's trunk.

    Returns
    -------
    Tensor, shape (len(samples), C, *sides), float32
        Normalised clean images, on the network's device.
    """
    noise = seed if isinstance(seed, LatentNoise) else latent_field(network, posterior, seed)
    step = network.config.stride
    out = torch.empty((len(samples), network.config.channels, *posterior.sides), device=posterior.mu.device)
    for spans in tile_spans(posterior.grid, tile // step):
        place = tuple(slice(a * step, b * step) for a, b in spans)
        out[(slice(None), slice(None), *place)] = decode_tile(network, posterior, noise, samples, spans, dtype)
    return out
