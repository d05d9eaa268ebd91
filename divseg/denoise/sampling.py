"""Encoding once and decoding many samples, tile by tile, with results that do not depend on the tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.latent import latent_noise
from divseg.denoise.network import DivNoisingNet
from divseg.errors import InputError

CPU_TILE = 256
"""Default tile on a CPU: a decoder's feature maps of this size stay in its caches."""
GPU_TILE = 2048
"""Default tile on a GPU: only images larger than this are cut."""


@dataclass(frozen=True)
class Posterior:
    """Posterior of the latents of one whole image, and where the image lies in it.

    `mu` and `sd` have shape (latents, Y/stride, X/stride) and cover the image padded below and to the right
    to whole latent positions; `shape` is the image's own (Y, X).
    """

    mu: Tensor
    sd: Tensor
    shape: tuple[int, int]
    key: int


def _spans(size: int, tile: int) -> list[tuple[int, int]]:
    return [(start, min(start + tile, size)) for start in range(0, size, tile)]


def check_tile(tile: int | None, stride: int, device: torch.device) -> int:
    """Return the tile side in pixels, a multiple of the stride."""
    if tile is None:
        tile = CPU_TILE if device.type == "cpu" else GPU_TILE
    if tile < 4 * stride:
        raise InputError(f"tile={tile} is too small: at least {4 * stride} pixels are needed")
    return -(-tile // stride) * stride


def encode(network: DivNoisingNet, image: NDArray[np.float32], key: int, tile: int) -> Posterior:
    """Encode a whole normalised image tile by tile.

    The image is padded once, by reflection, below and to the right, to a multiple of the stride. Tiles
    start on multiples of the stride and carry the halo their latents depend on; at the image's border
    they are cut, not padded, so the network pads there as it would on the whole image.
    """
    config = network.config
    device = next(network.parameters()).device
    step, halo = config.stride, config.encoder_halo
    height, width = image.shape
    pad = ((0, -height % step), (0, -width % step))
    if any(after >= size for (_, after), size in zip(pad, image.shape, strict=True)):
        raise InputError(f"an image of {height}x{width} pixels is too small; at least {step}x{step} is needed")
    image = np.pad(image, pad, mode="reflect")
    full = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    rows, cols = image.shape
    mu = torch.empty((config.latents, rows // step, cols // step), device=device)
    sd = torch.empty_like(mu)
    with torch.inference_mode():
        for y0, y1 in _spans(rows, tile):
            for x0, x1 in _spans(cols, tile):
                top, left = max(0, y0 - halo), max(0, x0 - halo)
                part = full[:, :, top : min(rows, y1 + halo), left : min(cols, x1 + halo)].to(device)
                m, logvar = network.encoder(part.contiguous(memory_format=torch.channels_last))
                inner = np.s_[0, :, (y0 - top) // step : (y1 - top) // step, (x0 - left) // step : (x1 - left) // step]
                outer = np.s_[:, y0 // step : y1 // step, x0 // step : x1 // step]
                mu[outer] = m.float()[inner]
                sd[outer] = torch.exp(0.5 * logvar[inner])
    return Posterior(mu, sd, (height, width), key)


def decode(network: DivNoisingNet, posterior: Posterior, samples: range, seed: int, tile: int) -> Tensor:
    """Decode some samples of the posterior over the whole image, tile by tile.

    Returns
    -------
    Tensor, shape (len(samples), Y, X), float32
        Normalised clean images, on the network's device.
    """
    config = network.config
    device = posterior.mu.device
    step, halo = config.stride, config.decoder_halo
    rows, cols = posterior.mu.shape[1:]
    eps = torch.from_numpy(
        np.stack([latent_noise(seed, posterior.key, k, config.latents, (0, rows), (0, cols)) for k in samples])
    ).to(device)
    out = torch.empty((len(samples), rows * step, cols * step), device=device)
    with torch.inference_mode():
        z = eps.mul_(posterior.sd).add_(posterior.mu)
        for y0, y1 in _spans(rows, tile // step):
            for x0, x1 in _spans(cols, tile // step):
                top, left = max(0, y0 - halo), max(0, x0 - halo)
                part = z[:, :, top : min(rows, y1 + halo), left : min(cols, x1 + halo)]
                s = network.decoder(part.contiguous(memory_format=torch.channels_last))[:, 0].float()
                oy, ox = (y0 - top) * step, (x0 - left) * step
                height, width = (y1 - y0) * step, (x1 - x0) * step
                out[:, y0 * step : y1 * step, x0 * step : x1 * step] = s[:, oy : oy + height, ox : ox + width]
    return out[:, : posterior.shape[0], : posterior.shape[1]]


def sample_batches(
    network: DivNoisingNet, posterior: Posterior, *, n: int, seed: int, batch_size: int, tile: int
) -> Iterator[Tensor]:
    """Yield normalised samples 0 to n - 1 in batches of shape (B, Y, X)."""
    for start in range(0, n, batch_size):
        yield decode(network, posterior, range(start, min(n, start + batch_size)), seed, tile)
