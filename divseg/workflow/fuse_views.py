"""Fusion of the label images of an image: those of its samples, and of the other views of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.consensus import Consensus, LabelStack, fuse
from divseg.consensus.witnesses import LEAST_SNR
from divseg.io import Image
from divseg.specs import parts_of
from divseg.workflow.moments import mmse, std
from divseg.workflow.stage import UnitContext


def fuse_views(context: UnitContext, method: str) -> Consensus:
    """Fuse the label images of an image by a method; only objects that the samples hold and show are kept."""
    fusion = context.tools.config.fusion
    stack: LabelStack = context.memory["stack"]
    info: Mapping[str, Any] = context.memory["segment info"]
    n = info["views"]["samples"]
    plain, from_mmse = split_markers(method)
    snr = fusion.snr
    if snr is None:  # a function may find objects by something else than their brightness
        snr = 0.0 if any(name.startswith("python:") for name in parts_of(context.tools.segmenter)) else LEAST_SNR
    options: dict[str, Any] = {
        "method": plain,
        "objective": fusion.objective,
        "existence": fusion.existence,
        "samples": n,
        "images": (_with_nan(context.load()), mmse(context), std(context)),
        "snr": snr,
    }
    if from_mmse:
        options["markers"] = mmse_labels(context)
    if fusion.fuse_with == "samples":
        return fuse(stack.select(range(n)), **options)
    return fuse(stack.select(range(len(info["weights"])), info["weights"]), **options)


def _with_nan(image: Image) -> NDArray[Any]:
    """Return the pixels of an image, NaN where they are no data."""
    return image.data if image.valid is None else np.where(image.valid, image.data, np.nan)


def split_markers(method: str) -> tuple[str, bool]:
    """Part a fusion method such as ``"voting,markers=mmse"`` into the method and whether the MMSE gives the markers."""
    parts = [part.strip() for part in method.split(",")]
    others = [part for part in parts if part.replace(" ", "") != "markers=mmse"]
    return ",".join(others), len(others) < len(parts)


def mmse_labels(context: UnitContext) -> Any:
    """Return the label image of the MMSE, by the first segmenter."""
    views = context.memory["segment info"]["views"]
    names = list(views)
    return context.memory["stack"].labels(sum(views[name] for name in names[: names.index("mmse")]))
