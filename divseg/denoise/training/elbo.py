"""The evidence lower bound that is trained on, term by term."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from divseg.denoise.networks.base import kl_to_prior
from divseg.denoise.noise import NoiseModel
from divseg.denoise.normalization import DeviceNormalization, Normalization

Network = Callable[[Tensor, Sequence[Tensor]], tuple[Tensor, list[Tensor], list[Tensor]]]


@dataclass(frozen=True)
class Elbo:
    """Terms of the negative evidence lower bound, in nats per pixel of every channel.

    `nll` has shape (B,), one number a crop. `grids` has a tensor (B, latents) for each latent grid, finest first: the
    KL divergence of a latent channel, averaged over its positions, in nats. `pixels_per_latent` has a number for each
    grid: pixels of all channels that a position covers.
    """

    nll: Tensor
    grids: tuple[Tensor, ...]
    pixels_per_latent: tuple[float, ...]

    @property
    def per_latent(self) -> Tensor:
        """KL of the latent channels of all grids side by side, shape (B, latents)."""
        return torch.cat(self.grids, 1)

    @property
    def grid_kl(self) -> Tensor:
        """KL of each latent grid per pixel, shape (B, grids)."""
        each = zip(self.grids, self.pixels_per_latent, strict=True)
        return torch.stack([grid.sum(1) / pixels for grid, pixels in each], 1)

    @property
    def kl(self) -> Tensor:
        """KL of all latents per pixel of each crop, shape (B,)."""
        return self.grid_kl.sum(1)

    @property
    def loss(self) -> Tensor:
        """Negative evidence lower bound of each crop, shape (B,)."""
        return self.nll + self.kl


def joined(parts: Sequence[Elbo]) -> Elbo:
    """Return the terms of several batches as those of one."""
    grids = zip(*(part.grids for part in parts), strict=True)
    nll = torch.cat([part.nll for part in parts])
    return Elbo(nll, tuple(torch.cat(grid) for grid in grids), parts[0].pixels_per_latent)


def weighted_kl(grid_kl: Tensor, balanced: Tensor) -> Tensor:
    """KL per pixel as training weights it, a scalar.

    Parameters
    ----------
    grid_kl : Tensor, shape (grids,)
        KL of each latent grid per pixel.
    balanced : Tensor, scalar
        1: weigh each latent grid by its own fraction of the KL, which counts as a constant, relative to the mean
        fraction: what carries little costs little (Vahdat and Kautz, "NVAE", NeurIPS 2020, appendix A). With a
        single grid this changes nothing. 0: the sum.
    """
    fractions = grid_kl.detach().clamp_min(1e-6)
    weights = fractions / fractions.mean()
    return (grid_kl * torch.lerp(torch.ones_like(weights), weights, balanced)).sum()


def elbo_terms(
    network: Network,
    noise: NoiseModel,
    x: Tensor,
    normalization: Normalization | DeviceNormalization,
    eps: Sequence[Tensor],
) -> Elbo:
    """Return the terms of the negative evidence lower bound of some crops.

    Prakash et al. (ICLR 2021), equation 7: the negative log-likelihood of the noisy pixels under the
    noise model (in normalized units), and the KL divergence of the latents' posterior to their prior.

    Parameters
    ----------
    network : LatentNet, or the same compiled
        Called with crops and latent noise.
    noise : NoiseModel
        Density of a noisy pixel given the clean one, in intensity units.
    x : Tensor, shape (B, C, *sides)
        Normalized crops.
    normalization : Normalization or DeviceNormalization
        How the crops were normalized.
    eps : sequence of Tensor
        Standard normal noise for the latents of each grid.
    """
    s, means, logvars = network(x, eps)
    log_prob = noise.log_prob(normalization.denormalize(x), normalization.denormalize(s))
    nll = -log_prob.flatten(1).mean(1) - normalization.log_scale()
    spatial = tuple(range(2, x.ndim))
    grids = [kl_to_prior(mean, logvar).mean(dim=spatial) for mean, logvar in zip(means, logvars, strict=True)]
    covered = [x[0].numel() / math.prod(mean.shape[2:]) for mean in means]
    return Elbo(nll, tuple(grids), tuple(covered))


def active_latents(per_latent: Tensor) -> Tensor:
    """Count the latent channels that carry more than a hundredth of a nat a position; from (B, latents), a scalar."""
    return (per_latent.mean(0) > 1e-2).sum()
