"""Architecture and thresholds in a StarDist model folder: ``config.json`` and ``thresholds.json``."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divseg.errors import DAMAGE, DivsegWarning, ModelError, one_line
from divseg.io.json_file import read_json, real, whole

PROB, NMS = 0.5, 0.4
"""StarDist's thresholds for a model that has none of its own."""

_UNET: dict[str, Any] = {
    "unet_n_filter_base": 32,
    "unet_n_conv_per_depth": 2,
    "unet_activation": "relu",
    "unet_last_activation": "relu",
    "unet_batch_norm": False,
    "unet_expansion": 2,
    "unet_prefix": "",
    "net_conv_after_unet": 128,
}
_RESNET: dict[str, Any] = {
    "resnet_n_blocks": 4,
    "resnet_kernel_size": (3, 3, 3),
    "resnet_n_filter_base": 32,
    "resnet_n_conv_per_block": 3,
    "resnet_activation": "relu",
    "resnet_batch_norm": False,
    "net_conv_after_resnet": 128,
}
_MOST_FILTERS = 65536
"""More than any network has; how many fit is known when the weights are there."""
_RAYS = ("Rays_GoldenSpiral", "Rays_Cartesian", "Rays_Tetra", "Rays_Octo", "Rays_Explicit")


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of a StarDist network, with StarDist's defaults for what a file leaves out.

    Attributes
    ----------
    ndim : int
        2 or 3.
    n_channels : int
        Channels of an input image; above 1 the channel axis is the last.
    n_rays : int
        Directions in which the distance to the boundary is predicted.
    grid : tuple of int
        Input pixels per output pixel, along each axis; powers of 2.
    backbone : str
        ``"unet"`` or ``"resnet"`` (3D only).
    n_classes : int, optional
        Classes of a multi-class head, which is not evaluated here.
    depth : int
        U-Net: number of poolings. ResNet: number of blocks.
    filters : int
        Filters of the first level.
    convs : int
        Convolutions per level (U-Net) or per block (ResNet).
    kernel, pool : tuple of int
        Sizes along each axis; the ResNet has no pooling.
    activation, last_activation : str
        Keras names.
    batch_norm : bool
        Whether a batch normalisation follows each convolution.
    expansion : float
        Growth of the number of filters per level.
    prefix : str
        Prefix of the names of the U-Net's layers.
    features : int
        Filters of the convolution before the heads, 0 for none.
    rays : mapping, optional
        3D: class and arguments of the rays (``rays_json``).
    """

    ndim: int
    n_channels: int
    n_rays: int
    grid: tuple[int, ...]
    backbone: str
    n_classes: int | None
    depth: int
    filters: int
    convs: int
    kernel: tuple[int, ...]
    pool: tuple[int, ...]
    activation: str
    last_activation: str
    batch_norm: bool
    expansion: float
    prefix: str
    features: int
    rays: Mapping[str, Any] | None = None

    @property
    def divisor(self) -> tuple[int, ...]:
        """Number by which the length of an image must be divisible, along each axis."""
        poolings = self.depth if self.backbone == "unet" else 0
        return tuple(p**poolings * g for p, g in zip(self.pool, self.grid, strict=True))

    @property
    def halo(self) -> tuple[int, ...]:
        """Distance of the farthest pixel that an output pixel depends on, along each axis, in input pixels.

        Output pixels stand on a grid, and U-Net levels on coarser ones: the reach is counted from any pixel of
        the coarse pixel that holds the output pixel.
        """
        return tuple(self._reach(axis) for axis in range(self.ndim))

    def _reach(self, axis: int) -> int:
        radius = self.kernel[axis] // 2
        grid = self.grid[axis]
        if self.backbone == "resnet":
            reach, step = 3 + 1, 1  # the two convolutions of 7 and 3 pixels
            for _ in range(self.depth):
                # the convolution with the stride looks at the finer pixels, the others at the coarser
                reach += radius * step
                if step < grid:
                    reach, step = reach + step, step * 2
                reach += (self.convs - 1) * radius * step
            return reach + (radius * step if self.features else 0)
        reach, step = 0, 1
        for _ in range(max(self.grid).bit_length() - 1):
            # convolutions stand before each pooling, also along an axis that is not pooled
            reach += self.convs * radius * step
            if step < grid:
                reach, step = reach + step, step * 2
        for _ in range(self.depth):
            # down, pooling or upsampling, and up again
            reach += 2 * self.convs * radius * step + (self.pool[axis] - 1) * step
            step *= self.pool[axis]
        reach += self.convs * radius * step
        return reach + (radius * grid if self.features else 0)


@dataclass(frozen=True)
class Thresholds:
    """Object probability above which a pixel is a candidate, and overlap above which a candidate is suppressed."""

    prob: float
    nms: float


def read_config(folder: Path) -> ModelConfig:
    """Read ``config.json`` of a StarDist model folder.

    Raises
    ------
    ModelError
        No such file, not JSON, or a network that divseg does not know.
    """
    path = folder / "config.json"
    data = _read_json(path, "a StarDist model folder has config.json, thresholds.json and weights_best.h5")
    try:
        return _config(data, path)
    except ModelError:
        raise
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ModelError(f"{path} is not a StarDist configuration ({reason}); copy the model folder again") from error


def read_thresholds(folder: Path) -> Thresholds:
    """Read ``thresholds.json``; StarDist's defaults, with a warning, for what is missing or impossible.

    Raises
    ------
    ModelError
        If the file is not JSON.
    """
    path = folder / "thresholds.json"
    if not path.is_file():
        warnings.warn(
            f"{folder} has no thresholds.json: taking StarDist's defaults prob={PROB}, nms={NMS}; "
            "give prob= and nms= for others (StarDist's optimize_thresholds finds the best)",
            DivsegWarning,
            stacklevel=2,
        )
        return Thresholds(PROB, NMS)
    data = _read_json(path, "delete it to take StarDist's defaults")
    values = {}
    for name, default in (("prob", PROB), ("nms", NMS)):
        value = data.get(name)
        if not isinstance(value, int | float) or not 0 < value < 1:
            warnings.warn(
                f"{path}: {name} is {reprlib.repr(value)}, not a number between 0 and 1; "
                f"taking StarDist's default {default}",
                DivsegWarning,
                stacklevel=2,
            )
            value = default
        values[name] = float(value)
    return Thresholds(**values)


def _read_json(path: Path, advice: str) -> dict[str, Any]:
    if not path.parent.is_dir():
        raise ModelError(f"there is no model folder {path.parent}; {advice}")
    if not path.is_file():
        raise ModelError(f"{path.parent} has no {path.name}; {advice}")
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({one_line(error)}); {advice}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} holds a {type(data).__name__}, not an object; {advice}")
    return data


def _config(data: dict[str, Any], path: Path) -> ModelConfig:
    axes = str(data.get("axes", "")).upper()
    if axes.rstrip("C") not in ("YX", "ZYX"):
        raise ModelError(f"{path}: axes {data.get('axes')!r}; divseg knows StarDist models of axes YXC and ZYXC")
    ndim = len(axes.rstrip("C"))
    backbone = str(data.get("backbone", "unet")).lower()
    backbones = {2: ("unet",), 3: ("unet", "resnet")}[ndim]
    if backbone not in backbones:
        raise ModelError(
            f"{path}: backbone {backbone!r} is unknown; StarDist {ndim}-D models have {' or '.join(backbones)}"
        )
    grid = tuple(whole(g, 0, 64) for g in data.get("grid", (1,) * ndim))
    if len(grid) != ndim or any(g < 1 or g & (g - 1) for g in grid):
        raise ModelError(f"{path}: grid {list(grid)} must have {ndim} powers of 2")
    rays = _rays(data, path) if ndim == 3 else None
    n_rays = whole(data.get("n_rays", 32 if ndim == 2 else 96), 3, 4096)
    n_classes = data.get("n_classes")
    common: dict[str, Any] = {
        "ndim": ndim,
        "n_channels": whole(data.get("n_channel_in", 1), 1, 1024),
        "n_rays": n_rays,
        "grid": grid,
        "backbone": backbone,
        "n_classes": None if n_classes is None else whole(n_classes, 0, 4096),
        "rays": rays,
    }
    return ModelConfig(**common, **(_unet if backbone == "unet" else _resnet)(data, ndim, path))


def _unet(data: dict[str, Any], ndim: int, path: Path) -> dict[str, Any]:
    values = {**_UNET, "unet_n_depth": 3 if ndim == 2 else 2, **data}
    activation = values["unet_activation"]
    return {
        "depth": whole(values["unet_n_depth"], 0, 16),
        "filters": whole(values["unet_n_filter_base"], 1, _MOST_FILTERS),
        "convs": whole(values["unet_n_conv_per_depth"], 1, 64),
        "kernel": _sizes(values.get("unet_kernel_size", (3,) * ndim), ndim, path, "unet_kernel_size"),
        "pool": _sizes(values.get("unet_pool", (2,) * ndim), ndim, path, "unet_pool"),
        "activation": str(activation),
        "last_activation": str(values["unet_last_activation"] or activation),
        "batch_norm": bool(values["unet_batch_norm"]),
        "expansion": _growth(values["unet_expansion"]),
        "prefix": str(values["unet_prefix"] or ""),
        "features": whole(values["net_conv_after_unet"], 0, _MOST_FILTERS),
    }


def _resnet(data: dict[str, Any], ndim: int, path: Path) -> dict[str, Any]:
    values = {**_RESNET, **data}
    return {
        "depth": whole(values["resnet_n_blocks"], 1, 64),
        "filters": whole(values["resnet_n_filter_base"], 1, _MOST_FILTERS),
        "convs": whole(values["resnet_n_conv_per_block"], 1, 64),
        "kernel": _sizes(values["resnet_kernel_size"], ndim, path, "resnet_kernel_size"),
        "pool": (1,) * ndim,
        "activation": str(values["resnet_activation"]),
        "last_activation": str(values["resnet_activation"]),
        "batch_norm": bool(values["resnet_batch_norm"]),
        "expansion": 2.0,
        "prefix": "",
        "features": whole(values["net_conv_after_resnet"], 0, _MOST_FILTERS),
    }


def _growth(value: Any) -> float:
    """Return the growth of the number of filters per level; ValueError where it makes no sense."""
    if not 0 < (growth := real(value)) <= 16:
        raise ValueError(f"unet_expansion is {growth}")
    return growth


def _sizes(value: Any, ndim: int, path: Path, name: str) -> tuple[int, ...]:
    sizes = tuple(whole(s, 0, 99) for s in value)
    if len(sizes) != ndim or min(sizes) < 1:
        raise ModelError(f"{path}: {name} {list(sizes)} must have {ndim} positive numbers")
    return sizes


def _rays(data: dict[str, Any], path: Path) -> dict[str, Any]:
    rays = data.get("rays_json") or {
        "name": "Rays_GoldenSpiral",
        "kwargs": {"n": whole(data.get("n_rays", 96), 3, 4096)},
    }
    name, arguments = str(rays["name"]), dict(rays["kwargs"])
    _check_rays(arguments)
    if name not in _RAYS:
        # StarDist evaluates the name as code; here it must be one of its classes
        raise ModelError(f"{path}: rays {name!r} are unknown; StarDist has {', '.join(_RAYS)}")
    if "anisotropy" in arguments and arguments["anisotropy"] is None and data.get("anisotropy") is not None:
        arguments["anisotropy"] = tuple(data["anisotropy"])
    return {"name": name, "kwargs": arguments}


def _check_rays(value: Any) -> None:
    """Raise ValueError if there is something else than numbers, in lists, among the arguments of the rays."""
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            _check_rays(part)
    elif value is not None and not (isinstance(value, int | float) and -1e6 < value < 1e6):
        raise ValueError(f"rays with {reprlib.repr(value)}")
