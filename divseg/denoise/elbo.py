"""The evidence lower bound that is trained on, term by term."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from divseg.denoise.intensity import Intensity
from divseg.denoise.network import kl_to_prior
from divseg.denoise.noise import NoiseModel

Network = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Elbo:
    """Terms of the negative evidence lower bound, in nats per pixel of every channel.

    `nll` and `kl` have shape (B,), one number a crop; `per_latent` has shape (B, latents) and is the KL
    divergence of a latent channel, averaged over its positions, in nats.
    """

    nll: Tensor
    kl: Tensor
    per_latent: Tensor
    pixels_per_latent: float

    @property
    def loss(self) -> Tensor:
        """Negative evidence lower bound of each crop, shape (B,)."""
        return self.nll + self.kl

    def floored_kl(self, free_bits: float) -> Tensor:
        """KL per pixel with a floor of `free_bits` nats for every latent channel, a scalar.

        Kingma et al., "Improved variational inference with inverse autoregressive flow", NeurIPS 2016,
        equation 15, with the channels of the latent grid as groups.
        """
        if free_bits <= 0:
            return self.kl.mean()
        return self.per_latent.mean(0).clamp_min(free_bits).sum() / self.pixels_per_latent


def elbo_terms(network: Network, noise: NoiseModel, x: Tensor, intensity: Intensity, eps: Tensor | None = None) -> Elbo:
    """Return the terms of the negative evidence lower bound of some crops.

    Prakash et al. (ICLR 2021), equation 7: the negative log-likelihood of the noisy pixels under the
    noise model (in normalised units), and the KL divergence of the latents' posterior to their prior.

    Parameters
    ----------
    network : DivNoisingNet, or the same compiled
    noise : NoiseModel
        Works in intensity units.
    x : Tensor, shape (B, C, *sides)
        Normalised crops.
    intensity : Intensity
        Normalisation of the crops.
    eps : Tensor, optional
        Noise of the latents.
    """
    s, mu, logvar = network(x, eps)
    log_prob = noise.log_prob(intensity.restore(x), intensity.restore(s))
    shift = sum(map(math.log, intensity.sd)) / len(intensity.sd)
    nll = -log_prob.flatten(1).mean(1) - shift
    per_latent = kl_to_prior(mu, logvar).mean(dim=tuple(range(2, mu.ndim)))
    pixels_per_latent = x[0].numel() / math.prod(mu.shape[2:])
    return Elbo(nll, per_latent.sum(1) / pixels_per_latent, per_latent, pixels_per_latent)


def active_latents(per_latent: Tensor) -> int:
    """Count the latent channels that carry more than a hundredth of a nat a position; from (B, latents)."""
    return int((per_latent.mean(0) > 1e-2).sum())
