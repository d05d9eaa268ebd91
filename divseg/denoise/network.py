"""The network of DivNoising: a fully convolutional variational autoencoder with one latent level."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from divseg.errors import ConfigError

LOGVAR_MIN, LOGVAR_MAX = -14.0, 6.0
"""Bounds of the posterior's log-variance: outside, exp() drowns or blows up in half precision."""


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; the defaults are those of the reference implementation (261,281 parameters)."""

    depth: int = 2
    """Number of times the image is halved on the way to the latent grid."""
    filters: int = 32
    """Feature channels at full resolution; doubled at every level."""
    latents: int = 64
    """Channels of the latent grid."""
    convs: int = 2
    """Convolutions a level, 2 or 3."""
    channels: int = 1
    """Channels of the images."""
    dims: int = 2
    """Spatial axes: 2 for images (Y, X) with kernels of 3x3, 3 for volumes (Z, Y, X) with 3x3x3."""

    def __post_init__(self) -> None:
        limits = {
            "depth": (1, 5),
            "filters": (1, 512),
            "latents": (1, 1024),
            "convs": (2, 3),
            "channels": (1, 64),
            "dims": (2, 3),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"network {name}={value!r} must be a whole number from {low} to {high}")

    @property
    def stride(self) -> int:
        """Pixels a latent position covers along each axis, 2**depth."""
        return 2**self.depth

    @property
    def smallest_side(self) -> int:
        """Pixels that an image must have along Y and X: four latent positions."""
        return 4 * self.stride

    @property
    def smallest_shape(self) -> tuple[int, ...]:
        """Pixels that an image must have along each spatial axis; volumes may be one latent position thin."""
        return (self.stride,) * (self.dims - 2) + (self.smallest_side,) * 2

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
    def decoder_halo(self) -> int:
        """Latent positions around a tile that its pixels depend on, along each axis."""
        reach = 1  # the last convolution, in pixels of the level at hand
        for _ in range(self.depth):
            reach = -(-reach // 2) + self.convs
        return reach

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain numbers."""
        return {"kind": "divnoising", **asdict(self)}

    @classmethod
    def parse(cls, text: str) -> NetworkConfig:
        """Read settings such as ``"depth=3,filters=16"``; what is not named keeps its default.

        Raises
        ------
        ConfigError
            An unknown name, or a value that is no whole number or out of range.
        """
        given: dict[str, int] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = (word.strip() for word in pair.partition("="))
            if name not in ("depth", "filters", "latents", "convs"):
                raise ConfigError(f"network {pair!r}: write NAME=NUMBER with depth, filters, latents or convs")
            try:
                given[name] = int(value)
            except ValueError:
                raise ConfigError(f"network {pair!r}: {value!r} is no whole number") from None
        return cls(**given)


CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}
"""Memory layout in which convolutions are fastest, by the number of spatial axes."""


class _Level(nn.Module):
    """Two or three convolutions with ReLU, named as in the reference implementation."""

    def __init__(self, channels_in: int, channels: int, config: NetworkConfig) -> None:
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
    def __init__(self, channels_in: int, channels: int, config: NetworkConfig) -> None:
        super().__init__(channels_in, channels, config)
        self.convtranspose = TRANSPOSED[config.dims](channels, channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.convtranspose(self.features(x))


class Encoder(nn.Module):
    """Image (B, C, (Z), Y, X) to mean and log-variance of the latents, each (B, latents, grid)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        conv = CONVOLUTION[config.dims]
        widths = [config.channels, *(config.filters * 2**i for i in range(config.depth))]
        self.down_convs = nn.ModuleList(_Down(a, b, config) for a, b in pairwise(widths))
        self.convmu = conv(widths[-1], config.latents, 3, padding=1)
        self.convlogvar = conv(widths[-1], config.latents, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode normalised images; the log-variance is float32 and clamped."""
        for down in self.down_convs:
            x = down(x)
        return self.convmu(x), self.convlogvar(x).float().clamp(LOGVAR_MIN, LOGVAR_MAX)


class Decoder(nn.Module):
    """Latents (B, latents, grid) to a clean image (B, C, (Z), Y, X)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = [config.latents, *(config.filters * 2**i for i in reversed(range(config.depth)))]
        self.up_convs = nn.ModuleList(_Up(a, b, config) for a, b in pairwise(widths))
        self.convrecon = CONVOLUTION[config.dims](widths[-1], config.channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latents into normalised images; the last convolution is float32 under autocast too."""
        for up in self.up_convs:
            z = up(z)
        with torch.autocast(z.device.type, enabled=False):
            return self.convrecon(z.to(self.convrecon.weight.dtype))


class DivNoisingNet(nn.Module):
    """One-level convolutional VAE of DivNoising (Prakash et al., ICLR 2021, section 3).

    Works on images normalised by the training data's mean and standard deviation, channel by channel.
    Every side must be a multiple of ``config.stride``. Parameter names follow the reference
    implementation, so its state dicts load.

    Parameters
    ----------
    config : NetworkConfig
        Depth, width and latents.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    def initialise(self, logvar: float = -4.0, gain: float = 0.1) -> None:
        """Draw weights that keep signals alive through the depth, and a narrow posterior.

        He initialisation (He et al., ICCV 2015, equation 10) with zero biases: with smaller weights the
        biases soon outweigh the signal, units die, and the decoder falls silent for good. With a
        posterior as wide as the prior the latents are mostly noise at first, the decoder learns to
        ignore them and the posterior collapses onto the prior; it therefore starts narrow.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
                # kernel = stride = 2: every output pixel sees each input channel once, and no ReLU follows
                nn.init.normal_(module.weight, std=module.in_channels**-0.5)
            for name, parameter in module.named_parameters(recurse=False):
                if name == "bias":
                    nn.init.zeros_(parameter)
        with torch.no_grad():
            self.encoder.convmu.weight.mul_(0.5**0.5)  # linear, so unit gain
            self.decoder.convrecon.weight.mul_(0.5**0.5)
            self.encoder.convlogvar.weight.mul_(gain)
            for parameter in self.encoder.convlogvar.parameters():
                if parameter.ndim == 1:
                    parameter.fill_(logvar)

    def forward(self, x: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, draw latents and decode.

        Parameters
        ----------
        x : Tensor, shape (B, C, (Z), Y, X)
            Normalised images.
        eps : Tensor, shape (B, latents, *sides / stride), optional
            Standard normal noise for the latents; drawn when absent.

        Returns
        -------
        s, mu, logvar : Tensor
            Normalised clean image, shaped like `x`; posterior mean and log-variance.
        """
        mu, logvar = self.encoder(x)
        if eps is None:
            eps = torch.randn_like(logvar)
        z = mu.float() + torch.exp(0.5 * logvar) * eps
        return self.decoder(z), mu, logvar


def kl_to_prior(mu: Tensor, logvar: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each latent's posterior to N(0, 1), in nats; same shape as `mu`."""
    mu = mu.float()
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)
