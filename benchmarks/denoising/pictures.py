"""Samples beside MMSE and MAP, as the paper's figures show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sets import Picture
from divseg.denoise.sampling.estimates import map_estimate
from divseg.io import write_bytes
from divseg.report.style import INK, new_chart, to_png
from divseg.results.overlay import grey_limits
from divseg.workflow.crops import busiest_corner

SIDE = 96
SHOWN = 3
"""Samples that are shown."""


def sample_picture(path: Path, picture: Picture, samples: NDArray[np.float32], title: str = "") -> None:
    """Write a picture of one crop: noisy, samples, MMSE, MAP, standard deviation, and the target if there is one."""
    mean = samples.mean(axis=0)
    height, width = (min(SIDE, n) for n in mean.shape)
    y, x = busiest_corner(mean, (height, width))
    crop = slice(y, y + height), slice(x, x + width)
    mode = map_estimate(torch.from_numpy(np.array(samples[:, *crop]))[:, None])[0].numpy()
    std = samples[:, *crop].std(axis=0, ddof=1)
    limits = grey_limits(mean[crop], low=0.5, high=99.5)
    panels: list[tuple[str, NDArray[np.floating], tuple[float, float]]] = [
        ("noisy", picture.noisy[crop], grey_limits(picture.noisy[crop]))
    ]
    panels += [(f"sample {k + 1}", samples[k][crop], limits) for k in range(SHOWN)]
    panels += [("MMSE", mean[crop], limits), ("MAP", mode, limits)]
    panels.append(("standard deviation", std, (0.0, float(np.percentile(std, 99.5)))))
    if picture.clean is not None:
        panels.append(("target", picture.clean[crop], grey_limits(picture.clean[crop])))
    figure, axes = new_chart(2, 4, 7.6, 4.1)
    for ax in axes:
        ax.set_axis_off()
    for ax, (name, image, (low, high)) in zip(axes, panels, strict=False):
        ax.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        ax.set_title(name, fontsize=8, loc="left", color=INK)
    if title:
        figure.suptitle(title, fontsize=9, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, to_png(figure))
