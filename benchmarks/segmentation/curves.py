"""Curves: score against the number of samples, the noise level and the training time; calibration of existence."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.segmentation.rows import TIMED, VIEWS_TUNED
from benchmarks.segmentation.tables import best_smoothing
from divseg.metrics import d_ece, reliability_curve
from divseg.report.style import INK, dress, new_chart

LEVEL_ORDER = ("pg_mid", "n20", "pg_low", "real", "demo")
"""Noise levels from mild to hard."""
LINES = ("noisy", "best smoothing", "MMSE", VIEWS_TUNED, "clean")
"""Inputs of the curve over noise levels."""
PALETTE = "colorblind"
SHORT = {VIEWS_TUNED: "samples half, other views half"}
"""Names in legends that would be too long."""


def samples_chart(rows: pd.DataFrame) -> Figure | None:
    """Draw the mean mAP against the number of samples, a panel for each cell.

    Without bands: images differ far more from each other than numbers of samples do.
    """
    if rows.empty:
        return None
    rows = rows.assign(input=rows["input"].replace(SHORT))
    cells = list(rows.groupby(["set", "level", "segmenter"], sort=False))
    figure, axes = _panels(len(cells))
    for ax, (name, part) in zip(axes, cells, strict=False):
        sns.lineplot(part, x="samples", y="map", hue="input", marker="o", errorbar=None, palette=PALETTE, ax=ax)
        counts = sorted(set(part["samples"]))
        ax.set_xscale("log", base=2)
        ax.set_xticks(counts, [str(count) for count in counts])
        _finish(ax, " ".join(name), "posterior samples")
    return figure


def levels_chart(rows: pd.DataFrame) -> Figure | None:
    """Draw mAP against the noise level, a panel for each set and segmenter with more than one level."""
    cells = [(n, p) for n, p in rows.groupby(["set", "segmenter"], sort=False) if p["level"].nunique() > 1]
    if not cells:
        return None
    figure, axes = _panels(len(cells))
    for ax, (name, part) in zip(axes, cells, strict=False):
        parts = []
        for _, level in part.groupby("level"):
            best = best_smoothing(level)
            parts.append(level.assign(line=level["input"].where(level["input"] != best, "best smoothing")))
        shown = pd.concat(parts)
        shown = shown[shown["line"].isin(LINES)]
        order = [level for level in LEVEL_ORDER if level in set(part["level"])]
        level = pd.Categorical(shown["level"], order, ordered=True)
        shown = shown.assign(level=level, line=shown["line"].replace(SHORT))
        options = {
            "hue_order": [SHORT.get(line, line) for line in LINES if SHORT.get(line, line) in set(shown["line"])],
            "palette": PALETTE,
            "dodge": 0.2,
        }
        sns.pointplot(shown, x="level", y="map", hue="line", errorbar=("ci", 95), linewidth=1.5, ax=ax, **options)
        _finish(ax, " ".join(name), "noise level")
    return figure


def minutes_chart(rows: pd.DataFrame) -> Figure | None:
    """Draw mAP against the minutes of training, a panel for each cell with several; dashed: what needs no training."""
    cells = [p for p in rows.groupby(["set", "level", "segmenter"], sort=False) if p[1]["minutes"].nunique() > 1]
    if not cells:
        return None
    figure, axes = _panels(len(cells))
    for ax, (name, part) in zip(axes, cells, strict=False):
        shown = part[part["input"].isin(TIMED)]
        order = [line for line in TIMED if line in set(shown["input"])]
        options = {"hue_order": order, "palette": PALETTE, "marker": "o", "errorbar": None}
        sns.lineplot(shown, x="minutes", y="map", hue="input", ax=ax, **options)
        for colour, still in ((INK, best_smoothing(part)), ("#9AA3AA", "noisy")):
            if still in set(part["input"]):
                label = still if still == "noisy" else f"best smoothing ({still})"
                level = part.loc[part["input"] == still, "map"].mean()
                ax.axhline(level, color=colour, linestyle="--", linewidth=1.2, label=label)
        ticks = sorted(set(shown["minutes"]))
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        below = {"loc": "upper center", "bbox_to_anchor": (0.46, -0.16), "ncols": 2}  # lines go everywhere above
        _finish(ax, " ".join(name), "minutes of training", **below)
    return figure


def calibration_chart(objects: pd.DataFrame) -> Figure | None:
    """Draw how often objects are right (IoU above 0.5) against their existence, a panel for each cell.

    The legend tells detection calibration error and number of objects.
    """
    if objects.empty:
        return None
    cells = list(objects.groupby(["set", "level", "segmenter"], sort=False))
    figure, axes = _panels(len(cells))
    colours = sns.color_palette(PALETTE)
    for ax, (name, part) in zip(axes, cells, strict=False):
        ax.plot([0, 1], [0, 1], color="#9AA3AA", linewidth=1, linestyle="--")
        for colour, (who, mine) in zip(colours, part.groupby("input", sort=False), strict=False):
            curve = reliability_curve(mine["existence"], mine["hit"], bins=8, adaptive=True)
            error = d_ece(mine["existence"], mine["hit"])
            label = f"{SHORT.get(str(who), who)} ({error:.3f}, {len(mine)})"
            ax.plot(curve["confidence"], curve["precision"], marker="o", color=colour, label=label)
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02))
        _finish(ax, " ".join(name), "existence", "share of true positives")
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure, axes = new_chart(rows, columns, 4.6 * columns, 3.6 * rows)
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes


def _finish(ax: Axes, title: str, x: str, y: str = "mAP", **legend: Any) -> None:
    dress(ax, title=title, x=x, y=y)
    ax.legend(title=None, fontsize=8, frameon=False, labelcolor=INK, **legend)
