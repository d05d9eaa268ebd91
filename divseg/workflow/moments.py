"""Mean and standard deviation of the samples of an image, for the stages after the one that made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from divseg.io import read
from divseg.io.invalid import filled
from divseg.results.files import read_channels
from divseg.workflow.stage import UnitContext


def recall_denoised(context: UnitContext) -> bool:
    """Tell whether mean and standard deviation of an earlier run can be read; if not they are made again."""
    return {"denoised", "std"} <= set(context.marker.stages["denoise"].kept)


def mmse(context: UnitContext) -> NDArray[np.float32]:
    """Return the mean of the samples, from memory or from the file that holds it exactly; filled like the image."""
    return _kept(context, "mmse", context.store.denoised(context.unit.name))


def std(context: UnitContext) -> NDArray[np.float32]:
    """Return the standard deviation of the samples, from memory or from the file that holds it exactly."""
    return _kept(context, "std", context.store.map(context.unit.name, "std"))


def other_means(context: UnitContext) -> list[NDArray[np.float32]]:
    """Return the mean of the samples of each channel that was denoised together with the own one."""
    if not context.unit.together:
        return []
    if "other means" not in context.memory:
        image = context.memory.get("blank other means")
        image = read_channels(context.store.channels(context.unit.name)) if image is None else image
        valid = context.load().valid
        context.memory["other means"] = list(image) if valid is None else [filled(plane, valid) for plane in image]
    means: list[NDArray[np.float32]] = context.memory["other means"]
    return means


def _kept(context: UnitContext, what: str, path: Path) -> NDArray[np.float32]:
    if what not in context.memory:
        image = context.memory.get(f"blank {what}")
        image = read(path)[0].data if image is None else image
        valid = context.load().valid
        context.memory[what] = image if valid is None else filled(image, valid)
    kept: NDArray[np.float32] = context.memory[what]
    return kept
