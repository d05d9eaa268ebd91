"""Networks by name: ``flat`` (DivNoising) and ``ladder`` (hierarchical), with their settings."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from divseg.denoise.networks.base import LatentNet, NetworkShape
from divseg.denoise.networks.flat import DivNoisingNet, NetworkConfig
from divseg.denoise.networks.hierarchical import LadderConfig, LadderNet
from divseg.errors import ConfigError, ModelError

KINDS: dict[str, type[NetworkConfig] | type[LadderConfig]] = {"flat": NetworkConfig, "ladder": LadderConfig}
DEFAULT = "ladder"


def default_network(dims: int = 2) -> NetworkShape:
    """Return the shape that is trained where none is named: a ladder for images, flat for volumes.

    The ladder's coarsest grid covers 8 pixels along each axis, more than many volumes are thick.
    """
    return LadderConfig() if dims == 2 else NetworkConfig(dims=dims)


def parse_network(text: str = "") -> NetworkShape:
    """Read a network's name and settings; what is not named keeps its default.

    Parameters
    ----------
    text : str
        ``"flat"``, ``"ladder"``, ``"flat,depth=3,filters=16"``, ``"ladder,width=48,latents=16-32-32"``. The name may
        be left out.

    Raises
    ------
    ConfigError
        An unknown name, or a value that is no whole number or out of range.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    name = parts.pop(0) if parts and "=" not in parts[0] else DEFAULT
    if name not in KINDS:
        raise ConfigError(f"unknown network {name!r} (networks: {', '.join(KINDS)}, with settings after a comma)")
    known = [field.name for field in fields(KINDS[name]) if field.name not in ("channels", "dims")]
    given: dict[str, Any] = {}
    for part in parts:
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or key not in known:
            raise ConfigError(f"network {part!r}: write NAME=NUMBER; {name} has {', '.join(known)}")
        given[key] = _numbers(part, value) if key == "latents" and name == "ladder" else _number(part, value)
    return KINDS[name](**given)


def _number(part: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"network {part!r}: {value!r} is no whole number") from None


def _numbers(part: str, value: str) -> tuple[int, ...]:
    return tuple(_number(part, word) for word in value.split("-"))


def build_network(config: NetworkShape) -> LatentNet:
    """Return the network of a shape, with torch's own initial weights."""
    if isinstance(config, LadderConfig):
        return LadderNet(config)
    if isinstance(config, NetworkConfig):
        return DivNoisingNet(config)
    raise TypeError(f"no network has the shape {config!r}")


def shape_from_dict(data: dict[str, Any]) -> NetworkShape:
    """Rebuild a network's shape from its ``to_dict``.

    Raises
    ------
    ModelError
        If the kind is unknown.
    """
    kinds = {cls.kind: cls for cls in KINDS.values()}
    kind = data.get("kind")
    if kind not in kinds:
        raise ModelError(f"unknown kind of network {kind!r} (this version knows {', '.join(kinds)}); update divseg")
    return kinds[kind](**{key: value for key, value in data.items() if key != "kind"})
