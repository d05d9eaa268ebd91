"""Charts of a noise model: its photon-transfer curve, and its likelihood beside the counted values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from divseg.io import write_bytes
from divseg.report.style import BLUE, GREY, INK, ORANGE, logarithmic, new_chart, style_axes, to_png

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class LikelihoodSlice:
    """Density of the observed values at one signal: the model's at `x`, and the counted one between `edges`."""

    signal: float
    x: Numbers
    model: Numbers
    edges: Numbers = field(default_factory=lambda: np.empty(0))
    counted: Numbers = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class NoiseView:
    """What the plots of a noise model show.

    Attributes
    ----------
    signal, variance : array
        Photon-transfer curve of the model.
    level, measured, fitted : array
        Signal and variance of the measured levels, and variance of the model there; may be empty.
    slices : list of LikelihoodSlice
        Dark to bright.
    """

    signal: Numbers
    variance: Numbers
    level: Numbers
    measured: Numbers
    fitted: Numbers
    slices: list[LikelihoodSlice]


def transfer_figure(view: NoiseView) -> Figure:
    """Draw variance against signal, and how far the measured levels are from the model."""
    measured = len(view.level) > 0
    figure, axes = new_chart(1, 2 if measured else 1, 7.4 if measured else 4.0, 3.2)
    left = axes[0]
    if measured:
        left.plot(view.level, view.measured, "o", color=GREY, markersize=5, label="measured")
    left.plot(view.signal, view.variance, color=BLUE, linewidth=1.8, label="model")
    both = np.concatenate([view.variance, view.measured])
    if both.min() > 0 and both.max() > 30 * both.min():
        logarithmic(left, along="y")
        if view.signal.min() > 0 and view.signal.max() > 10 * view.signal.min():
            logarithmic(left, along="x")
            left.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    else:
        left.set_ylim(bottom=0)
        _few_ticks(left)
    style_axes(left, title="Photon transfer", x="signal", y="variance of the noise")
    left.legend(frameon=False, fontsize=9.5, loc="upper left")
    if measured:
        right = axes[1]
        deviation = 100.0 * (view.measured / view.fitted - 1.0)
        right.axhline(0, color=BLUE, linewidth=1.8)
        right.plot(view.level, deviation, "o", color=GREY, markersize=5)
        reach = 1.15 * max(5.0, float(np.abs(deviation).max()))
        right.set_ylim(-reach, reach)
        _few_ticks(right)
        typical = float(np.sqrt(np.mean(np.square(deviation))))
        style_axes(right, title="Measured minus model", x="signal", y="% of the variance", aside=f"rms {typical:.1f} %")
    return figure


def likelihood_figure(view: NoiseView) -> Figure:
    """Draw the density of the observed values at a few signals: that of the model and the counted one."""
    count = len(view.slices)
    columns = min(2, count)
    rows = -(-count // columns)
    figure, axes = new_chart(rows, columns, 3.7 * columns, 2.6 * rows + 0.3)
    for place, part in zip(axes, view.slices, strict=False):
        if len(part.counted):
            place.stairs(part.counted, part.edges, fill=True, color="#C9CFD4", label="counted")
        place.plot(part.x, part.model, color=BLUE, linewidth=1.8, label="model")
        place.axvline(part.signal, color=ORANGE, linewidth=1.2, linestyle="--", label="signal")
        place.set_ylim(bottom=0)
        place.margins(x=0)
        _few_ticks(place)
        below = place in axes[count - columns : count]
        style_axes(
            place, title=f"signal {float(f'{part.signal:.4g}'):g}", x="observed value" if below else "", y="density"
        )
        place.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
        place.yaxis.get_offset_text().set(fontsize=8.5, color=INK)
    for spare in axes[count:]:
        spare.set_visible(False)
    axes[0].legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def write_noise_plots(view: NoiseView, stem: Path) -> list[Path]:
    """Write both figures as ``<stem>_transfer.png`` and ``<stem>_likelihood.png``."""
    written = []
    with sns.axes_style("ticks"):
        for name, figure in (("transfer", transfer_figure(view)), ("likelihood", likelihood_figure(view))):
            path = stem.with_name(f"{stem.name}_{name}.png")
            write_bytes(path, to_png(figure))
            written.append(path)
    return written


def _few_ticks(axes: Axes) -> None:
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", nbins=5)
