"""A ladder of latents: a variational autoencoder whose latents lie on several grids, each half as fine as the last.

Prakash et al., "Interpretable unsupervised diversity denoising and artefact removal", ICLR 2022 (hierarchical
DivNoising); Sonderby et al., "Ladder variational autoencoders", NeurIPS 2016. The coarsest latents have the prior
N(0, 1); the prior of every finer grid is a normal distribution whose mean and variance are computed from the grids
above it.

Of the posterior of a grid the network says how it differs from the prior (Vahdat and Kautz, "NVAE", NeurIPS 2020,
section 3.2): with z = m + s * u and u ~ N(d, exp(l)), where m and s are those of the prior, the Kullback-Leibler
divergence is the one of u to N(0, 1). Unlike the reference there is no normalisation over batch or image, and no
parameter that is tied to the images' size, so that a position depends on a bounded surrounding and tiles are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from divseg.denoise.networks.base import (
    CONVOLUTION,
    LOGVAR_MAX,
    LOGVAR_MIN,
    TRANSPOSED,
    LatentNet,
    NetworkShape,
    Trim,
    check_whole,
    crop,
    initialise_convolutions,
)
from divseg.errors import ConfigError

PRIOR_LOGVAR = 5.0
"""Largest size of a learned prior's log-variance."""


@dataclass(frozen=True)
class LadderConfig(NetworkShape):
    """NetworkShape of the ladder; the defaults are small enough for a CPU (latents of 2, 4 and 8 pixels)."""

    kind: ClassVar[str] = "ladder"

    finest: int = 1
    """Halvings from the image to the finest latent grid."""
    latents: tuple[int, ...] = (8, 16, 16)
    """Latent channels of each grid, finest first; every grid is half as fine as the one before."""
    filters: int = 16
    """Feature channels at full resolution; doubled at every halving down to the finest latent grid."""
    width: int = 24
    """Feature channels on the latent grids."""
    channels: int = 1
    """Channels of the images."""
    dims: int = 2
    """Spatial axes: 2 for images (Y, X) with kernels of 3x3, 3 for volumes (Z, Y, X) with 3x3x3."""

    def __post_init__(self) -> None:
        limits = {"finest": (1, 4), "filters": (1, 512), "width": (1, 1024), "channels": (1, 64), "dims": (2, 3)}
        for name, (low, high) in limits.items():
            check_whole(name, getattr(self, name), low, high)
        object.__setattr__(self, "latents", tuple(self.latents))  # JSON has lists
        if not 1 <= len(self.latents) <= 6:
            raise ConfigError(f"network latents={self.latents}: a ladder has 1 to 6 grids")
        for count in self.latents:
            check_whole("latents", count, 1, 1024)

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels that a position covers along each axis, for each latent grid, finest first."""
        return tuple(2 ** (self.finest + level) for level in range(len(self.latents)))

    @property
    def latent_channels(self) -> tuple[int, ...]:
        """Channels of the latents on each grid, finest first."""
        return self.latents

    @property
    def shared_channels(self) -> tuple[int, ...]:
        """Channels of what all samples share, on each grid, finest first."""
        return (self.width,) * len(self.latents)

    @property
    def smallest_side(self) -> int:
        """Pixels that an image must have along Y and X: two positions of the coarsest grid."""
        return 2 * self.stride

    @property
    def encoder_halo(self) -> int:
        """Pixels around a tile that its encoding depends on, rounded up to whole positions of the coarsest grid.

        Walks from the coarsest grid back to the pixels: every grid has a residual block of two convolutions, the
        coarsest one more towards the latents; every halving doubles the reach.
        """
        reach = 1
        for _ in self.latents[1:]:
            reach = 2 * (reach + 2)
        reach += 2
        for _ in range(self.finest):
            reach = 2 * reach + 2
        return -(-reach // self.stride) * self.stride

    @property
    def decoder_halos(self) -> tuple[int, ...]:
        """Positions around a tile that its pixels depend on, on each grid, finest first.

        From the pixels back to the coarsest grid: the last convolution, two at every halving down to the finest grid,
        and on each grid four (two of the residual block, one from the latents, one from the features above to prior
        and posterior), of which the coarsest lacks the last.
        """
        reach = 1
        for _ in range(self.finest - 1):
            reach = -(-reach // 2) + 2
        reach = -(-reach // 2)
        out: list[int] = []
        for level in range(len(self.latents)):
            top = level == len(self.latents) - 1
            reach = -(-out[-1] // 2) if out else reach
            reach += 3 if top else 4
            out.append(reach if top else reach + reach % 2)
        return tuple(out)


class _Layers:
    """The layers of a ladder, in two or three dimensions."""

    def __init__(self, dims: int) -> None:
        self.dims = dims

    def conv(self, channels_in: int, channels: int, side: int = 3) -> nn.Conv2d | nn.Conv3d:
        return CONVOLUTION[self.dims](channels_in, channels, side, padding=side // 2)

    def up(self, channels_in: int, channels: int) -> nn.ConvTranspose2d | nn.ConvTranspose3d:
        return TRANSPOSED[self.dims](channels_in, channels, 2, stride=2)

    def plain(self, channels_in: int, channels: int) -> nn.Sequential:
        """Two convolutions with ReLU."""
        return nn.Sequential(self.conv(channels_in, channels), nn.ReLU(), self.conv(channels, channels), nn.ReLU())


class _Residual(nn.Module):
    """Two convolutions whose result is added to what comes in."""

    def __init__(self, channels: int, layers: _Layers) -> None:
        super().__init__()
        self.conv1, self.conv2 = layers.conv(channels, channels), layers.conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(torch.relu(self.conv1(torch.relu(x))))
        return out


class _Stochastic(nn.Module):
    """One grid: its prior from the features above, its posterior, and what its latents add to the features."""

    def __init__(self, config: LadderConfig, level: int, layers: _Layers) -> None:
        super().__init__()
        width, latents = config.width, config.latents[level]
        self.top = level == len(config.latents) - 1
        self.from_image = layers.conv(width, width)
        self.posterior = layers.conv(width, 2 * latents, 1)
        self.from_latents = layers.conv(latents, width)
        self.block = _Residual(width, layers)
        if not self.top:
            self.from_above = layers.conv(width, width)
            self.prior = layers.conv(width, 2 * latents)

    def forward(self, image: Tensor, above: Tensor | None, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features for the next grid, and mean and log-variance of the posterior relative to the prior.

        `image` is what :attr:`from_image` made of the image's features: the same for all samples.
        """
        if above is None:
            merged = image
        else:
            active = torch.relu(above)
            merged = image + self.from_above(active)
        mean, logvar = self.posterior(torch.relu(merged)).float().chunk(2, 1)
        logvar = logvar.clamp(LOGVAR_MIN, LOGVAR_MAX)
        z = mean + torch.exp(0.5 * logvar) * eps
        if above is None:
            return self.block(self.from_latents(z)), mean, logvar
        prior_mean, prior_logvar = self.prior(active).float().chunk(2, 1)
        z = prior_mean + torch.exp(0.5 * prior_logvar.clamp(-PRIOR_LOGVAR, PRIOR_LOGVAR)) * z
        return self.block(above + self.from_latents(z)), mean, logvar


