"""The evidence lower bound that is trained on, term by term."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from divseg.denoise.networks.base import kl_to_prior
from divseg.denoise.noise import NoiseModel
from divseg.denoise.normalization import Normalization

Network = Callable[[Tensor, Sequence[Tensor]], tuple[Tensor, list[Tensor], list[Tensor]]]


@dataclass(frozen=True)
class Elbo:
    """Terms of the negative evidence lower bound, in nats per pixel of every channel.

    `nll` and `kl` have shape (B,), one number a crop; `per_latent` has shape (B, latents), the channels of all latent
    grids side by side, and is the KL divergence of a latent channel, averaged over its positions, in nats.
    `pixels_per_latent` has shape (latents,): pixels of all channels that a position covers.
    """

    nll: Tensor
    kl: Tensor
    per_latent: Tensor
    pixels_per_latent: Tensor

    @property
    def loss(self) -> Tensor:
        """Negative evidence lower bound of each crop, shape (B,)."""
        return self.nll + self.kl

    def weighted_kl(self, *, balanced: bool = False) -> Tensor:
        """KL per pixel as training weights it, a scalar; the mean of `kl` if it is not balanced.

        Parameters
        ----------
        balanced : bool
            Weigh each latent grid by its own fraction of the KL, which counts as a constant, relative to the mean
            fraction: what carries little costs little (Vahdat and Kautz, "NVAE", NeurIPS 2020, appendix A). With a
            single grid this changes nothing.
        """
        per_pixel = self.per_latent.mean(0) / self.pixels_per_latent
        if not balanced:
            return per_pixel.sum()
        areas = self.pixels_per_latent.unique()
        grids = torch.stack([per_pixel[self.pixels_per_latent == area].sum() for area in areas])
        fractions = grids.detach().clamp_min(1e-6)
        return (grids * fractions / fractions.mean()).sum()


def elbo_terms(
    network: Network, noise: NoiseModel, x: Tensor, normalization: Normalization, eps: Sequence[Tensor]
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
    normalization : Normalization
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
    pixels = torch.cat([grid.new_full((grid.shape[1],), area) for grid, area in zip(grids, covered, strict=True)])
    per_latent = torch.cat(grids, 1)
    return Elbo(nll, (per_latent / pixels).sum(1), per_latent, pixels)


def active_latents(per_latent: Tensor) -> int:
    """Count the latent channels that carry more than a hundredth of a nat a position; from (B, latents)."""
    return int((per_latent.mean(0) > 1e-2).sum())
