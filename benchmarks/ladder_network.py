"""A ladder variational autoencoder in the manner of HDN, small enough for a CPU, as an experiment.

Prakash et al., "Interpretable unsupervised diversity denoising and artefact removal", ICLR 2022; Sonderby et al.,
"Ladder variational autoencoders", NeurIPS 2016. Latents lie on several grids. The coarsest has the prior N(0, 1); the
prior of every finer one is a normal distribution whose mean and variance are computed from the levels above it.

Of the posterior of a level the network says how it differs from the prior (Vahdat and Kautz, "NVAE", NeurIPS 2020,
section 3.2): with z = m + s * u and u ~ N(d, exp(l)), where m and s are those of the prior, the Kullback-Leibler
divergence is the one of u to N(0, 1). There is no normalisation over batch or image, and no parameter that is tied to
the images' size, so that a position depends on a bounded surrounding.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from divseg.denoise.network import LOGVAR_MAX, LOGVAR_MIN

PRIOR_LOGVAR = 5.0
"""Largest size of a learned prior's log-variance."""


@dataclass(frozen=True)
class LadderConfig:
    """Shape of the network."""

    finest: int = 2
    """Halvings from the image to the finest latent grid."""
    latents: tuple[int, ...] = (32, 32, 32)
    """Latent channels of each level, finest first; every level is half as fine as the one before."""
    filters: int = 32
    """Channels at full resolution; doubled at every halving down to the finest latent grid."""
    width: int = 64
    """Channels of the deterministic features on the latent grids."""
    channels: int = 1

    @property
    def stride(self) -> int:
        """Pixels that a position of the coarsest grid covers along each axis."""
        return 2 ** (self.finest + len(self.latents) - 1)

    @property
    def strides(self) -> list[int]:
        """Pixels that a position covers, level by level, finest first."""
        return [2 ** (self.finest + i) for i in range(len(self.latents))]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain numbers."""
        return {"kind": "ladder", **asdict(self)}


def _conv(channels_in: int, channels: int, side: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, side, padding=side // 2)


def _up(channels_in: int, channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels_in, channels, 2, stride=2)


class _Residual(nn.Module):
    """Two convolutions whose result is added to what comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(channels, channels), _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(torch.relu(x))))


class _Plain(nn.Sequential):
    """Two convolutions with ReLU."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(_conv(channels_in, channels), nn.ReLU(), _conv(channels, channels), nn.ReLU())


class _Stochastic(nn.Module):
    """One level: its prior from the features above, its posterior, and what its latents add to the features."""

    def __init__(self, width: int, latents: int, *, top: bool) -> None:
        super().__init__()
        self.top = top
        self.from_image = _conv(width, width)
        self.posterior = _conv(width, 2 * latents, 1)
        self.from_latents = _conv(latents, width)
        self.block = _Residual(width)
        if not top:
            self.from_above = _conv(width, width)
            self.prior = _conv(width, 2 * latents)

    def forward(self, image: Tensor, above: Tensor | None, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features for the next level, and mean and log-variance of the posterior relative to the prior.

        `image` is what :attr:`from_image` made of the image's features: the same for all samples.
        """
        if self.top or above is None:
            merged = image
        else:
            active = torch.relu(above)
            merged = image + self.from_above(active)
        mean, logvar = self.posterior(torch.relu(merged)).float().chunk(2, 1)
        logvar = logvar.clamp(LOGVAR_MIN, LOGVAR_MAX)
        z = mean + torch.exp(0.5 * logvar) * eps
        if self.top or above is None:
            return self.block(self.from_latents(z)), mean, logvar
        prior_mean, prior_logvar = self.prior(active).float().chunk(2, 1)
        z = prior_mean + torch.exp(0.5 * prior_logvar.clamp(-PRIOR_LOGVAR, PRIOR_LOGVAR)) * z
        return self.block(above + self.from_latents(z)), mean, logvar


class LadderNet(nn.Module):
    """A ladder of latent grids; images are normalised, their sides multiples of ``config.stride``.

    Parameters
    ----------
    config : LadderConfig
    """

    def __init__(self, config: LadderConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.filters * 2**i for i in range(config.finest)]
        self.stem = nn.ModuleList(_Plain(a, b) for a, b in pairwise([config.channels, *widths]))
        self.enter = _conv(widths[-1], config.width, 1) if widths[-1] != config.width else nn.Identity()
        count = len(config.latents)
        self.bottom_up = nn.ModuleList(_Residual(config.width) for _ in range(count))
        self.levels = nn.ModuleList(
            _Stochastic(config.width, latents, top=i == count - 1) for i, latents in enumerate(config.latents)
        )
        self.widen = nn.ModuleList(_up(config.width, config.width) for _ in range(count - 1))
        self.leave = _up(config.width, config.width)
        rising = [config.width, *reversed(widths[:-1])]
        self.head = nn.ModuleList(_Plain(a, b) for a, b in pairwise(rising))
        self.head_up = nn.ModuleList(_up(b, b) for b in rising[1:])
        self.recon = _conv(rising[-1], config.channels)

    def initialise(self, logvar: float = -4.0, gain: float = 0.1) -> None:
        """Draw weights as the flat network does: He initialisation, zero biases, a narrow posterior."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=module.in_channels**-0.5)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.recon.weight.mul_(0.5**0.5)
            for module in self.modules():
                if isinstance(module, _Residual):
                    module.conv2.weight.mul_(0.5)
            for level, latents in zip(self.levels, self.config.latents, strict=True):
                level.posterior.weight[:latents].mul_(0.5**0.5)
                level.posterior.weight[latents:].mul_(gain)
                level.posterior.bias[latents:].fill_(logvar)
                level.from_latents.weight.mul_(0.5**0.5)
                if not level.top:
                    level.prior.weight.mul_(gain)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return what each level needs of the image, finest first: the part that all samples share."""
        for block in self.stem:
            x = nn.functional.max_pool2d(block(x), 2)
        x = self.enter(x)
        out = []
        for i, (block, level) in enumerate(zip(self.bottom_up, self.levels, strict=True)):
            x = block(nn.functional.max_pool2d(x, 2) if i else x)
            out.append(level.from_image(torch.relu(x)))
        return out

    def decode(self, encoded: list[Tensor], eps: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Draw latents from the coarsest level down to the finest, and the image that goes with them.

        Parameters
        ----------
        encoded : list of Tensor, each (B, width, grid)
            From :meth:`encode`.
        eps : list of Tensor, each (B, latents, grid)
            Standard normal noise of each level, finest first.

        Returns
        -------
        s : Tensor
            Normalised clean images.
        means, logvars : list of Tensor
            Posterior of each level relative to its prior, finest first.
        """
        features, means, logvars = None, [], []
        for i in reversed(range(len(self.levels))):
            features, mean, logvar = self.levels[i](encoded[i], features, eps[i])
            means.insert(0, mean)
            logvars.insert(0, logvar)
            if i:
                features = self.widen[i - 1](features)
        x = self.leave(torch.relu(features))
        for block, up in zip(self.head, self.head_up, strict=True):
            x = up(block(x))
        with torch.autocast(x.device.type, enabled=False):
            return self.recon(x.to(self.recon.weight.dtype)), means, logvars

    def noise_shapes(self, sides: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shape of each level's noise for images of these sides, finest first."""
        return [
            (latents, *(side // stride for side in sides))
            for latents, stride in zip(self.config.latents, self.config.strides, strict=True)
        ]
