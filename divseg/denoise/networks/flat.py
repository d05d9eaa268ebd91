"""The network of DivNoising: a fully convolutional variational autoencoder with one latent level."""

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
    initialize_convolutions,
    setting,
)
from divseg.denoise.networks.last_layers import upsampled_convolution
from divseg.specs import Number


@dataclass(frozen=True)
class FlatConfig(VAEConfig):
    """Settings of the flat network; the defaults are those of the reference implementation (261,281 parameters)."""

    kind: ClassVar[str] = "flat"

    depth: int = setting(2, Number(1, 5, whole=True), "halvings of the image on the way to the latent grid")
    filters: int = setting(32, Number(1, 512, whole=True), "feature channels at full resolution; doubled at each level")
    latents: int = setting(64, Number(1, 1024, whole=True), "channels of the latent grid")
    convs: int = setting(2, Number(2, 3, whole=True), "convolutions a level")

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels a latent position covers along each axis, 2**depth: there is one grid."""
        return (2**self.depth,)

    @property
    def latent_channels(self) -> tuple[int, ...]:
        """Channels of the latents."""
        return (self.latents,)

    @property
    def encoder_channels(self) -> tuple[int, ...]:
        """Channels of mean and log-variance of the latents, side by side."""
        return (2 * self.latents,)

    @property
    def smallest_side(self) -> int:
        """Pixels that an image must have along Y and X: four latent positions."""
        return 4 * self.stride

    @property
    def encoder_halo(self) -> int:
        """Pixels around a tile that its latents depend on, rounded up to whole latent positions.

        Walks from the latent grid back to the pixels: the latent convolution reaches one position, every
        pooling doubles the reach and adds the pooled partner, every convolution adds one pixel. The same
        along every axis.
        """
        reach = 1
        for _ in range(self.depth):
            reach = 2 * reach + self.convs
        return -(-reach // self.stride) * self.stride

    @property
    def decoder_halos(self) -> tuple[int, ...]:
        """Latent positions around a tile that its pixels depend on, along each axis."""
        reach = 1  # the last convolution, in pixels of the level at hand
        for _ in range(self.depth):
            reach = -(-reach // 2) + self.convs
        return (reach,)

    @property
    def decoder_numbers(self) -> float:
        """Numbers a pixel of the decoder's widest feature map: where the last level begins, at half the resolution."""
        widest = 2 * self.filters if self.depth > 1 else max(self.latents, self.filters)
        return widest / 2**self.dims


class _Level(nn.Module):
    """Two or three convolutions with ReLU, named as in the reference implementation."""

    def __init__(self, channels_in: int, channels: int, config: FlatConfig) -> None:
        super().__init__()
        conv = CONVOLUTION[config.dims]
        self.conv1 = conv(channels_in, channels, 3, padding=1)
        self.conv2 = conv(channels, channels, 3, padding=1)
        if config.convs == 3:
            self.conv3 = conv(channels, channels, 3, padding=1)
        self.convs, self.dims = config.convs, config.dims

    def features(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.conv1(x))
        x = torch.relu_(self.conv2(x))
        return torch.relu_(self.conv3(x)) if self.convs == 3 else x


class _Down(_Level):
    def forward(self, x: Tensor) -> Tensor:
        pool = nn.functional.max_pool2d if self.dims == 2 else nn.functional.max_pool3d
        return pool(self.features(x), 2)


class _Up(_Level):
    def __init__(self, channels_in: int, channels: int, config: FlatConfig) -> None:
        super().__init__(channels_in, channels, config)
        self.convtranspose = UPSAMPLING[config.dims](channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.convtranspose(self.features(x))


class Encoder(nn.Module):
    """Image (B, C, (Z), Y, X) to mean and log-variance of the latents, each (B, latents, grid)."""

    def __init__(self, config: FlatConfig) -> None:
        super().__init__()
        conv = CONVOLUTION[config.dims]
        widths = [config.channels, *(config.filters * 2**i for i in range(config.depth))]
        self.down_convs = nn.ModuleList(_Down(a, b, config) for a, b in pairwise(widths))
        self.convmu = conv(widths[-1], config.latents, 3, padding=1)
        self.convlogvar = conv(widths[-1], config.latents, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode normalized images; the log-variance is float32 and clamped."""
        for down in self.down_convs:
            x = down(x)
        return self.convmu(x), self.convlogvar(x).float().clamp(LOGVAR_MIN, LOGVAR_MAX)


class Decoder(nn.Module):
    """Latents (B, latents, grid) to a clean image (B, C, (Z), Y, X)."""

    def __init__(self, config: FlatConfig) -> None:
        super().__init__()
        widths = [config.latents, *(config.filters * 2**i for i in reversed(range(config.depth)))]
        ups = nn.ModuleList(_Up(a, b, config) for a, b in pairwise(widths))
        self.up_convs = cast(Sequence[_Up], ups)
        self.convrecon = CONVOLUTION[config.dims](widths[-1], config.channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latents into normalized images; the last layers are float32 under autocast too."""
        *first, last = self.up_convs
        for up in first:
            z = up(z)
        return upsampled_convolution(last.features(z), last.convtranspose, self.convrecon)


class FlatNet(LatentNet):
    """One-level convolutional VAE of DivNoising (Prakash et al., ICLR 2021, section 3).

    Works on images normalized by the training data's mean and standard deviation, channel by channel.
    Every side must be a multiple of ``config.stride``. Parameter names follow the reference
    implementation, so its state dicts load.

    Parameters
    ----------
    config : FlatConfig
        Depth, width and latents.
    """

    config: FlatConfig

    def __init__(self, config: FlatConfig | None = None) -> None:
        super().__init__()
        self.config = config or FlatConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    def initialize(self, logvar: float = -4.0, gain: float = 0.1) -> None:
        """Draw weights that keep signals alive through the depth, and a narrow posterior.

        With a posterior as wide as the prior the latents are mostly noise at first, the decoder learns to
        ignore them and the posterior collapses onto the prior; it therefore starts narrow.
        """
        initialize_convolutions(self)
        with torch.no_grad():
            self.encoder.convmu.weight.mul_(0.5**0.5)  # linear, so unit gain
            self.decoder.convrecon.weight.mul_(0.5**0.5)
            self.encoder.convlogvar.weight.mul_(gain)
            for parameter in self.encoder.convlogvar.parameters():
                if parameter.ndim == 1:
                    parameter.fill_(logvar)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return mean and log-variance of the latents side by side: one Tensor (B, 2 * latents, *grid)."""
        mu, logvar = self.encoder(x)
        return [torch.cat([mu.float(), logvar], 1)]

    def latents(
        self, encoder_features: Sequence[Tensor], eps: Sequence[Tensor], trims: Sequence[Trim] | None = None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Draw latents; see :meth:`LatentNet.latents`."""
        mu, logvar = encoder_features[0].chunk(2, 1)
        return torch.addcmul(mu, torch.exp(0.5 * logvar), eps[0]), [mu], [logvar]

    def decode(self, features: Tensor) -> Tensor:
        """Decode latents into normalized images."""
        s: Tensor = self.decoder(features)
        return s
