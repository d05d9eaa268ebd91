"""The hierarchical network: a variational autoencoder with latents on several grids, each half as fine as the last.

Prakash et al., "Interpretable unsupervised diversity denoising and artefact removal", ICLR 2022 (hierarchical
DivNoising); Sonderby et al., "Ladder variational autoencoders", NeurIPS 2016. The coarsest latents have the prior
N(0, 1); the prior of every finer grid is a normal distribution whose mean and variance are computed from the grids
above it.

The posterior of a grid is described relative to its prior (Vahdat and Kautz, "NVAE", NeurIPS 2020, section 3.2): with
z = m + s * u and u ~ N(d, exp(l)), where m and s are those of the prior, the Kullback-Leibler divergence is that of u
to N(0, 1). Unlike the reference there is no normalization over batch or image, and no parameter that is tied to the
images' size, so that a position depends on a bounded surrounding and tiles are exact.
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
    UPSAMPLING,
    LatentNet,
    Trim,
    VAEConfig,
    crop,
    initialize_convolutions,
    setting,
)
from divseg.denoise.networks.last_layers import Transposed, upsampled_convolution
from divseg.errors import ConfigError
from divseg.specs import Number, Numbers

PRIOR_LOGVAR = 5.0
"""Largest size of a learned prior's log-variance."""


@dataclass(frozen=True)
class HierarchicalConfig(VAEConfig):
    """Settings of the hierarchical network; the defaults are small enough for a CPU (latents of 2, 4 and 8 pixels)."""

    kind: ClassVar[str] = "hierarchical"

    finest: int = setting(1, Number(1, 4, whole=True), "halvings from the image to the finest latent grid")
    latents: tuple[int, ...] = setting(
        (8, 16, 16), Numbers(1), "latent channels of each grid, finest first; each grid is half as fine as the last"
    )
    filters: int = setting(
        16, Number(1, 512, whole=True), "feature channels at full resolution; doubled at every halving"
    )
    width: int = setting(24, Number(1, 1024, whole=True), "feature channels on the latent grids")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.latents) > 6 or max(self.latents) > 1024:
            raise ConfigError(f"{self.kind} network: latents={self.latents} must be 1 to 6 numbers of at most 1024")

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels that a position covers along each axis, for each latent grid, finest first."""
        return tuple(2 ** (self.finest + level) for level in range(len(self.latents)))

    @property
    def latent_channels(self) -> tuple[int, ...]:
        """Channels of the latents on each grid, finest first."""
        return self.latents

    @property
    def encoder_channels(self) -> tuple[int, ...]:
        """Channels of the encoder's features on each grid, finest first."""
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

    @property
    def decoder_numbers(self) -> float:
        """Numbers a pixel of the decoder's widest feature map, at half the resolution."""
        widest = self.width if self.finest < 3 else 2 * self.filters
        return max(widest, self.filters) / 2**self.dims


