"""Options of the StarDist segmenter: ``"stardist:nuclei,prob=0.5,nms=0.3"``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from divseg.errors import ConfigError
from divseg.specs import Choice, Number, Option, canonical, read_options


@dataclass(frozen=True)
class Device:
    """Name of a device, checked for its form only: another machine may have it."""

    def read(self, text: str) -> str:
        """Return the name in lower case."""
        if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text.lower()):
            return text.lower()
        raise ValueError("must be auto, cpu, cuda, cuda:N or mps")

    def show(self, value: str) -> str:
        """Return the name."""
        return value


_UNIT = Number(1e-6, 1 - 1e-6, words=("model",))

OPTIONS: Mapping[str, Option] = {
    "prob": Option(_UNIT, "model", "object probability above which a pixel is a candidate; model: the model's own"),
    "nms": Option(_UNIT, "model", "overlap above which the less probable of two candidates is dropped; model: its own"),
    "normalize": Option(
        Choice(("sample", "image", "none")), "sample", "percentiles of each image, of the reference of fit(), or none"
    ),
    "pmin": Option(Number(0, 100), 1.0, "percentile that becomes 0"),
    "pmax": Option(Number(0, 100), 99.8, "percentile that becomes 1"),
    "channels": Option(Choice(("separate", "joint")), "separate", "percentiles of each channel, or of all together"),
    "scale": Option(
        Number(0.05, 20.0, words=("auto",)),
        1.0,
        "factor by which images are resized for the network: use 0.5 if objects are twice as large as in training; "
        "auto: the factor from 0.25 to 2 with the highest mean object probability in the reference of fit()",
    ),
    "anisotropy": Option(
        Number(0.01, 100.0, words=("none",)),
        "none",
        "distance between planes of the volumes that the model was trained on, in units of the pixel size: volumes of "
        "another distance are resized along Z for the network; none: volumes are taken as they are",
    ),
    "tile": Option(
        Number(64, whole=True, words=("auto",)), "auto", "longest side in pixels predicted at once (2048; 3D 192)"
    ),
    "batch": Option(
        Number(1, whole=True, words=("auto",)), "auto", "images predicted at once (CPU: 1, GPU: by their size)"
    ),
    "max_candidates": Option(
        Number(1, whole=True, words=("auto",)), "auto", "of more, the least probable are dropped, with a warning"
    ),
    "device": Option(Device(), "auto", "auto, cpu, cuda, cuda:N or mps"),
    "threads": Option(
        Number(0, 64, whole=True, words=("auto",)),
        "auto",
        "on a CPU images worked on at once, on a GPU threads for suppression and painting; 0 = only the caller's",
    ),
}


@dataclass(frozen=True)
class StarDistOptions:
    """Values of all options, by the names that strings use."""

    prob: str | float
    nms: str | float
    normalize: str
    pmin: float
    pmax: float
    channels: str
    scale: str | float
    anisotropy: str | float
    tile: str | int
    batch: str | int
    max_candidates: str | int
    device: str
    threads: str | int


def stardist_options(method: str, pairs: Iterable[tuple[str, str]]) -> tuple[StarDistOptions, str]:
    """Read the options and make the canonical string.

    Raises
    ------
    ConfigError
        Unknown option or impossible value.
    """
    pairs = list(pairs)
    values: dict[str, Any] = read_options(method, pairs, OPTIONS)
    if values["pmin"] >= values["pmax"]:
        raise ConfigError(f"segmenter options pmin={values['pmin']:g} and pmax={values['pmax']:g}: pmin must be below")
    idle = [name for name, _ in pairs if name in ("pmin", "pmax", "channels")]
    if values["normalize"] == "none" and idle:
        raise ConfigError(f"segmenter option {idle[0]} has no effect with normalize=none")
    return StarDistOptions(**values), canonical(method, values, OPTIONS)
