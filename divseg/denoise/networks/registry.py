"""Networks by name: ``flat`` (DivNoising) and ``hierarchical`` (hierarchical DivNoising), with their settings."""

from __future__ import annotations

from typing import Any

from divseg.denoise.networks.base import LatentNet, VAEConfig
from divseg.denoise.networks.flat import FlatConfig, FlatNet
from divseg.denoise.networks.hierarchical import HierarchicalConfig, HierarchicalNet
from divseg.errors import ModelError, brief
from divseg.specs import read_options, split_spec, unknown

CONFIGS: dict[str, type[VAEConfig]] = {cls.kind: cls for cls in (FlatConfig, HierarchicalConfig)}


def default_network(dims: int = 2) -> VAEConfig:
    """Return the settings of the network that is trained by default: hierarchical for images, flat for volumes.

    The coarsest grid of the hierarchical one covers 8 pixels along each axis, more than many volumes are thick.
    """
    return HierarchicalConfig() if dims == 2 else FlatConfig(dims=dims)


def parse_network(text: str = "") -> VAEConfig:
    """Read a network's name and settings; settings that are not named keep their defaults.

    Parameters
    ----------
    text : str
        ``"flat"``, ``"hierarchical"``, ``"flat,depth=3,filters=16"``, ``"hierarchical,width=48,latents=16-32-32"``;
        empty for the default network for images.

    Raises
    ------
    ConfigError
        An unknown name or setting, or a value that is not a whole number or out of range.
    """
    if not text.strip():
        return default_network()
    name, pairs = split_spec(text, "network", "flat,depth=3,filters=16")
    if name not in CONFIGS:
        raise unknown("network", name, CONFIGS)
    config = CONFIGS[name]
    options = {key: option for key, option in config.options().items() if key not in ("channels", "dims")}
    return config(**read_options(name, pairs, options, what="network"))


def build_network(config: VAEConfig) -> LatentNet:
    """Return the network that a configuration describes, with torch's own initial weights."""
    if isinstance(config, HierarchicalConfig):
        return HierarchicalNet(config)
    if isinstance(config, FlatConfig):
        return FlatNet(config)
    raise TypeError(f"{config!r} does not describe a network")


def config_from_dict(data: dict[str, Any]) -> VAEConfig:
    """Rebuild the settings of a network from their ``to_dict``.

    Raises
    ------
    ModelError
        If the kind is unknown.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in CONFIGS:
        raise ModelError(
            f"unknown kind of network {brief(kind)} (this version reads {', '.join(CONFIGS)}); update divseg"
        )
    return CONFIGS[kind](**{key: value for key, value in data.items() if key != "kind"})
