"""Base of the networks: latents on one grid or several, an encoder that all samples share, exact tiles."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from divseg.denoise.networks.upsampling import Upsampling2d, Upsampling3d
from divseg.errors import ConfigError, brief
from divseg.specs import Kind, Number, Option

LOGVAR_MIN, LOGVAR_MAX = -14.0, 6.0
"""Bounds of the posterior's log-variance: outside, exp() vanishes or overflows in half precision."""

CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
UPSAMPLING: dict[int, type[Upsampling2d] | type[Upsampling3d]] = {2: Upsampling2d, 3: Upsampling3d}
LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}
"""Memory layout in which convolutions are fastest, by the number of spatial axes."""

Trim = tuple[slice, ...]
"""Part of a grid along its spatial axes."""


def setting(default: Any, kind: Kind, meaning: str, *, kw_only: bool = False) -> Any:
    """Return the dataclass field of a network setting: its default, the values it can have, and what it means."""
    return field(default=default, kw_only=kw_only, metadata={"option": Option(kind, default, meaning)})


@dataclass(frozen=True)
class VAEConfig(ABC):
    """Settings of a network, and what follows from them for tiles; each kind of network has its own subclass.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    """

    kind: ClassVar[str]

    channels: int = setting(1, Number(1, 64, whole=True), "channels of the images", kw_only=True)
    dims: int = setting(2, Number(2, 3, whole=True), "spatial axes of the images, 2 or 3", kw_only=True)

    def __post_init__(self) -> None:
        for name, option in self.options().items():
            value = getattr(self, name)
            try:
                text = option.kind.show(value)
            except (TypeError, ValueError):
                text = ""
            try:
                object.__setattr__(self, name, option.kind.read(text))  # JSON has lists instead of tuples
            except ValueError as error:
                raise ConfigError(f"{self.kind} network: {name}={brief(value)} {error}") from None

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return the settings by name."""
        return {f.name: f.metadata["option"] for f in fields(cls)}

    @property
    @abstractmethod
    def strides(self) -> tuple[int, ...]:
        """Pixels that a position covers along each axis, for each latent grid, finest first; each twice the last."""

    @property
    @abstractmethod
    def latent_channels(self) -> tuple[int, ...]:
        """Channels of the latents on each grid, finest first."""

    @property
    @abstractmethod
    def encoder_channels(self) -> tuple[int, ...]:
        """Channels of the encoder's features on each grid, finest first."""

    @property
    @abstractmethod
    def encoder_halo(self) -> int:
        """Pixels around a tile that its encoding depends on, rounded up to whole positions of the coarsest grid."""

    @property
    @abstractmethod
    def decoder_halos(self) -> tuple[int, ...]:
        """Positions around a tile that its pixels depend on, on each grid, finest first.

        All but the last are even, so that a grid's window begins between two positions of the next coarser one.
        """

    @property
    @abstractmethod
    def decoder_numbers(self) -> float:
        """Numbers a pixel of the decoder's widest feature map, which decide how many samples fit into memory."""

    @property
    def stride(self) -> int:
        """Pixels that a position of the coarsest latent grid covers along each axis."""
        return self.strides[-1]

    @property
    @abstractmethod
    def smallest_side(self) -> int:
        """Pixels that an image must have along Y and X."""

    def grids(self, sides: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the positions along each axis of every latent grid, finest first, for sides in pixels."""
        return [tuple(side // stride for side in sides) for stride in self.strides]

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as plain numbers."""
        return {"kind": self.kind, **asdict(self)}

    def fitted(self, channels: int, dims: int) -> Self:
        """Return the same settings for images with this number of channels and of spatial axes."""
        return replace(self, channels=channels, dims=dims)


class LatentNet(nn.Module, ABC):
    """A variational autoencoder for normalized images whose sides are multiples of ``config.stride``.

    Encoding an image and drawing samples are separate steps: the result of :meth:`encode` serves all samples of an
    image, and may hold one image when the noise is that of many samples.
    """

    config: VAEConfig

    @abstractmethod
    def initialize(self) -> None:
        """Draw weights that keep signals alive through the depth, and a narrow posterior."""

    @abstractmethod
    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the encoder's features: (B, encoder_channels, *grid) for each latent grid, finest first."""

    @abstractmethod
    def latents(
        self, encoder_features: Sequence[Tensor], eps: Sequence[Tensor], trims: Sequence[Trim] | None = None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Draw latents.

        Parameters
        ----------
        encoder_features : list of Tensor, each (B or 1, encoder_channels, *grid)
            From :meth:`encode`.
        eps : list of Tensor, each (B, latent_channels, *grid)
            Standard normal noise.
        trims : list of tuple of slice, optional
            For every grid but the finest: the part of it that the window of the next finer grid covers. None if
            the windows are whole images.

        Returns
        -------
        features : Tensor
            Input of :meth:`decode`.
        means, logvars : list of Tensor
            Normal posterior of each grid's latents, finest first, in units in which their prior is N(0, 1).
        """

    @abstractmethod
    def decode(self, features: Tensor) -> Tensor:
        """Return the normalized clean images (B, C, *sides), float32 under autocast too."""

    def forward(self, x: Tensor, eps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Encode, draw latents and decode.

        Parameters
        ----------
        x : Tensor, shape (B, C, *sides)
            Normalized images.
        eps : sequence of Tensor, each (B, latent_channels, *grid)
            Standard normal noise for the latents of each grid, finest first (:meth:`noise_for`).

        Returns
        -------
        s : Tensor
            Normalized clean image, shaped like `x`.
        means, logvars : list of Tensor
            As from :meth:`latents`.
        """
        features, means, logvars = self.latents(self.encode(x), eps)
        return self.decode(features), means, logvars

    def noise_for(self, x: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """Draw standard normal noise for the latents of images (B, C, *sides)."""
        grids = zip(self.config.latent_channels, self.config.grids(x.shape[2:]), strict=True)
        return [torch.randn((len(x), latents, *grid), generator=generator, device=x.device) for latents, grid in grids]


def kl_to_prior(mu: Tensor, logvar: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each latent's posterior to N(0, 1), in nats; same shape as `mu`."""
    mu = mu.float()
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)


def crop(x: Tensor, part: Trim) -> Tensor:
    """Return a part of the last axes of a tensor."""
    index: tuple[Any, ...] = (..., *part)
    return x[index]


def initialize_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions so that signals keep their size, with zero biases.

    He initialization (He et al., ICCV 2015, equation 10): with smaller weights the biases soon outweigh the signal,
    units die, and the decoder falls silent for good.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
            # kernel = stride = 2: every output pixel sees each input channel once, and no ReLU follows
            nn.init.normal_(module.weight, std=math.sqrt(1.0 / module.in_channels))
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