class _Layers:
    """Layers in two or three dimensions."""

    def __init__(self, dims: int) -> None:
        self.dims = dims

    def conv(self, channels_in: int, channels: int, side: int = 3) -> nn.Conv2d | nn.Conv3d:
        return CONVOLUTION[self.dims](channels_in, channels, side, padding=side // 2)

    def up(self, channels_in: int, channels: int) -> Transposed:
        return UPSAMPLING[self.dims](channels_in, channels)

    def double(self, channels_in: int, channels: int) -> nn.Sequential:
        """Two convolutions with ReLU."""
        return nn.Sequential(self.conv(channels_in, channels), nn.ReLU(), self.conv(channels, channels), nn.ReLU())


class _Residual(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, channels: int, layers: _Layers) -> None:
        super().__init__()
        self.conv1, self.conv2 = layers.conv(channels, channels), layers.conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(torch.relu(self.conv1(torch.relu(x))))
        return out


class _Stochastic(nn.Module):
    """One grid: its prior from the features above, its posterior, and what its latents add to the features."""

    def __init__(self, config: HierarchicalConfig, level: int, layers: _Layers) -> None:
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


class HierarchicalNet(LatentNet):
    """A hierarchy of latent grids; images are normalized, their sides multiples of ``config.stride``.

    Parameters
    ----------
    config : HierarchicalConfig, optional
        Grids and widths; the defaults of :class:`HierarchicalConfig`.
    """

    config: HierarchicalConfig

    def __init__(self, config: HierarchicalConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HierarchicalConfig()
        layers = _Layers(config.dims)
        widths = [config.filters * 2**i for i in range(config.finest)]
        count = len(config.latents)
        self.image_blocks = nn.ModuleList(layers.double(a, b) for a, b in pairwise([config.channels, *widths]))
        self.to_latent = layers.conv(widths[-1], config.width, 1) if widths[-1] != config.width else nn.Identity()
        self.bottom_up = nn.ModuleList(_Residual(config.width, layers) for _ in range(count))
        grids = nn.ModuleList(_Stochastic(config, i, layers) for i in range(count))
        self.levels = cast(Sequence[_Stochastic], grids)
        self.upsample = nn.ModuleList(layers.up(config.width, config.width) for _ in range(count - 1))
        self.from_latent = layers.up(config.width, config.width)
        rising = [config.width, *reversed(widths[:-1])]
        self.decoder_blocks = nn.ModuleList(layers.double(a, b) for a, b in pairwise(rising))
        rises = nn.ModuleList(layers.up(b, b) for b in rising[1:])
        self.decoder_upsample = cast(Sequence[Transposed], rises)
        self.to_image = layers.conv(rising[-1], config.channels)

    def initialize(self, logvar: float = -4.0, gain: float = 0.1) -> None:
        """Draw weights so that signals keep their size and the posterior starts narrow.

        Images start near their mean, and posteriors near their priors' mean. Where they start with structure of their
        own, which the first steps have to take away, one training in four never uses its coarse grids again.
        """
        initialize_convolutions(self)
        with torch.no_grad():
            self.to_image.weight.mul_(gain * 0.5**0.5)
            for module in self.modules():
                if isinstance(module, _Residual):
                    module.conv2.weight.mul_(0.5)
            for level, latents in zip(self.levels, self.config.latents, strict=True):
                level.posterior.weight[:latents].mul_(gain * 0.5**0.5)
                level.posterior.weight[latents:].mul_(gain)
                level.posterior.bias[latents:].fill_(logvar)  # type: ignore[index]
                level.from_latents.weight.mul_(0.5**0.5)
                if not level.top:
                    level.prior.weight.mul_(gain)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of each grid, (B, width, *grid), finest first."""
        pool = nn.functional.max_pool2d if self.config.dims == 2 else nn.functional.max_pool3d
        for block in self.image_blocks:
            x = pool(block(x), 2)
        x = self.to_latent(x)
        out = []
        for i, (block, level) in enumerate(zip(self.bottom_up, self.levels, strict=True)):
            x = block(pool(x, 2) if i else x)
            out.append(level.from_image(torch.relu(x)))
        return out

    def latents(
        self, encoder_features: Sequence[Tensor], eps: Sequence[Tensor], trims: Sequence[Trim] | None = None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Draw latents from the coarsest grid down to the finest; see :meth:`LatentNet.latents`."""
        features: Tensor | None = None
        means: list[Tensor] = []
        logvars: list[Tensor] = []
        for i in reversed(range(len(self.levels))):
            features, mean, logvar = self.levels[i](encoder_features[i], features, eps[i])
            means.insert(0, mean)
            logvars.insert(0, logvar)
            if i:
                if trims is not None:
                    features = crop(features, trims[i - 1])
                features = self.upsample[i - 1](features)
        assert features is not None  # there is at least one grid
        return features, means, logvars

    def decode(self, features: Tensor) -> Tensor:
        """Return normalized images from the features of the finest grid; the last layers are float32."""
        x, up = torch.relu(features), self.from_latent
        for block, following in zip(self.decoder_blocks, self.decoder_upsample, strict=True):
            x, up = block(up(x)), following
        return upsampled_convolution(x, up, self.to_image)
