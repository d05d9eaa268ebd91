"""Encoding once and decoding many samples, tile by tile, with results that do not depend on the tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.networks.base import LAYOUT, LatentNet, Trim, crop, kl_to_prior
from divseg.denoise.normalization import Normalization
from divseg.denoise.precision import inference, sum_dtype
from divseg.denoise.sampling.latent_noise import Generator, LatentNoise
from divseg.errors import InputError

CPU_TILE = {2: 512, 3: 96}
"""Default tile on a CPU, by spatial axes: smaller ones lose more by their halos, larger ones by caches."""
GPU_TILE = {2: 2048, 3: 256}
"""Default tile on a GPU: only images larger than this are cut."""

Spans = tuple[tuple[int, int], ...]
"""First and one past the last position along each spatial axis."""


@dataclass(eq=False)
class Posterior:
    """An encoded image, of which any number of samples can be drawn.

    Attributes
    ----------
    levels : tuple of Tensor, each (encoder_channels, *grid)
        Encoder features of each latent grid, finest first. The grids cover the image padded at its far ends to
        whole positions of the coarsest grid.
    pixels : array, shape (*sides) or (C, *sides)
        The noisy image.
    key : int
        Key of the image, for its latent noise.
    checked : bool
        Whether the image was compared with the training images.
    """

    levels: tuple[Tensor, ...]
    pixels: NDArray[np.generic]
    key: int
    checked: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image."""
        return self.pixels.shape

    @property
    def device(self) -> torch.device:
        """Device of the encoder features."""
        return self.levels[0].device

    @property
    def nbytes(self) -> int:
        """Bytes of the encoder features."""
        return sum(level.nelement() * level.element_size() for level in self.levels)

    @property
    def grid(self) -> tuple[int, ...]:
        """Positions of the coarsest latent grid along each spatial axis."""
        return tuple(self.levels[-1].shape[1:])

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels along each spatial axis."""
        return self.shape[-len(self.grid) :]


def tile_spans(sides: Sequence[int], tile: int) -> Iterator[Spans]:
    """Cut a box into tiles, in raster order."""
    return product(*([(start, min(start + tile, size)) for start in range(0, size, tile)] for size in sides))


def widen(spans: Spans, halo: int, sides: Sequence[int]) -> Spans:
    """Add the halo, up to the border of the image."""
    return tuple((max(0, a - halo), min(size, b + halo)) for (a, b), size in zip(spans, sides, strict=True))


def within(spans: Spans, wide: Spans, scale: int = 1) -> tuple[slice, ...]:
    """Return the slices of a tile within its widened version, in positions `scale` times as fine."""
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
    network: LatentNet,
    image: NDArray[np.generic],
    key: int,
    tile: int,
    normalization: Normalization | None = None,
    dtype: torch.dtype = torch.float32,
) -> Posterior:
    """Encode a whole image tile by tile.

    The image is padded once, by reflection, at its far ends, to a multiple of the stride. Tiles start on
    multiples of the stride and carry the halo their latents depend on; at the image's border they are cut,
    not padded, so the network pads there as it would on the whole image.

    Parameters
    ----------
    network : LatentNet
        Encodes the tiles.
    image : array, shape (*sides) or (C, *sides)
        Any dtype; normalized tile by tile.
    key : int
        Key of the image, for its latent noise.
    tile : int
        Side of the tiles in pixels, a multiple of the stride.
    normalization : Normalization, optional
        None if the image is normalized.
    dtype : torch.dtype
        Number format of the convolutions.

    Raises
    ------
    InputError
        If the image is smaller than a position of the coarsest latent grid.
    """
    config = network.config
    device = next(network.parameters()).device
    step, halo, dims = config.stride, config.encoder_halo, config.dims
    normalization = normalization or Normalization((0.0,) * config.channels, (1.0,) * config.channels)
    pixels = image if image.ndim == dims + 1 else image[None]
    pad = [(0, 0), *((0, -side % step) for side in pixels.shape[1:])]
    if any(after >= size for (_, after), size in zip(pad[1:], pixels.shape[1:], strict=True)):
        size, needed = "x".join(map(str, pixels.shape[1:])), "x".join([str(step)] * dims)
        raise InputError(f"an image of {size} pixels is too small; at least {needed} is needed")
    if any(after for _, after in pad):
        pixels = np.pad(pixels, pad, mode="reflect")
    sides = pixels.shape[1:]
    levels = tuple(
        torch.empty((channels, *grid), device=device)
        for channels, grid in zip(config.encoder_channels, config.grids(sides), strict=True)
    )
    with inference(device, dtype):
        for spans in tile_spans(sides, tile):
            wide = widen(spans, halo, sides)
            part = normalization.normalize(pixels[(slice(None), *_slices(wide))])
            x = torch.from_numpy(np.ascontiguousarray(part))[None].to(device)  # the layout decides how sums are rounded
            features = network.encode(x.contiguous(memory_format=LAYOUT[dims]))
            for stride, level, values in zip(config.strides, levels, features, strict=True):
                region, around = (tuple((a // stride, b // stride) for a, b in box) for box in (spans, wide))
                crop(level, _slices(region)).copy_(crop(values[0], within(region, around)))
    return Posterior(levels, image, key)


def noise_of(network: LatentNet, posterior: Posterior, seed: int, generator: Generator | None = None) -> LatentNoise:
    """Return the latent noise of an image's samples; see :class:`LatentNoise`."""
    return LatentNoise(seed, posterior.key, network.config.latent_channels, posterior.device, generator)