class LadderNet(LatentNet):
    """A ladder of latent grids; images are normalised, their sides multiples of ``config.stride``.

    Parameters
    ----------
    config : LadderConfig
    """

    config: LadderConfig

    def __init__(self, config: LadderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LadderConfig()
        layers = _Layers(config.dims)
        widths = [config.filters * 2**i for i in range(config.finest)]
        count = len(config.latents)
        self.stem = nn.ModuleList(layers.plain(a, b) for a, b in pairwise([config.channels, *widths]))
        self.enter = layers.conv(widths[-1], config.width, 1) if widths[-1] != config.width else nn.Identity()
        self.bottom_up = nn.ModuleList(_Residual(config.width, layers) for _ in range(count))
        grids = nn.ModuleList(_Stochastic(config, i, layers) for i in range(count))
        self.levels = cast(Sequence[_Stochastic], grids)
        self.widen = nn.ModuleList(layers.up(config.width, config.width) for _ in range(count - 1))
        self.leave = layers.up(config.width, config.width)
        rising = [config.width, *reversed(widths[:-1])]
        self.head = nn.ModuleList(layers.plain(a, b) for a, b in pairwise(rising))
        self.head_up = nn.ModuleList(layers.up(b, b) for b in rising[1:])
        self.recon = layers.conv(rising[-1], config.channels)

    def initialise(self, logvar: float = -4.0, gain: float = 0.1) -> None:
        """Draw weights as for the flat network: signals keep their size, the posterior starts narrow."""
        initialise_convolutions(self)
        with torch.no_grad():
            self.recon.weight.mul_(0.5**0.5)
            for module in self.modules():
                if isinstance(module, _Residual):
                    module.conv2.weight.mul_(0.5)
            for level, latents in zip(self.levels, self.config.latents, strict=True):
                level.posterior.weight[:latents].mul_(0.5**0.5)
                level.posterior.weight[latents:].mul_(gain)
                level.posterior.bias[latents:].fill_(logvar)  # type: ignore[index]
                level.from_latents.weight.mul_(0.5**0.5)
                if not level.top:
                    level.prior.weight.mul_(gain)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return what each grid needs of the image, (B, width, *grid), finest first."""
        pool = nn.functional.max_pool2d if self.config.dims == 2 else nn.functional.max_pool3d
        for block in self.stem:
            x = pool(block(x), 2)
        x = self.enter(x)
        out = []
        for i, (block, level) in enumerate(zip(self.bottom_up, self.levels, strict=True)):
            x = block(pool(x, 2) if i else x)
            out.append(level.from_image(torch.relu(x)))
        return out

    def latents(
        self, shared: Sequence[Tensor], eps: Sequence[Tensor], trims: Sequence[Trim] | None = None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Draw latents from the coarsest grid down to the finest; see :meth:`LatentNet.latents`."""
        features: Tensor | None = None
        means: list[Tensor] = []
        logvars: list[Tensor] = []
        for i in reversed(range(len(self.levels))):
            features, mean, logvar = self.levels[i](shared[i], features, eps[i])
            means.insert(0, mean)
            logvars.insert(0, logvar)
            if i:
                if trims is not None:
                    features = crop(features, trims[i - 1])
                features = self.widen[i - 1](features)
        assert features is not None  # there is at least one grid
        return features, means, logvars

    def render(self, features: Tensor) -> Tensor:
        """Return normalised images from the features of the finest grid; the last convolution is float32."""
        x = self.leave(torch.relu(features))
        for block, up in zip(self.head, self.head_up, strict=True):
            x = up(block(x))
        with torch.autocast(x.device.type, enabled=False):
            s: Tensor = self.recon(x.to(self.recon.weight.dtype))
        return s
