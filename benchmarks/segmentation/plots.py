"""The plots: curves over samples, noise levels and training times, calibration, gains and losses in pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage as ndi

from benchmarks.segmentation.inputs import TIMED, VIEWS_TUNED, Input
from benchmarks.segmentation.rows import Book, read_rows, result_of
from benchmarks.segmentation.source import Choice
from benchmarks.segmentation.tables import best_smoothing
from divseg.io import write_bytes
from divseg.metrics import d_ece, reliability_curve
from divseg.report.style import BLUE, GREEN, INK, ORANGE, new_chart, style_axes, to_png
from divseg.results.overlay import outlines

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

    The legend gives detection calibration error and number of objects.
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
    style_axes(ax, title=title, x=x, y=y)
    ax.legend(title=None, fontsize=8, frameon=False, labelcolor=INK, **legend)


OURS, THEIRS = (VIEWS_TUNED, "consensus clustering"), "MMSE"
"""The first of ours that there is, against theirs."""
EACH = 2
"""Gains, and losses, that are shown."""
SIDE = 256
"""Side in pixels of what is shown of an image: where the two segmentations differ most."""


def extremes(
    book: Book, rows: Sequence[Input], folds: Sequence[tuple[Sequence[str], Mapping[str, Choice]]]
) -> Figure | None:
    """Draw noisy image, MMSE, both segmentations and the truth of the largest gains and losses in mAP.

    Parameters
    ----------
    book : Book
        Of one cell and segmenter.
    rows : sequence of Input
        Its inputs.
    folds : sequence
        Scored pictures and choices of each fold.
    """
    table = read_rows(book.rows, rows)
    if table.empty:
        return None
    wide = table.pivot_table(index="image", columns="input", values="map")
    ours = next((name for name in OURS if name in wide), None)
    if ours is None or THEIRS not in wide:
        return None
    scored = [name for names, _ in folds for name in names]
    gain = (wide[ours] - wide[THEIRS]).loc[lambda g: g.index.isin(scored)].dropna().sort_values()
    names = list(dict.fromkeys([*gain.index[::-1][:EACH], *gain.index[:EACH]]))
    if not names:
        return None
    figure, axes = new_chart(len(names), 5, 15.0, 3.2 * len(names))
    for line, name in enumerate(names):
        chosen = next(choices for members, choices in folds if name in members)
        scores = wide.loc[name]
        _draw(axes[5 * line : 5 * line + 5], book, rows, dict(chosen), name, scores.loc[[THEIRS, ours]])
    return figure


def _draw(
    axes: Sequence[Axes], book: Book, rows: Sequence[Input], chosen: dict[str, Choice], name: str, scores: pd.Series
) -> None:
    source = book.cell.source(name)
    by_name = {row.name: row for row in rows}
    theirs, ours = (
        result_of(source, by_name[who], rows, chosen, book.grid, book.cell.samples)[0][0] for who in scores.index
    )
    before, after = scores
    truth, mmse, noisy = source.picture.masks, source.image(("mmse",)), source.picture.noisy
    place = _window((theirs > 0) != (ours > 0))
    shown: list[tuple[str, Any, NDArray[np.integer] | None, str]] = [
        (f"{name[:16]}: noisy", noisy, None, INK),
        ("MMSE", mmse, None, INK),
        (f"MMSE: {before:.3f}", mmse, theirs, ORANGE),
        (f"consensus: {after:.3f} ({after - before:+.3f})", mmse, ours, BLUE),
        ("truth", mmse, truth, GREEN),
    ]
    for ax, (title, image, labels, colour) in zip(axes, shown, strict=True):
        low, high = np.percentile(image[place], [1, 99.7])
        ax.imshow(image[place], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        if labels is not None:
            ax.imshow(_outline(labels[place], colour), interpolation="nearest")
        ax.set_title(title, fontsize=10, loc="left", color=INK, parse_math=False)
        ax.set_axis_off()


def _window(differs: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the square in which most pixels differ."""
    density = ndi.uniform_filter(differs.astype(np.float32), SIDE, mode="constant")
    centre = np.unravel_index(int(density.argmax()), density.shape)
    starts = [max(0, min(int(c) - SIDE // 2, n - SIDE)) for c, n in zip(centre, differs.shape, strict=True)]
    return slice(starts[0], starts[0] + SIDE), slice(starts[1], starts[1] + SIDE)


def _outline(labels: NDArray[np.integer], colour: str) -> NDArray[np.float64]:
    """Return the inner outlines as an image with transparency, (Y, X, 4)."""
    rim = outlines(labels)
    painted = np.zeros((*labels.shape, 4))
    painted[rim] = [*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0]
    return painted


def draw_all(folder: Path, books: Sequence[Book], chosen: Mapping[Path, Any]) -> list[Path]:
    """Draw what there are numbers for.

    Parameters
    ----------
    folder : Path
        Where the plots go.
    books : sequence of Book
        Filled.
    chosen : mapping
        For each book's file of rows the inputs, and for each fold the scored pictures and the choices.

    Returns
    -------
    list of Path
        Files that were written.
    """
    rows = _read([(book.rows, chosen[book.rows][0]) for book in books], ("image", "input"))
    most = rows["minutes"].max()
    drawn = {
        "levels": levels_chart(rows[rows["minutes"] == most]),
        "minutes": minutes_chart(rows),
        "samples": samples_chart(
            _read([(book.curve, chosen[book.rows][0]) for book in books], ("image", "input", "samples"))
        ),
        "calibration": calibration_chart(
            _read(
                [(book.objects, chosen[book.rows][0]) for book in books if book.cell.minutes == most],
                ("image", "input", "label"),
            )
        ),
    }
    files = []
    for name, figure in drawn.items():
        if figure is not None:
            files.append(folder / f"{name}.png")
            write_bytes(files[-1], to_png(figure))
    for book in (book for book in books if book.cell.minutes == most):
        inputs, folds = chosen[book.rows]
        figure = extremes(book, inputs, folds)
        if figure is not None:
            files.append(folder / f"{book.rows.stem}.png")
            write_bytes(files[-1], to_png(figure))
    return files


def _read(files: Sequence[tuple[Path, Sequence[Input]]], keys: Sequence[str]) -> pd.DataFrame:
    tables = [table for file, inputs in files if len(table := read_rows(file, inputs, keys))]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