@dataclass(frozen=True)
class _Windows:
    """A tile on every latent grid, finest first, without and with the halo that its pixels depend on."""

    tiles: list[Spans]
    wide: list[Spans]

    @classmethod
    def around(cls, network: LatentNet, posterior: Posterior, spans: Spans) -> _Windows:
        config = network.config
        finer = [config.stride // stride for stride in config.strides]
        tiles = [tuple((a * f, b * f) for a, b in spans) for f in finer]
        wide = [
            widen(tile, halo, level.shape[1:])
            for tile, halo, level in zip(tiles, config.decoder_halos, posterior.levels, strict=True)
        ]
        return cls(tiles, wide)

    @property
    def trims(self) -> list[Trim]:
        """For every grid but the finest: the part of its window that the next finer grid's window covers."""
        return [within(tuple((a // 2, b // 2) for a, b in finer), coarser) for finer, coarser in pairwise(self.wide)]


def _draw_latents(
    network: LatentNet, posterior: Posterior, noise: LatentNoise, samples: Sequence[int], windows: _Windows
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    layout = LAYOUT[network.config.dims]
    eps = [drawn.contiguous(memory_format=layout) for drawn in noise.windows(samples, windows.wide)]
    encoder_features = [
        crop(level, _slices(wide))[None].contiguous(memory_format=layout)
        for level, wide in zip(posterior.levels, windows.wide, strict=True)
    ]
    return network.latents(encoder_features, eps, windows.trims)


def decode_tile(
    network: LatentNet,
    posterior: Posterior,
    noise: LatentNoise,
    samples: Sequence[int],
    spans: Spans,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Decode some samples in one tile, given by its spans on the coarsest latent grid.

    Returns
    -------
    Tensor, shape (len(samples), C, *pixels), float32
        Normalized clean images, cut at the image's border.
    """
    config = network.config
    windows = _Windows.around(network, posterior, spans)
    with inference(posterior.device, dtype):
        features = _draw_latents(network, posterior, noise, samples, windows)[0]
        s = network.decode(features).float()
    inner = crop(s, within(windows.tiles[0], windows.wide[0], config.strides[0]))
    ends = (side - a * config.stride for (a, _), side in zip(spans, posterior.sides, strict=True))
    return crop(inner, tuple(slice(0, end) for end in ends))


def decode(
    network: LatentNet,
    posterior: Posterior,
    samples: Sequence[int],
    noise: LatentNoise,
    tile: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Decode some samples of the posterior over the whole image, tile by tile.

    Parameters
    ----------
    network : LatentNet
        Decodes the tiles.
    posterior : Posterior
        The encoded image.
    samples : sequence of int
        Numbers of the samples.
    noise : LatentNoise
        Latent noise of the image.
    tile : int
        Side of the tiles in pixels, a multiple of the stride.
    dtype : torch.dtype
        Number format of the convolutions.

    Returns
    -------
    Tensor, shape (len(samples), C, *sides), float32
        Normalized clean images, on the network's device.
    """
    step = network.config.stride
    out = torch.empty((len(samples), network.config.channels, *posterior.sides), device=posterior.device)
    for spans in tile_spans(posterior.grid, tile // step):
        region = tuple(slice(a * step, b * step) for a, b in spans)
        out[(slice(None), slice(None), *region)] = decode_tile(network, posterior, noise, samples, spans, dtype)
    return out


def divergence(network: LatentNet, posterior: Posterior, noise: LatentNoise, sample: int, tile: int) -> float:
    """Kullback-Leibler divergence of the latents' posterior to their prior, along one sample, in nats.

    Summed over all positions of all grids of the padded image, in tiles of `tile` pixels.
    """
    device = posterior.device
    with inference(device, torch.float32):
        total = torch.zeros((), dtype=sum_dtype(device), device=device)
        for spans in tile_spans(posterior.grid, tile // network.config.stride):
            windows = _Windows.around(network, posterior, spans)
            _, means, logvars = _draw_latents(network, posterior, noise, [sample], windows)
            for mean, logvar, own, wide in zip(means, logvars, windows.tiles, windows.wide, strict=True):
                total += crop(kl_to_prior(mean, logvar), within(own, wide)).sum(dtype=total.dtype)
    return float(total)
